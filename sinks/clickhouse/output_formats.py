"""Pure: rows as text in a few of ClickHouse's formats; its native protocol has none."""

import datetime
import re
from collections.abc import Sequence
from typing import Any

import msgspec


def _plain(value: Any) -> Any:
    """A value as ClickHouse writes it in JSON."""
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S") + (f".{value.microsecond // 1000:03}" if value.microsecond else "")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


Columns = Sequence[tuple[str, str]]
"""Names and types."""


def _json_each_row(columns: Columns, rows: Sequence[Sequence[Any]]) -> bytes:
    names = [name for name, _ in columns]
    lines = (msgspec.json.encode(dict(zip(names, map(_plain, row), strict=True))) for row in rows)
    return b"".join(line + b"\n" for line in lines)


def _tab_separated(columns: Columns, rows: Sequence[Sequence[Any]]) -> bytes:
    del columns
    return "".join("\t".join(map(_escaped, row)) + "\n" for row in rows).encode()


def _tab_separated_with_names(columns: Columns, rows: Sequence[Sequence[Any]]) -> bytes:
    return _tab_separated([], [[name for name, _ in columns], *rows])


def _tab_separated_with_names_and_types(columns: Columns, rows: Sequence[Sequence[Any]]) -> bytes:
    return _tab_separated([], [*(list(line) for line in zip(*columns, strict=True)), *rows])


def _escaped(value: Any) -> str:
    if value is None:
        return "\\N"
    text = str(_plain(value))
    return re.sub(r"[\\\t\n]", lambda match: {"\\": "\\\\", "\t": "\\t", "\n": "\\n"}[match[0]], text)


FORMATS = {
    "JSONEachRow": _json_each_row,
    "TabSeparated": _tab_separated,
    "TabSeparatedWithNames": _tab_separated_with_names,
    "TabSeparatedWithNamesAndTypes": _tab_separated_with_names_and_types,
    "TSV": _tab_separated,
    "TSVWithNames": _tab_separated_with_names,
    "TSVWithNamesAndTypes": _tab_separated_with_names_and_types,
}
