"""Labels that may leave the house: without what fewer than k votes say.

Read in slices of whole tasks, because an answer over HTTP is bounded, a server's rows become Python objects, and a long
wait should show how far it is.
"""

import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from unjoin.export.files import ExportError, Notes, Writer, new_file, put_in_place, sha256_of, suffix_of
from unjoin.export.source import ReadTable
from unjoin.export.views import COUNT, TEXT, Days, View, query_of, statement

SLICE_VOTES = 250_000
FREE_KINDS = ("text_answer", "audio_transcript")
_SLICES = pa.schema([pa.field("last", TEXT), pa.field("tasks", COUNT), pa.field("votes", COUNT)])

Advance = Callable[[int, int], None]
"""How much is done, of how much."""
Names = Callable[[str], bool]
"""Whether an answer names a person."""


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
    """What is in the file, and what is not because too few votes say it, or because it names a person.

    Attributes:
        seen: of the view's unit, when the slices were cut.
    """

    rows: int
    left_out: int
    named: int = 0
    seen: int = 0


def export_labels(
    source: ReadTable, view: View, k: int, target: Path, advance: Advance, names: Names | None = None
) -> Exported:
    """Writes the file, or leaves it as it was.

    Args:
        k: a row is left out where fewer votes say the same.
        target: its suffix says the format.
        names: says of an answer whether it names a person; a typed or spoken one that does is left out. For `VOTES`.

    Raises:
        ExportError, QueryError: there is no such folder or format, no ClickHouse, or it refused.
    """
    check_k(k)
    suffix = suffix_of(target)
    notes = Notes(dataset=view.name, query=query_of(view, k), k=k, made_at=now())
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        written = Path(scratch) / target.name
        with new_file(written, suffix, view.schema, notes) as file:
            exported = fetch(source, view, k, file, advance, names=names)
            note(notes, exported, k, names)
        if suffix == ".csv":
            beside = Path(scratch) / "notes"
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(Sidecar(sha256_of(written), notes))) + b"\n")
            put_in_place(beside, target.with_name(f"{target.name}.json"))
        put_in_place(written, target)
    return exported


class Sidecar(msgspec.Struct, frozen=True):
    """Beside a CSV file: which one it is about, and its notes."""

    sha256: str
    notes: Notes


def check_k(k: int) -> None:
    """Raises ExportError where no rule can be meant."""
    if k < 1:
        raise ExportError("k must be at least 1, which leaves nothing out")


def now() -> datetime.datetime:
    """UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def note(notes: Notes, exported: Exported, k: int, names: Names | None) -> None:
    """Completes the notes."""
    notes.rows = exported.rows
    notes.left_out = {f"fewer than {k} votes": exported.left_out}
    if names is not None:
        notes.left_out["names a person"] = exported.named


def fetch(
    source: ReadTable,
    view: View,
    k: int,
    file: Writer,
    advance: Advance,
    slice_votes: int = SLICE_VOTES,
    names: Names | None = None,
    days: Days | None = None,
) -> Exported:
    """Writes the view's rows, slice by slice, each slice as it is at its moment."""
    slices = slices_of(source, slice_votes, days)
    # The first slice has no lower bound and the last no upper one: tasks that are new since then are in one of them.
    bounds = [None, *(one.last for one in slices[:-1]), None]
    seen = sum(getattr(one, view.unit) for one in slices)
    rows = said = named = done = 0
    for number, one in enumerate(slices):
        table = source(statement(view, k, bounds[number], bounds[number + 1], days), view.schema)
        units = units_of(table, view)
        if names is not None:
            table = without_names(table, names)
            named += units - units_of(table, view)
        file.write_table(table)
        rows += table.num_rows
        said += units_of(table, view)
        done += getattr(one, view.unit)
        advance(done, seen)
    return Exported(rows, max(0, seen - said - named), named, seen)


def units_of(table: pa.Table, view: View) -> int:
    """How many of the view's unit the rows stand for: an increment's rows count votes."""
    counted = view.unit in table.column_names
    return int(pc.sum(table[view.unit]).as_py() or 0) if counted else table.num_rows


def without_names(table: pa.Table, names: Names) -> pa.Table:
    """Rows without the typed and the spoken answers that name a person."""
    kinds, answers = table["kind"].to_pylist(), table["answer"].to_pylist()
    kept = [kind not in FREE_KINDS or not names(answer) for kind, answer in zip(kinds, answers, strict=True)]
    return table.filter(pa.array(kept, pa.bool_()))


def slices_of(source: ReadTable, slice_votes: int, days: Days | None = None) -> list[Slice]:
    """All tasks, cut so that a slice has some `slice_votes` votes, or is one task."""
    where = "" if days is None else f" WHERE {days.condition}"
    tasks = f"SELECT task, uniqExact(kind) AS kinds, count() AS n FROM unjoin.labels FINAL{where} GROUP BY task"  # noqa: S608
    slice_of = f"intDiv(sum(n) OVER (ORDER BY task ASC) - n, {slice_votes})"
    numbered = f"SELECT task, kinds, n, {slice_of} AS slice FROM ({tasks})"  # noqa: S608
    columns = "hex(max(task)) AS last, sum(kinds) AS tasks, sum(n) AS votes"
    cut = f"SELECT {columns} FROM ({numbered}) GROUP BY slice ORDER BY slice"  # noqa: S608
    return [Slice(**row) for row in source(cut, _SLICES).to_pylist()]
