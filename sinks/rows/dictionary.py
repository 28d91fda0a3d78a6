"""The data dictionary: what every table, view and column of database `unjoin` means, and how private it is.

    schemas/*.avsc          `doc` and `privacy` of whatever an event brings along
    rows/*.avsc             the same of rows that the sink makes itself
    rows/dictionary.json    units; and all of what no schema has: columns made by the sink or by ClickHouse, views
        │
        ▼
    `DICTIONARY` ──▶ the comments in ClickHouse (clickhouse/comments.py), docs/tables.md

A table that is in the database and not here turns a test red, and so does a column.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from schemas.registry import latest
from sinks.rows.tables import SUBJECT, row_schema

FILE = Path(__file__).with_name("dictionary.json")
PRIVACY = ("direct_identifier", "quasi_identifier", "content", "technical")


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one column means.

    Attributes:
        doc: one sentence or two.
        unit: "" where it has none.
        privacy: one of `PRIVACY`; "" for a parameter.
    """

    doc: str = ""
    unit: str = ""
    privacy: str = ""

    @property
    def comment(self) -> str:
        """As it stands in ClickHouse: `Unix milliseconds, as sent. (ms; quasi_identifier)`."""
        notes = "; ".join(filter(None, (self.unit, self.privacy)))
        return f"{self.doc} ({notes})" if notes else self.doc


class Described(msgspec.Struct, frozen=True):
    """What a row of one table or view means.

    Attributes:
        readers: the users of deploy/clickhouse that may read it, beside `sink`, which reads all.
        columns: by name, in no order: the database knows it.
        parameters: of a view that takes some. ClickHouse keeps no columns of such a view: its comment says what they
            mean.
    """

    doc: str
    readers: tuple[str, ...]
    columns: Mapping[str, Column]
    parameters: Mapping[str, Column]

    @property
    def comment(self) -> str:
        """As it stands in ClickHouse."""
        if not self.parameters:
            return self.doc
        lines = [f"{name}: {one.comment}" for name, one in {**self.parameters, **self.columns}.items()]
        return "\n".join((self.doc, *lines))


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"same": "as"}):
    """A table in the file; `as` names one before it that has the same columns."""

    readers: tuple[str, ...]
    doc: str = ""
    columns: dict[str, Column] = {}
    parameters: dict[str, Column] = {}
    same: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: dict[str, Column]
    tables: dict[str, _Entry]


def dictionary(text: bytes) -> dict[str, Described]:
    """Every table and view by name, of the text of the file and the schemas.

    Raises:
        ValueError: the text is not such a file, or something is left without a meaning or a privacy class.
    """
    file = msgspec.json.decode(text, type=_File)
    found: dict[str, Described] = {}
    for name, entry in file.tables.items():
        schema = _schema(name)
        fields = {field["name"]: Column(field["doc"], privacy=field["privacy"]) for field in schema.get("fields", ())}
        if entry.same:
            fields = dict(found[entry.same].columns)
        said = ({**file.events, **entry.columns} if "ts" in fields else entry.columns).items()
        columns = fields | {column: _merged(fields.get(column, Column()), one) for column, one in said}
        found[name] = Described(entry.doc or schema.get("doc", ""), entry.readers, columns, entry.parameters)
        _check(name, found[name])
    return found


def _schema(table: str) -> Any:
    """The record that a table's rows come as; nothing of a view."""
    if table in SUBJECT:
        return latest(SUBJECT[table]).parsed
    return row_schema(table) if (FILE.parent / f"{table}.avsc").exists() else {}


def _merged(before: Column, said: Column) -> Column:
    return Column(said.doc or before.doc, said.unit or before.unit, said.privacy or before.privacy)


def _check(table: str, one: Described) -> None:
    if not one.doc or not one.columns:
        raise ValueError(f"{table}: says nothing of what a row is, or has no columns")
    for name, column in one.columns.items():
        if not column.doc or column.privacy not in PRIVACY:
            raise ValueError(f"{table}.{name}: has no meaning, or no privacy class")


DICTIONARY = dictionary(FILE.read_bytes())


def page(columns: Iterable[tuple[str, str, str]]) -> str:
    """docs/tables.md; pure.

    Args:
        columns: (table, column, type) of all there are, as the engine lists them, tables in the dictionary's order.

    Raises:
        KeyError: a table or column is not in the dictionary.
    """
    types: dict[str, dict[str, str]] = {name: {} for name in DICTIONARY}
    for table, column, kind in columns:
        types[table][column] = kind
    return "\n".join((_HEAD, *(_section(name, one, types[name]) for name, one in DICTIONARY.items())))


def _section(table: str, one: Described, types: Mapping[str, str]) -> str:
    called = f"{table}({', '.join(f'{name} = …' for name in one.parameters)})" if one.parameters else table
    lines = [f"## `{called}`", "", one.doc, "", f"Read by {', '.join(f'`{user}`' for user in one.readers)}.", ""]
    lines += [f"`{name}`: {parameter.comment}\n" for name, parameter in one.parameters.items()]
    lines += ["| column | type | meaning | unit | privacy class |", "|---|---|---|---|---|"]
    for name, kind in types.items():
        column = one.columns[name]
        cells = (f"`{name}`", f"`{kind}`", column.doc, column.unit, column.privacy.replace("_", " "))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join((*lines, ""))


_HEAD = """# Every table and column

Generated by `.venv/bin/python -m testkit.tables_page` from the schemas ([`schemas/`](../schemas)) and
[`sinks/rows/dictionary.json`](../sinks/rows/dictionary.json); a test holds it to the database. The same sentences are
the comments in ClickHouse:

```
.venv/bin/unjoin query "SELECT name, type, comment FROM system.columns WHERE table = 'signals'"
```

A sink brings them up to date when it starts, in tables of before as well. The [glossary](glossary.md#privacy) explains
privacy classes. Readers are the users of [deploy/](../deploy/README.md) beside `sink`, which reads all; port 8123 of an
embedded engine has no users, and reads all.
"""
