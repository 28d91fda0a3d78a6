"""`unjoin query`: SQL where the sink writes, given or from a file, with values for its `{name:Type}` placeholders."""

import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from types import MappingProxyType

from schemas.outcomes import UnjoinError
from sinks.clickhouse.address import Address
from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.output_formats import FORMATS
from sinks.clickhouse.server import Server
from sinks.engine import EngineError
from unjoin.connections.clickhouse_address import server_address_of
from unjoin.output import on_terminal, print_json_lines, print_table
from unjoin.settings import Settings
from unjoin.terminal import NOTE, Escaper, escaped

TIMEOUT_S = 300
PIECE_BYTES = 1 << 16
WITH_TYPES = "TabSeparatedWithNamesAndTypes"
NUMERIC = re.compile(r"(?:Nullable\(|LowCardinality\()*(?:U?Int|B?Float|Decimal)")
_PLACEHOLDER = re.compile(r"\{\s*(\w+)\s*:\s*([^{}]+?)\s*\}")
_NOT_SET = re.compile(r"Substitution `\w+` is not set")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)  # of TabSeparated

SelectRows = Callable[[str], bytes]
"""A statement -> its rows as ClickHouse's TabSeparated."""


class QueryError(UnjoinError):
    """The query was refused, or nobody answered; the text says which."""


def parameter(text: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`.

    Raises:
        QueryError: it is none.
    """
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w{0,63}", name):
        raise QueryError("--param takes NAME=VALUE")
    return name, value


def sql_of(sql: str | None, file: Path | None, parameters: Iterable[str]) -> str:
    """The one SQL that was given.

    Raises:
        QueryError: none or two were given, the file cannot be read, or a parameter does not stand in it.
    """
    if (sql is None) == (file is None):
        raise QueryError("give SQL, or --file with a file of it")
    if file is not None:
        try:
            sql = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise QueryError(f"{file} cannot be read: {why}") from None
    assert sql is not None
    for name in parameters:
        if not re.search(rf"\{{\s*{name}\s*:", sql):
            raise QueryError(f"the SQL has no parameter {name}: it would stand there as {{{name}:Type}}")
    return sql


def run_query(
    settings: Settings, sql: str, output_format: str | None, parameters: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Prints the answer to `sql`.

    Args:
        output_format: of `output.FORMATS`, or a ClickHouse format, which is passed on as it comes.
        parameters: values of the SQL's placeholders, as they are.

    Raises:
        QueryError: ClickHouse refused the query, is not there, or does not know the format.
    """
    values = {name: _escaped(value) for name, value in parameters.items()}
    form = output_format or "table"
    asked = {"table": WITH_TYPES, "csv": WITH_TYPES, "json": "JSONEachRow"}.get(form, form)
    with _values_wanted(sql, parameters), _stream(settings, sql, asked, values) as (given, pieces):
        if given != asked or asked == form:  # the statement, or the reader, names a format of ClickHouse's
            _print_raw(pieces, escape=output_format is None or on_terminal())
        elif form == "json":
            print_json_lines(line.decode(errors="replace") for line in _lines_of(pieces))
        else:
            _print_rows(_lines_of(pieces), form)


@contextmanager
def _values_wanted(sql: str, parameters: Mapping[str, str]) -> Iterator[None]:
    """Says all values that a refused statement lacks, where ClickHouse names the first."""
    try:
        yield
    except QueryError as error:
        if not _NOT_SET.search(str(error)):
            raise
        lacking = dict(one for one in _PLACEHOLDER.findall(sql) if one[0] not in parameters)
        wanted = ", ".join(f"--param {name}=VALUE ({kind})" for name, kind in lacking.items())
        raise QueryError(f"the SQL wants values: {wanted}") from None


def _print_rows(lines: Iterator[bytes], form: str) -> None:
    """Rows of `TabSeparatedWithNamesAndTypes`, as a table or as CSV."""
    names, types = (_cells(next(lines, b"")) for _ in range(2))
    numbers = [bool(NUMERIC.match(kind or "")) for kind in types]
    found = False

    def rows() -> Iterator[list[str | None]]:
        nonlocal found
        for line in lines:
            cells = _cells(line)
            found = found or any(cell is not None and escaped(cell) != cell for cell in cells)
            yield cells

    if names != [""]:  # of a statement that gives nothing
        print_table([name or "" for name in names], rows(), form, right=numbers)
    if found and (form == "table" or on_terminal()):
        sys.stderr.write(f"{NOTE}\n")


def _cells(line: bytes) -> list[str | None]:
    """What TabSeparated escapes, as it is; None for NULL."""
    cells = line.decode(errors="backslashreplace").split("\t")
    return [None if cell == r"\N" else _ESCAPE.sub(_unescaped, cell) for cell in cells]


def _unescaped(escape: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}.get(escape[1], escape[1])


def _lines_of(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _print_raw(pieces: Iterator[bytes], *, escape: bool) -> None:
    """Prints bytes as they are, which a program wants that named its format, or with control characters escaped."""
    escaper = Escaper()
    for piece in pieces:
        sys.stdout.buffer.write(escaper.feed(piece) if escape else piece)
    sys.stdout.buffer.write(escaper.feed(b"", last=True))
    sys.stdout.buffer.flush()
    if escaper.found:
        sys.stderr.write(f"{NOTE}\n")


def _escaped(value: str) -> str:
    """As TabSeparated has it, which is how ClickHouse reads a parameter."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def answer_over_http(settings: Settings, sql: str, output_format: str, **choices: str) -> bytes:
    """The whole answer of the embedded engine.

    Args:
        choices: ClickHouse's settings, of those that the dialect lets a client choose.

    Raises:
        QueryError: the query was refused, or nobody answered in full.
    """
    with _answer(settings, sql, output_format, **choices) as answer:
        body: bytes = answer.read()
        return body


@contextmanager
def _stream(
    settings: Settings, sql: str, output_format: str, values: Mapping[str, str]
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The format that an answer has, and its bytes."""
    address = server_address_of(settings)
    if address is not None:
        yield output_format, iter([_over_native(address, sql, output_format, values)])
        return
    with _answer(settings, sql, output_format, **{f"param_{name}": value for name, value in values.items()}) as answer:
        given = answer.headers.get("X-ClickHouse-Format") or output_format
        yield given, iter(partial(answer.read, PIECE_BYTES), b"")


@contextmanager
def _answer(settings: Settings, sql: str, output_format: str, **choices: str) -> Iterator[HTTPResponse]:
    base = f"http://{settings.clickhouse_http_host}:{settings.clickhouse_http_port}/"
    url = base + "?" + urllib.parse.urlencode({"default_format": output_format, "database": "unjoin", **choices})
    request = urllib.request.Request(url, data=sql.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        raise QueryError(error.read().decode(errors="replace").strip()) from None
    except BrokenPipeError:
        raise  # whoever read our output has gone, not ClickHouse
    except (urllib.error.URLError, ConnectionError, TimeoutError, HTTPException):
        raise QueryError(
            f"no ClickHouse answers at {base}; start `unjoin up`, "
            "or set UNJOIN_CLICKHOUSE_HTTP_PORT or UNJOIN_CLICKHOUSE_URL"
        ) from None


def _over_native(address: Address, sql: str, output_format: str, values: Mapping[str, str]) -> bytes:
    """The whole answer: the native protocol has no formats, so a few of them are made here."""
    if output_format not in FORMATS:
        raise QueryError(
            f"over clickhouse:// there are table, json, csv, {', '.join(FORMATS)}; "
            "ask the server's HTTP port for other formats"
        )
    try:
        with closing(Server(address, answer_seconds_max=TIMEOUT_S, database="unjoin")) as server:
            # As port 8123 does: a plain table name gives each row once, whichever user the URL names.
            return server.select(sql, output_format, parameters=values)
    except QueryFailed as error:
        raise QueryError(f"ClickHouse refused: {error.detail.splitlines()[0]}") from None
    except EngineError as error:
        raise QueryError(str(error)) from None
