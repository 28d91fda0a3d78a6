"""Pure: the SQL that inserts a file of datums into a table of the embedded engine."""

import re
from collections.abc import Sequence

from sinks.blocks.avro_container import END, END_BYTES
from sinks.blocks.memory_file import File
from sinks.engine import Table

# Names of tables and columns are our own, and every literal is quoted: hence S608 is off below.

# One block of rows makes one part: the engine writes a part whole or not at all, so an insert of one part is atomic.
# These settings keep every threshold that could split the part out of reach, and every second thread.
_ONE_PART = {
    "max_threads": "1",
    "max_insert_threads": "1",
    "max_insert_block_size": "1000000000",
    "min_insert_block_size_rows": "1000000000",
    "min_insert_block_size_bytes": "1000000000000",
    "async_insert": "0",
    # Rows of one key in a block collapse when parts merge, not here: here it would copy every column.
    "optimize_on_insert": "0",
    # The engine logs a part for deduplication before the part is in place: after a kill between the two, it would drop
    # the retry.
    "deduplicate_insert": "'disable'",
    # A datum of an older schema lacks later fields; they read as the default of their type.
    "input_format_avro_allow_missing_fields": "1",
    "input_format_parallel_parsing": "0",
    "log_queries": "0",
}
_SETTINGS = ", ".join(f"{name} = {value}" for name, value in _ONE_PART.items())
_ONE_BLOCK = (
    "max_threads = 1, max_block_size = 1000000000, input_format_max_block_size_bytes = 0, "
    "input_format_avro_allow_missing_fields = 1, input_format_parallel_parsing = 0, log_queries = 0"
)


_SMALL = "log_queries = 0, max_threads = 1, max_insert_threads = 1, input_format_parallel_parsing = 0"


def insert(table: Table, file: File) -> str:
    """Inserts every row of the file."""
    return f"{_into(table)} {_rows(table, file)}"


def insert_missing(table: Table, file: File) -> str:
    """Inserts the rows of the file whose key, version included, the table does not hold."""
    key = _names(table.key)
    rows = _rows(table, file)
    stored = f"SELECT {key} FROM unjoin.{table.name} WHERE ({key}) IN (SELECT {key} FROM ({rows}))"  # noqa: S608
    return f"{_into(table)} SELECT {_names(_columns(table))} FROM ({rows}) WHERE ({key}) NOT IN ({stored})"  # noqa: S608


def transcode(table: Table, file: File) -> str:
    """Reads every row of the file as one block of the table's columns, before the table's expressions."""
    return f"SELECT {_names(_columns(table))} FROM {_read(table, file)} SETTINGS {_ONE_BLOCK}"  # noqa: S608


def temporary_table(
    table: str, columns: Sequence[tuple[str, str]], input_format: str, path: str, memory_bytes: int
) -> str:
    """Makes a table of the session from the rows of a file, within so many bytes of memory."""
    structure = literal(", ".join(f"{name(column)} {kind}" for column, kind in columns))
    rows = f"SELECT * FROM file({literal(path)}, {literal(input_format)}, {structure})"  # noqa: S608
    settings = f"{_SMALL}, max_memory_usage = {memory_bytes}"
    return f"CREATE TEMPORARY TABLE {name(table)} ENGINE = Memory AS {rows} SETTINGS {settings}"


def into_file(canonical: str, output_format: str, path: str) -> str:
    """The statement, which then writes its answer into a file instead of memory.

    Args:
        canonical: as `formatQuery` writes it: its literals hold no line break, so a line of FORMAT is the clause.
        output_format: where the statement names none.
    """
    clause = f"INTO OUTFILE {literal(path)} APPEND\n"
    named = list(re.finditer(r"^FORMAT `?\w+`?$", canonical, re.MULTILINE))
    if named:
        at = named[-1].start()
        return canonical[:at] + clause + canonical[at:]
    return f"{canonical}\n{clause}FORMAT {output_format}"


def _into(table: Table) -> str:
    return f"INSERT INTO unjoin.{table.name} ({_names(_columns(table))}) SETTINGS {_SETTINGS}"


def _rows(table: Table, file: File) -> str:
    made = ", ".join(f"{expression} AS `{column}`" for column, _, expression in table.columns)
    return f"SELECT {made} FROM {_read(table, file)}"  # noqa: S608


def _read(table: Table, file: File) -> str:
    columns = ", ".join(f"`{column}` {kind}" for column, kind, _ in table.columns)
    if file.end is None:
        return f"file({literal(file.path)}, 'Native', {literal(columns)})"
    structure = literal(f"{columns}, `{END}` FixedString({END_BYTES})")
    # The bytes are compared as a number, for an error repeats the condition and should be readable text.
    differs = f"reinterpretAsUInt64(`{END}`) != {int.from_bytes(file.end, 'little')}"
    return f"file({literal(file.path)}, 'Avro', {structure}) WHERE throwIf({differs}) = 0"


def _columns(table: Table) -> tuple[str, ...]:
    return tuple(column for column, _, _ in table.columns)


def _names(columns: Sequence[str]) -> str:
    return ", ".join(name(column) for column in columns)


def name(identifier: str) -> str:
    """An identifier as ClickHouse reads it between backquotes."""
    escaped = identifier.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def literal(text: str) -> str:
    """A string as ClickHouse reads it between quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
