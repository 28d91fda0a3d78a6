"""Which SQL `unjoin query` asks, and with which values."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unjoin import query
from unjoin.query import QueryError, parameter, run_query, sql_of
from unjoin.settings import Settings


def test_sql_is_given_or_in_a_file(tmp_path: Path) -> None:
    """One of the two; a question that is kept is asked as it lies there."""
    file = tmp_path / "question.sql"
    file.write_text("-- Wie viele?\nSELECT {n:UInt8} -- ü\n")
    assert sql_of(None, file, ["n"]) == file.read_text()
    assert sql_of("SELECT { n : UInt8 }", None, ["n"]) == "SELECT { n : UInt8 }"


@pytest.mark.parametrize(
    ("sql", "file", "parameters", "says"),
    [
        (None, None, [], "give SQL, or --file"),
        ("SELECT 1", "good", [], "give SQL, or --file"),
        (None, "missing", [], "missing cannot be read: No such file"),
        (None, ".", [], "cannot be read: Is a directory"),
        (None, "binary", [], "binary cannot be read: it is not UTF-8"),
        (
            "SELECT {site:String}",
            None,
            ["sight"],
            "the SQL has no parameter sight: it would stand there as {sight:Type}",
        ),
        ("SELECT {site:String}", None, ["sit"], "the SQL has no parameter sit:"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    tmp_path: Path, sql: str | None, file: str | None, parameters: list[str], says: str
) -> None:
    """A name that is misspelt would otherwise be ClickHouse's riddle about another one."""
    (tmp_path / "good").write_text("SELECT 1")
    (tmp_path / "binary").write_bytes(b"SELECT '\xff'")
    with pytest.raises(QueryError) as raised:
        sql_of(sql, tmp_path / file if file else None, parameters)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_value_of_a_parameter_may_hold_anything() -> None:
    """Also an equals sign; a name may not."""
    assert parameter("a=b=c d") == ("a", "b=c d")
    assert parameter("a=") == ("a", "")
    for text in ("a", "=b", "a-b=c", "1a=b", "a b=c", "ä=b"):
        with pytest.raises(QueryError, match="NAME=VALUE"):
            parameter(text)


def test_values_that_a_question_lacks_are_all_said_with_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks one for the first time has to learn them from somewhere."""

    @contextmanager
    def refused(*_: object) -> Iterator[None]:
        raise QueryError("Code: 456. DB::Exception: Substitution `site` is not set. (UNKNOWN_QUERY_PARAMETER)")
        yield

    monkeypatch.setattr(query, "_stream", refused)
    sql = "SELECT {site:String}, { days : UInt16 }, {k:Array(String)}, '{\"a\":1}'"
    with pytest.raises(QueryError) as said:
        run_query(Settings(), sql, None, {"days": "7"})
    assert str(said.value) == "the SQL wants values: --param site=VALUE (String), --param k=VALUE (Array(String))"
