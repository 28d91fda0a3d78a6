"""Whom a request is about: one person, however they are written, and nobody else."""

import json
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.subjects.selectors import (
    EXPRESSIONS,
    AccountSelector,
    EmailSelector,
    Selector,
    SelectorError,
    SessionSelector,
    canonical_email,
    digest,
    email_selector,
    matches,
    selector_of,
    selectors_of,
    tables_of,
    where,
)
from sinks.clickhouse.embedded import Embedded
from sinks.rows.tables import TABLES

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
SELECTORS = st.one_of(
    st.builds(SessionSelector, TEXTS, TEXTS), st.builds(AccountSelector, TEXTS), st.builds(email_selector, TEXTS)
)
COLUMNS = ("site", "session", "account", "email")


@settings(max_examples=10)
@given(st.lists(st.tuples(SELECTORS, SELECTORS), min_size=20, max_size=60))
@example([(email_selector("a@b"), email_selector(" A@B"))])
@example([(email_selector("ΣΑΣ@b"), email_selector("σας@B"))])
@example([(email_selector("STRASSE@b"), email_selector("straße@b"))])
@example([(email_selector("mu\u0308ller@b"), email_selector("MÜLLER@B"))])
@example([(email_selector("\ua7cb@b"), email_selector("\ua7cb@b"))])  # a letter of Unicode 16, after Python's
@example([(email_selector("\u0390@b"), email_selector("\u0390@b".upper()))])
@example([(AccountSelector("file('x')"), AccountSelector("' OR 1=1 --"))])
def test_engine_and_events_agree_on_whose_a_row_is(embedded: Embedded, pairs: list[tuple[Selector, Selector]]) -> None:
    """What the collector refuses is what the sink deletes: one rule in two languages would leave a remainder."""
    asked, said = [], []
    for one, other in pairs:
        row = dict.fromkeys(COLUMNS, "nobody") | {name: getattr(other, name) for name in other.__struct_fields__}
        upper = row["email"].upper()
        row["email"] = upper if canonical_email(upper) == row["email"] else row["email"]
        for table in tables_of(one):
            said.append(matches(one, table, row["site"], row["session"], row))
            values = ", ".join(f"unhex('{row[name].encode().hex()}') AS {name}" for name in COLUMNS)
            asked.append(f"SELECT {len(asked)} AS n, {where(one, table)} AS mine FROM (SELECT {values})")
    rows = embedded.select(" UNION ALL ".join(asked)).splitlines()
    found = {row["n"]: bool(row["mine"]) for row in map(json.loads, rows)}
    assert [found[number] for number in range(len(said))] == said


def test_every_selector_looks_at_columns_that_its_tables_have() -> None:
    tables = {table.name: {name for name, _, _ in table.columns} for table in TABLES}
    for kind, by_table in EXPRESSIONS.items():
        for table, expressions in by_table.items():
            assert all(any(column in expression for column in tables[table]) for expression in expressions)
            assert len(expressions) == len(kind.__struct_fields__)


@given(TEXTS)
def test_an_address_is_one_however_its_case_is_written(text: str) -> None:
    """Whoever asks to be gone does not know how they typed themselves in years ago."""
    canonical = canonical_email(text)
    assert canonical_email(unicodedata.normalize("NFC", canonical)) == canonical
    assert canonical_email(f" {unicodedata.normalize('NFD', text)} ") == canonical_email(f"{text}")
    assert email_selector("A.Smith@Example.ORG") == email_selector("a.smith@example.org")
    assert email_selector("asmith@example.org") != email_selector("a.smith@example.org")


def test_event_is_in_reach_of_its_own_selectors_and_labels_of_none() -> None:
    contact = {"account": "acme", "email": "Ann@Acme.Test"}
    assert selectors_of("signals", "shop", "s-1", {}) == (SessionSelector("shop", "s-1"),)
    assert selectors_of("personal", "shop", "", contact) == (AccountSelector("acme"), EmailSelector("ann@acme.test"))
    assert selectors_of("personal", "shop", "", {"account": "acme", "email": ""}) == (AccountSelector("acme"),)
    assert selectors_of("labelers", "shop", "", contact) == (EmailSelector("ann@acme.test"),)
    assert selectors_of("labeled", "shop", "s-1", {"task": "t", "answer": "a"}) == ()


@given(SELECTORS, SELECTORS)
def test_digests_differ_where_selectors_do(one: Selector, other: Selector) -> None:
    assert (digest(one, b"salt") == digest(other, b"salt")) == (one == other)
    assert digest(one, b"salt") != digest(one, b"pepper")
    assert digest(SessionSelector("a", "bc"), b"") != digest(SessionSelector("ab", "c"), b"")


@pytest.mark.parametrize(
    ("given_words", "asks_for"),
    [
        ({}, "name one person"),
        ({"account": "a", "email": "e@x"}, "name one person"),
        ({"session": "s"}, "--session needs --site"),
        ({"account": "a", "site": "x"}, "--site goes with --session alone"),
        ({"site": "x"}, "name one person"),
        ({"session": "s", "site": ""}, "a site has 1 to 64"),
        ({"session": "s p", "site": "x"}, "a session is 1 to 64"),
        ({"session": "", "site": "x"}, "a session is 1 to 64"),
        ({"account": ""}, "an account has 1 to 256"),
        ({"account": "a" * 257}, "an account has 1 to 256"),
        ({"account": "\udcff"}, "an account has 1 to 256"),
        ({"email": "nobody"}, "one @"),
        ({"email": "a@b@c"}, "one @"),
        ({"email": "@"}, "one @"),
        ({"email": "a@"}, "one @"),
        ({"email": "@b"}, "one @"),
        ({"email": "a@b\tc"}, "one @"),
        ({"email": "\udcff@b"}, "UTF-8"),
    ],
)
def test_words_that_name_nobody_get_one_sentence_that_repeats_none_of_them(
    given_words: dict[str, str], asks_for: str
) -> None:
    with pytest.raises(SelectorError, match=asks_for) as refused:
        selector_of(**given_words)
    assert "\udcff" not in str(refused.value)


def test_words_that_name_one_person_are_their_selector() -> None:
    assert selector_of(session="s-1", site="shop") == SessionSelector("shop", "s-1")
    assert selector_of(account="acme") == AccountSelector("acme")
    assert selector_of(email="\tAnn@Acme.test\r\n") == EmailSelector("ann@acme.test")
    assert "ann" not in repr(selector_of(email="ann@acme.test"))
