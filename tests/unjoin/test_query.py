"""Which SQL `unjoin query` asks, and with which values."""

from pathlib import Path

import pytest

from unjoin.query import QueryError, parameter, sql_of


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
