"""The digest that the engine makes of a row is the one that a request names its person by."""

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.subjects.erasures import KIND_OF, TABLES
from schemas.subjects.selectors import AccountSelector, Selector, SessionSelector, digest, email_selector
from sinks.clickhouse.embedded import Embedded
from sinks.erasure.statements import digest_sql

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
SELECTORS = st.one_of(
    st.builds(SessionSelector, TEXTS, TEXTS), st.builds(AccountSelector, TEXTS), st.builds(email_selector, TEXTS)
)


@settings(max_examples=8)
@given(st.lists(SELECTORS, min_size=10, max_size=30), st.binary(min_size=32, max_size=32))
@example([SessionSelector("a", "1 b"), SessionSelector("a1", " b"), email_selector("ΣΑΣ@b")], b"s" * 32)
@example([AccountSelector("'\\")], b"s" * 32)
def test_engine_and_python_make_the_same_digest(embedded: Embedded, selectors: list[Selector], salt: bytes) -> None:
    """Or a row would stay that a collector refuses, or another's would go."""
    asked, wanted = [], []
    for one in selectors:
        kind = KIND_OF[type(one)]
        columns = {name: getattr(one, name) for name in one.__struct_fields__}
        values = ", ".join(f"unhex('{text.encode().hex()}') AS {name}" for name, text in columns.items())
        for table in TABLES[kind]:
            wanted.append(digest(one, salt).hex())
            row_digest = f"lower(hex({digest_sql(table, kind, salt)}))"
            asked.append(f"SELECT {len(asked)} AS n, {row_digest} AS d FROM (SELECT {values})")
    lines = embedded.select(" UNION ALL ".join(asked)).splitlines()
    found = {row["n"]: row["d"] for row in map(msgspec.json.decode, lines)}
    assert [found[number] for number in range(len(wanted))] == wanted


def test_every_table_that_names_a_person_is_looked_through(embedded: Embedded) -> None:
    """A table that a later migration adds is no place to be forgotten in."""
    tables = "SELECT name FROM system.tables WHERE database = 'unjoin' AND engine NOT LIKE '%View'"
    named = f"name IN ('session', 'account', 'email', 'ip') AND table IN ({tables})"
    sql = f"SELECT DISTINCT table FROM system.columns WHERE database = 'unjoin' AND {named}"
    found = {msgspec.json.decode(line)["table"] for line in embedded.select(sql).splitlines()}
    assert found == {table for tables in TABLES.values() for table in tables}
