"""`unjoin export`: labels as a Parquet file that may leave the house, without what fewer than k votes say.

    boundaries of slices ─▶ each slice from label_export or label_export_votes, as text ─▶ Parquet beside FILE ─▶ rename

The rule itself is in the views (sinks/migrations/, 0004 and 0007), so that analysts who ask them get the same.
Slices of whole tasks, because an answer over HTTP is bounded, a server's rows become Python objects, and a long wait
should show how far it is. The engine writes the Parquet: it is here already, and a second writer would be one more
dependency.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from schemas.outcomes import UnjoinError
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.server import Server
from sinks.clickhouse.statements import literal
from sinks.engine import EngineError
from unjoin.connections.clickhouse_address import server_address_of
from unjoin.query import SelectRows, answer_over_http
from unjoin.settings import Settings

SLICE_VOTES = 250_000
FREE_KINDS = (b"text_answer", b"audio_transcript")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)  # of TabSeparated


class ExportError(UnjoinError):
    """Nothing was exported, and a file that was there before is as it was; the text says what to do."""


class View(msgspec.Struct, frozen=True):
    """What is exported.

    Attributes:
        name: the view's, which takes k.
        columns: the file's, with ClickHouse's types.
        order: says nothing that the columns do not.
        unit: what a row stands for, and what is counted as left out.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    order: str
    unit: str


CONSENSUS = View(
    name="label_export",
    columns=(
        *(("task", "String"), ("kind", "String"), ("answer", "String"), ("votes", "UInt64"), ("total", "UInt64")),
        *(("agreement", "Float64"), ("agreement_low", "Float64"), ("agreement_high", "Float64"), ("tied", "Bool")),
    ),
    order="task, kind",
    unit="tasks",
)
# `row_id` is left out: it stays the same from file to file, so it would join exports, and it teaches nothing.
VOTES = View(
    name="label_export_votes",
    columns=(("task", "String"), ("kind", "String"), ("answer", "String"), ("day", "Nullable(Date)")),
    order="task, kind, answer, day",
    unit="votes",
)


class Slice(msgspec.Struct, frozen=True):
    """Some tasks that follow each other.

    Attributes:
        last: the last of them, in hexadecimal: a task may be called what port 8123 refuses anywhere in a statement.
        tasks: how many there are; one that was answered in several kinds counts once for each.
    """

    last: str
    tasks: int
    votes: int


class Exported(msgspec.Struct, frozen=True):
    """What is in the file, and what is not because too few votes say it, or because it names a person."""

    rows: int
    left_out: int
    named: int = 0


def run_export(
    settings: Settings, view: View, k: int, target: Path, console: Console, names: Callable[[str], bool] | None = None
) -> Exported:
    """Writes the file, or leaves it as it was.

    Args:
        k: a row is left out where fewer votes say the same.
        names: says of an answer whether it names a person; a typed or spoken one that does is left out. For `VOTES`.

    Raises:
        ExportError, QueryError: there is no such folder, no ClickHouse, or it refused.
    """
    if k < 1:
        raise ExportError("k must be at least 1, which leaves nothing out")
    if target.is_dir() or not target.parent.is_dir():
        raise ExportError(f"{target} cannot be written: name a file in a folder that is there")
    with (
        _source(settings) as source,
        tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch,
    ):
        text, parquet = Path(scratch) / "rows.tsv", Path(scratch) / target.name
        with _progress(console) as progress:
            exported = fetch(source, view, k, text, progress, names=names)
        engine = Embedded(Path(scratch) / "engine")
        try:
            with console.status("writing Parquet"):
                write_parquet(engine, view, text, parquet)
        finally:
            engine.close()
        _put_in_place(parquet, target)
    return exported


def fetch(
    source: SelectRows,
    view: View,
    k: int,
    text: Path,
    progress: Progress,
    slice_votes: int = SLICE_VOTES,
    names: Callable[[str], bool] | None = None,
) -> Exported:
    """Writes the view's rows to `text`, slice by slice, each slice as it is at its moment."""
    slices = slices_of(source, slice_votes)
    # The first slice has no lower bound and the last no upper one: tasks that are new since then are in one of them.
    bounds = [None, *(one.last for one in slices[:-1]), None]
    seen = sum(getattr(one, view.unit) for one in slices)
    bar = progress.add_task(view.unit, total=seen)
    rows = named = 0
    with text.open("wb") as file:
        for number, one in enumerate(slices):
            answer = source(statement(view, k, bounds[number], bounds[number + 1]))
            said = answer.count(b"\n")
            if names is not None:
                answer = without_names(answer, names)
            file.write(answer)
            rows += answer.count(b"\n")
            named += said - answer.count(b"\n")
            progress.advance(bar, getattr(one, view.unit))
    return Exported(rows, max(0, seen - rows - named), named)


def without_names(votes: bytes, names: Callable[[str], bool]) -> bytes:
    """Votes as TabSeparated, without the typed and the spoken answers that name a person."""
    kept = []
    for line in votes.split(b"\n")[:-1]:
        _, kind, answer, _ = line.split(b"\t")
        if kind not in FREE_KINDS or not names(_ESCAPE.sub(_unescaped, answer).decode(errors="replace")):
            kept.append(line + b"\n")
    return b"".join(kept)


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"0": b"\0"}.get(escape[1], escape[1])


def slices_of(source: SelectRows, slice_votes: int) -> list[Slice]:
    """All tasks, cut so that a slice has some `slice_votes` votes, or is one task."""
    tasks = "SELECT task, uniqExact(kind) AS kinds, count() AS n FROM unjoin.labels FINAL GROUP BY task"
    numbered = (
        f"SELECT task, kinds, n, intDiv(sum(n) OVER (ORDER BY task ASC) - n, {slice_votes}) AS slice FROM ({tasks})"  # noqa: S608
    )
    found = source(f"SELECT hex(max(task)), sum(kinds), sum(n) FROM ({numbered}) GROUP BY slice ORDER BY slice")  # noqa: S608
    rows = [line.split("\t") for line in found.decode().splitlines()]
    return [Slice(last, int(of_tasks), int(of_votes)) for last, of_tasks, of_votes in rows]


def statement(view: View, k: int, after: str | None, until: str | None) -> str:
    """The rows of the tasks after one and up to another, both in hexadecimal; None for no bound."""
    bounds = [f"task > unhex('{after}')"] * (after is not None) + [f"task <= unhex('{until}')"] * (until is not None)
    names = ", ".join(name for name, _ in view.columns)
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    return f"SELECT {names} FROM unjoin.{view.name}(k = {k}){where} ORDER BY {view.order}"  # noqa: S608  all our own


def write_parquet(engine: Embedded, view: View, text: Path, parquet: Path) -> None:
    """Turns rows as text into a Parquet file."""
    structure = ", ".join(f"{name} {kind}" for name, kind in view.columns)
    rows = f"file({literal(str(text))}, 'TabSeparated', {literal(structure)})"
    engine.select(f"SELECT * FROM {rows} INTO OUTFILE {literal(str(parquet))} FORMAT Parquet", "Null")  # noqa: S608


def _put_in_place(written: Path, target: Path) -> None:
    """Replaces the target at once: a reader sees the old file or the new one, whole, also after a power failure."""
    _sync(written)
    written.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _source(settings: Settings) -> Iterator[SelectRows]:
    address = server_address_of(settings)
    if address is None:
        yield lambda sql: answer_over_http(settings, sql, "TabSeparated")
        return
    server = Server(address)
    try:
        yield lambda sql: server.select(sql, "TabSeparated")
    except QueryFailed as error:
        raise ExportError(f"ClickHouse refused: {error.detail.splitlines()[0]}") from None
    except EngineError as error:
        raise ExportError(f"ClickHouse does not answer where UNJOIN_CLICKHOUSE_URL points: {error}") from None
    finally:
        server.close()


def _progress(console: Console) -> Progress:
    columns = (TextColumn("reading {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
