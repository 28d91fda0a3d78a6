"""Pure: tables that come with a query, as files of a multipart form, and live as long as it.

What a client says of a table becomes part of a statement of our own, which runs before the session is read-only. So
types are of a closed list: a structure may hold expressions (`a String DEFAULT file('…')`), which the engine would run.

Source: ClickHouse documentation, "External Data for Query Processing".
"""

import re
from collections.abc import Mapping

import msgspec

from sinks.http.native_blocks import LOW_CARDINALITY, UnknownType, arguments_of, with_version
from sinks.http.refusals import BAD_ARGUMENTS, INCORRECT_DATA, UNKNOWN_FORMAT, NotAllowed

# None of them holds expressions, as Values does, or is read by a library that was not written for hostile bytes.
FORMATS = (
    *("TabSeparated", "TSV", "TabSeparatedWithNames", "TSVWithNames", "CSV", "CSVWithNames"),
    *("JSONEachRow", "JSONCompactEachRow", "RowBinary", "Native"),
)
TABLES_MAX = 16
_ATTRIBUTES = ("format", "structure", "types")

_PLAIN = re.compile(
    r"U?Int(?:8|16|32|64|128|256)|Float(?:32|64)|Bool|String|UUID|IPv[46]|Date|Date32|DateTime"
    r"|FixedString\(\d{1,4}\)|Decimal\(\d{1,2}, ?\d{1,2}\)|Decimal(?:32|64|128|256)\(\d{1,2}\)"
    r"|DateTime\('[\w/+-]{1,40}'\)|DateTime64\(\d(?:, ?'[\w/+-]{1,40}')?\)"
    r"|Enum(?:8|16)?\((?:'[^'\\]*'(?: ?= ?-?\d{1,5})?(?:, ?(?!\))|(?=\))))+\)"
)
_NESTED = re.compile(r"(Array|Nullable|LowCardinality|Map|Tuple)\((.*)\)", re.DOTALL)
_NAMED = re.compile(r"(?:`([^`\\]{1,100})`|\"([^\"\\]{1,100})\"|(\w{1,100}))\s+(.+)", re.DOTALL)


class ExternalTable(msgspec.Struct, frozen=True):
    """A table that comes with a query.

    Attributes:
        columns: name and type of each.
        input_format: how `data` is to be read.
        memory_bytes: that the engine may allocate for it. The table keeps them until the query has ended, and a row may
            take many times as many bytes as in `data`.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    input_format: str
    data: bytes
    memory_bytes: int = 0


def external_tables(
    files: Mapping[str, bytes], fields: Mapping[str, str]
) -> tuple[tuple[ExternalTable, ...], dict[str, str]]:
    """The tables of a request, and its other fields.

    Args:
        files: the form's files by name, which is the table's.
        fields: the request's parameters; `NAME_structure` or `NAME_types`, and `NAME_format`, are a table's.

    Raises:
        NotAllowed: BAD_ARGUMENTS, INCORRECT_DATA or UNKNOWN_FORMAT.
    """
    if len(files) > TABLES_MAX:
        raise NotAllowed(BAD_ARGUMENTS, f"A query has at most {TABLES_MAX} external tables here. (BAD_ARGUMENTS)")
    others = dict(fields)
    tables = []
    for name, data in files.items():
        if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name):
            raise NotAllowed(BAD_ARGUMENTS, "An external table's name has to be an identifier. (BAD_ARGUMENTS)")
        input_format, structure, types = (others.pop(f"{name}_{attribute}", "") for attribute in _ATTRIBUTES)
        tables.append(ExternalTable(name, _columns(name, structure, types), input_format or "TabSeparated", data))
        if tables[-1].input_format not in FORMATS:
            raise NotAllowed(
                UNKNOWN_FORMAT, f"External tables are read here as {', '.join(FORMATS)} alone. (UNKNOWN_FORMAT)"
            )
        if tables[-1].input_format == "Native":
            _judge_native(name, data)
    return tuple(tables), others


def _columns(table: str, structure: str, types: str) -> tuple[tuple[str, str], ...]:
    columns = []
    for number, column in enumerate(arguments_of(structure or types), 1):
        named = _NAMED.fullmatch(column) if structure else None
        if structure and named is None:
            raise NotAllowed(BAD_ARGUMENTS, f"`{table}_structure` has to be `NAME TYPE, …`. (BAD_ARGUMENTS)")
        name, kind = (next(filter(None, named.groups()[:3])), named[4]) if named else (f"_{number}", column)
        if not _plain(kind):
            raise NotAllowed(
                BAD_ARGUMENTS,
                f"Column {number} of external table `{table}` is of none of the types that are read here, or has an "
                "expression. (BAD_ARGUMENTS)",
            )
        columns.append((name, kind))
    if not columns:
        raise NotAllowed(
            BAD_ARGUMENTS,
            f"External table `{table}` has neither `{table}_structure` nor `{table}_types`. (BAD_ARGUMENTS)",
        )
    return tuple(columns)


def is_plain_structure(structure: str) -> bool:
    """Whether a structure has names and types of the closed list alone, no expression."""
    try:
        _columns("", structure, "")
    except NotAllowed:
        return False
    return True


def _plain(kind: str, depth: int = 0) -> bool:
    """Whether a type is one of the closed list; names of a tuple's elements are left out of it."""
    nested = _NESTED.fullmatch(kind)
    if nested is None:
        return bool(_PLAIN.fullmatch(kind))
    return depth < 8 and all(_plain(part, depth + 1) for part in arguments_of(nested[2]) or [""])


def _judge_native(table: str, data: bytes) -> None:
    """Native names its own types, whatever the structure says."""
    try:
        with_version(data, LOW_CARDINALITY)
    except (UnknownType, IndexError, ValueError, RecursionError):
        raise NotAllowed(
            INCORRECT_DATA, f"External table `{table}` is no Native of ordinary types. (INCORRECT_DATA)"
        ) from None
