"""What a command prints: one table, for people, or as JSON or CSV for programs.

A table is never cut. Into a pipe or a file it is as wide as it is; on a terminal it breaks between words, and where
that is not enough, each row becomes a block of lines, which the terminal may wrap.
"""

import argparse
import csv
import datetime
import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.text import Text

from unjoin.terminal import escaped, json_escaped

FORMATS = ("table", "json", "csv")
ROWS_AT_ONCE = 10_000
"""Rows that share their columns' widths: a longer table begins anew, so that it needs no more memory."""
_GAP = "  "
_NARROW = " "
_PIECES = Console(file=io.StringIO(), width=1_000, color_system=None)

Cell = str | int | float | datetime.date | None | Sequence[str]
"""Text of one line; a number, truth value, day or time; nothing; or several lines."""
Row = Sequence[list[str]]
"""The lines of each cell, as they are shown."""


def add_format(command: argparse.ArgumentParser) -> None:
    """The option `--format`."""
    command.add_argument("--format", choices=FORMATS, default="table", help="for people (the default) or for programs")


def print_table(
    names: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    form: str = "table",
    *,
    document: object = None,
    transposed: bool = False,
    right: Sequence[bool] = (),
) -> None:
    """Prints rows on standard output.

    Args:
        names: of the columns, and of a JSON object's members: stable.
        form: of `FORMATS`.
        document: what JSON is instead of an array with an object a row.
        transposed: show columns as rows where that fits.
        right: which columns hold numbers; default those whose cells are numbers.
    """
    if form == "json":
        print_json(document) if document is not None else _print_json_rows(names, rows)
    elif form == "csv":
        _print_csv([names])
        _print_csv([_plain(cell) for cell in row] for row in rows)
    else:
        left, width = iter(rows), terminal_width()
        some = list(islice(left, ROWS_AT_ONCE))
        _print_lines(lines_of(names, some, width, transposed=transposed, right=right))
        while some := list(islice(left, ROWS_AT_ONCE)):
            _print_lines(lines_of(names, some, width, right=right))


def print_json(document: object) -> None:
    """One document on standard output."""
    text = msgspec.json.format(msgspec.json.encode(document, enc_hook=str)).decode()
    sys.stdout.write(json_escaped(text) + "\n")


def print_report(sentence: str, form: str, **figures: Any) -> None:
    """What a command did: a sentence for people; its figures, by stable names, for programs."""
    if form == "table":
        say(sentence)
    else:
        print_table(tuple(figures), [tuple(figures.values())], form, document=figures)


@contextmanager
def progress_on(console: Console, *columns: ProgressColumn) -> Iterator[Progress]:
    """A bar on a terminal, gone at its end; nothing elsewhere, where each of its states would be a line."""
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def say(text: str, style: str = "") -> None:
    """A line on standard output, however long; styled on a terminal."""
    Console().print(escaped(text), style=style, markup=False, highlight=False, soft_wrap=True)


def on_terminal() -> bool:
    """Whether standard output is a terminal, which obeys control characters."""
    return sys.stdout.isatty()


def terminal_width() -> int | None:
    """Columns of the terminal on standard output; None where it is none, and nothing has to fit."""
    return shutil.get_terminal_size().columns if on_terminal() else None


def lines_of(
    names: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    width: int | None,
    *,
    transposed: bool = False,
    right: Sequence[bool] = (),
) -> Iterator[tuple[str, bool]]:
    """Pure: the lines of a table, and whether each is a heading."""
    numbers = list(right) or [_is_numeric(row[place] for row in rows) for place in range(len(names))]
    cells = [[_lines(cell) for cell in row] for row in rows]
    head = [[escaped(name)] for name in names]
    grids: list[tuple[Row, Sequence[Row], list[bool]]] = [(head, cells, numbers)]
    if transposed and rows:
        turned = list(zip(head, *cells, strict=True))
        grids.insert(0, (turned[0], turned[1:], [False] + [all(numbers[1:])] * len(rows)))
    for gap in (_GAP, _NARROW):
        for first, others, aligned in grids:
            if (widths := _widths([first, *others], width, gap)) is not None:
                return _table(first, others, widths, aligned, gap)
    return _blocks(head, cells) if rows else _table(head, cells, [cell_len(name[0]) for name in head], numbers, _GAP)


def _is_numeric(cells: Iterable[Cell]) -> bool:
    found = [cell for cell in cells if cell is not None]
    return bool(found) and all(isinstance(cell, int | float) for cell in found)


def _lines(cell: Cell) -> list[str]:
    """A cell as it is shown; what ends a line in it is an escape, so that no cell can look like a row."""
    match cell:
        case None:
            return ["NULL"]
        case bool() | datetime.date():
            return [str(_plain(cell))]
        case int() | float():
            return [f"{cell:,}"]
        case str():
            return [escaped(cell).replace("\n", "\\n").replace("\t", "\\t")]
        case _:
            return [line for one in cell for line in _lines(one)] or [""]


def _widths(rows: Sequence[Row], width: int | None, gap: str) -> list[int] | None:
    """Of each column; None where not even words fit."""
    columns = list(zip(*rows, strict=True))
    natural = [max(cell_len(line) for cell in column for line in cell) for column in columns]
    if width is None:
        return natural
    room = width - len(gap) * (len(columns) - 1)
    least = [max(cell_len(word) for cell in column for line in cell for word in line.split(" ")) for column in columns]
    if sum(least) > room:
        return None
    while (over := sum(natural) - room) > 0:
        widest = max(range(len(columns)), key=lambda place: (natural[place] > least[place], natural[place]))
        natural[widest] = max(least[widest], natural[widest] - over, natural[widest] // 2)
    return natural


def _table(
    head: Row, rows: Sequence[Row], widths: list[int], numbers: Sequence[bool], gap: str
) -> Iterator[tuple[str, bool]]:
    yield from ((line, True) for line in _row(head, widths, numbers, gap))
    yield gap.join("-" * width for width in widths), False
    for row in rows:
        yield from ((line, False) for line in _row(row, widths, numbers, gap))


def _row(cells: Row, widths: Sequence[int], numbers: Sequence[bool], gap: str) -> Iterator[str]:
    columns = [
        [part for line in cell for part in _parts(line, width)] for cell, width in zip(cells, widths, strict=True)
    ]
    for number in range(max(map(len, columns), default=0)):
        shown = []
        for parts, width, numeric in zip(columns, widths, numbers, strict=True):
            text = parts[number] if number < len(parts) else ""
            space = " " * (width - cell_len(text))
            shown.append(space + text if numeric else text + space)
        yield gap.join(shown).rstrip()


def _parts(line: str, width: int) -> list[str]:
    if cell_len(line) <= width:
        return [line]
    return [part.plain.rstrip() for part in Text(line).wrap(_PIECES, width, overflow="fold", no_wrap=False)]


def _blocks(head: Row, rows: Sequence[Row]) -> Iterator[tuple[str, bool]]:
    width = max(cell_len(name[0]) for name in head)
    for number, row in enumerate(rows):
        if number:
            yield "", False
        for (name,), cell in zip(head, row, strict=True):
            for place, line in enumerate(cell):
                text = "" if place else name
                yield f"{text}{' ' * (width - cell_len(text))}{_GAP}{line}".rstrip(), False


def _print_lines(lines: Iterable[tuple[str, bool]]) -> None:
    console = Console()
    for line, heading in lines:
        if heading and console.is_terminal:
            console.print(line, style="bold", markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stdout.write(line + "\n")


def _print_json_rows(names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    lines = (msgspec.json.encode(dict(zip(names, row, strict=True)), enc_hook=str).decode() for row in rows)
    print_json_lines(lines)


def print_json_lines(lines: Iterable[str]) -> None:
    """An array on standard output, an item of JSON a line, however long it is."""
    before = "[\n"
    for line in lines:
        sys.stdout.write(before + json_escaped(line))
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")


def _plain(cell: Cell) -> str | int | float:
    match cell:
        case None:
            return ""
        case bool():
            return str(cell).lower()
        case str() | int() | float():
            return cell
        case datetime.date():
            return cell.isoformat()
        case _:
            return " ".join(cell)


def _print_csv(rows: Iterable[Sequence[str | int | float]]) -> None:
    """RFC 4180 but for the line's end; control characters are escaped on a terminal alone."""
    if not on_terminal():
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
        return
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        sys.stdout.write(escaped(line.getvalue()))
