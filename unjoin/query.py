"""`unjoin query`: SQL where the sink writes, given or from a file, with values for its `{name:Type}` placeholders."""

import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.outcomes import UnjoinError
from sinks.clickhouse.address import Address
from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.server import Server
from sinks.engine import EngineError
from unjoin.connections.clickhouse_address import server_address_of
from unjoin.settings import Settings
from unjoin.terminal import NOTE, Escaper, escaped

TIMEOUT_S = 300

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
    settings: Settings,
    sql: str,
    output_format: str | None,
    console: Console,
    parameters: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Prints the answer to `sql`: a table for people, or a ClickHouse output format.

    Args:
        parameters: values of the SQL's placeholders, as they are.

    Raises:
        QueryError: ClickHouse refused the query or is not there.
    """
    values = {f"param_{name}": _escaped(value) for name, value in parameters.items()}
    address = server_address_of(settings)
    if address is not None:
        _over_native(address, sql, output_format, console, values)
    else:
        _over_http(
            settings,
            sql,
            output_format or ("PrettyCompactNoEscapesMonoBlock" if sys.stdout.isatty() else "PrettySpaceNoEscapes"),
            raw=output_format is not None and not sys.stdout.isatty(),
            **values,
        )


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


def _over_http(settings: Settings, sql: str, output_format: str, *, raw: bool, **values: str) -> None:
    """Prints the answer; unless `raw`, for a program that named its format, control characters are escaped."""
    escaper = Escaper()
    with _answer(settings, sql, output_format, **values) as answer:
        while piece := answer.read(1 << 16):
            sys.stdout.buffer.write(piece if raw else escaper.feed(piece))
    sys.stdout.buffer.write(escaper.feed(b"", last=True))
    sys.stdout.buffer.flush()
    if escaper.found:
        sys.stderr.write(f"{NOTE}\n")


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


def _over_native(
    address: Address, sql: str, output_format: str | None, console: Console, values: Mapping[str, str]
) -> None:
    if output_format not in (None, "TSV", "TabSeparated"):
        raise QueryError(
            "over clickhouse:// only a table and TSV can be printed; ask the server's HTTP port for other formats"
        )
    try:
        with closing(Server(address, answer_seconds_max=TIMEOUT_S, database="unjoin")) as server:
            # As port 8123 does: a plain table name gives each row once, whichever user the URL names.
            parameters = {name.removeprefix("param_"): value for name, value in values.items()}
            rows, columns = server.run(sql, {"final": 1}, parameters)
    except QueryFailed as error:
        raise QueryError(f"ClickHouse refused: {error.detail.splitlines()[0]}") from None
    except EngineError as error:
        raise QueryError(str(error)) from None
    raw = output_format is not None and not sys.stdout.isatty()
    lines = [[name for name, _ in columns], *([str(value) for value in row] for row in rows)]
    shown = lines if raw else [[escaped(cell) for cell in line] for line in lines]
    if output_format is None:
        table = Table()
        for name in shown[0]:
            table.add_column(Text(name))
        for line in shown[1:]:
            table.add_row(*(Text(cell) for cell in line))
        console.print(table)
    else:
        for line in shown[1:]:
            sys.stdout.write("\t".join(line) + "\n")
    if shown != lines:
        sys.stderr.write(f"{NOTE}\n")
