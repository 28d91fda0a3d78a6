"""The questions of docs/questions, and values for their parameters that the rows of `analyst_rows.py` answer."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from sinks.rows.dictionary import DICTIONARY

FOLDER = Path(__file__).parents[1] / "docs" / "questions"
VALUES = {
    "days": "30", "events_min": "2", "first": "/pricing/1", "k": "5", "low_min": "0.5", "minutes": "100000",
    "prefix": "dogs-0000001", "property": "plan", "second": "/pricing/2", "site": "site-1", "third": "/pricing/3",
    "votes_min": "5", "weeks": "8",
}  # fmt: skip


class Question(msgspec.Struct, frozen=True):
    """One file.

    Attributes:
        name: the file's, without `.sql`.
        asks: what it answers: its first line.
        parameters: type by name.
        tables: and views that it reads.
    """

    name: str
    sql: str
    asks: str
    parameters: dict[str, str]
    tables: tuple[str, ...]


def questions() -> list[Question]:
    """All of them, by name."""
    found = []
    for path in sorted(FOLDER.glob("*.sql")):
        sql = path.read_text()
        tables = {table for table in re.findall(r"(?:FROM|JOIN) (\w+)", sql) if table in DICTIONARY}
        parameters = dict(re.findall(r"\{(\w+):(\w+)\}", sql))
        asks = sql.partition("\n")[0].removeprefix("-- ")
        found.append(Question(path.stem, sql, asks, parameters, tuple(sorted(tables))))
    return found


def value_of(parameter: str, ask: Callable[[str], str]) -> str:
    """A value for which there are rows.

    Args:
        ask: answers a statement with one value.
    """
    if parameter == "session":
        return ask(f"SELECT min(session) FROM signals WHERE site = '{VALUES['site']}'")
    return VALUES[parameter]
