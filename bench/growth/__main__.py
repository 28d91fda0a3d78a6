"""The command: `python -m bench.growth`: whether anything grows faster than the work.

The CPU of an event as partitions, connections, or sites and their keys grow; of a label as more are held; of a row, and
the time to read a session, as the table grows. Each size is measured `--rounds` times, one after the other. `--only`
measures one of them, `--sizes` others than its own, as far as there is room.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.growth.edge import connections, partitions, sites
from bench.growth.held import held
from bench.growth.points import Point, exponent
from bench.growth.rows import rows
from testkit.figures import COLOURS, drawn, write_csv
from testkit.lists import numbers, words
from testkit.machine import machine, spread

Measure = Callable[[Sequence[int], int], Iterator[Point]]

PARTS: dict[str, tuple[Measure, list[int]]] = {
    "partitions": (partitions, [1, 4, 16, 64]),
    "connections": (connections, [1, 10, 100, 1_000]),
    "sites": (sites, [1, 10, 100, 1_000, 10_000]),
    "held": (held, [1, 10, 100, 1_000, 10_000, 100_000]),
    "rows": (rows, [100_000, 1_000_000, 10_000_000, 100_000_000]),
}


def main() -> int:
    """Measures, prints, writes growth.csv and growth.svg where told."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--only", type=words, default=list(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--sizes", type=numbers, metavar="N,N", help="ascending, in place of the part's own")
    parser.add_argument("--rounds", type=int, default=5, help="of each size")
    parser.add_argument("--out", type=Path, help="folder of growth.csv and growth.svg")
    options = parser.parse_args()
    console = Console(width=130)
    points: list[Point] = []
    for part in options.only:
        measure, sizes = PARTS[part]
        for point in measure(options.sizes or sizes, options.rounds):
            console.print(f"{point.size:,} {point.what}: {spread(point.rounds)} {point.cost}", highlight=False)
            points.append(point)
            if options.out:  # what is known already, should the rest break off
                options.out.mkdir(parents=True, exist_ok=True)
                write_csv(options.out / "growth.csv", _lines(points))
    _show(points, console)
    if options.out:
        draw(points, options.out / "growth.svg")
    return 0


def _grouped(points: Sequence[Point]) -> list[list[Point]]:
    ordered = sorted(points, key=_series)
    return [list(group) for _, group in groupby(ordered, key=_series)]


def _series(point: Point) -> tuple[str, str]:
    return point.what, point.cost


def _show(points: Sequence[Point], console: Console) -> None:
    console.print(" · ".join(f"{name} {value}" for name, value in machine("chdb").items()), highlight=False)
    table = Table("what grows", "from, to", "cost", "at first", "at the end", "times that", "exponent")
    for group in _grouped(points):
        first, last = group[0], group[-1]
        if last.size > first.size:
            table.add_row(
                first.what, f"{first.size:,} to {last.size:,}", first.cost, str(spread(first.rounds)),
                str(spread(last.rounds)), f"{last.median / first.median:.2f}", f"{exponent(group):+.3f}",
            )  # fmt: skip
    console.print(table)


def _lines(points: Sequence[Point]) -> list[dict[str, object]]:
    """A line a round."""
    return [
        {"what": point.what, "size": point.size, "cost": point.cost, "value": round(value, 3)}
        for point in points
        for value in point.rounds
    ]


def draw(points: Sequence[Point], path: Path) -> None:
    """A panel for each cost, sizes logarithmic; medians, with the smallest and largest value."""
    groups = _grouped(points)
    with drawn(path, 1, len(groups), size=(2.9 * len(groups), 2.9)) as (_, panels):
        for panel, group in zip(panels, groups, strict=True):
            found = [spread(point.rounds) for point in group]
            ranges = [[one.median - one.low for one in found], [one.high - one.median for one in found]]
            sizes = [point.size for point in group]
            panel.errorbar(sizes, [one.median for one in found], yerr=ranges, marker="o", capsize=3, color=COLOURS[0])
            panel.set(xscale="log", xlabel=group[0].what, ylabel=group[0].cost, ylim=(0, None))
            panel.grid(alpha=0.3)


if __name__ == "__main__":
    sys.exit(main())
