"""Figures that people read and git keeps: tables as CSV, plots as SVG; the same data give the same bytes."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

POINTS_MAX = 200
COLOURS = ("#0b6e4f", "#c44536", "#e09f3e", "#8d99ae")  # ours first
# Text as text: as paths of its glyphs it is most of a file.
STYLE: Any = {"svg.hashsalt": "unjoin", "svg.fonttype": "none", "font.size": 9}

T = TypeVar("T")


def thinned(points: Sequence[T], points_max: int = POINTS_MAX) -> list[T]:
    """Picks at most so many of a curve's points, evenly spaced, the first and the last among them."""
    if len(points) <= points_max:
        return list(points)
    step = (len(points) - 1) / (points_max - 1)
    return [points[round(place * step)] for place in range(points_max)]


def tail(values: Sequence[float], points_max: int = POINTS_MAX) -> list[tuple[float, float]]:
    """(value, share of the values that are at least as large), for a plot whose shares are logarithmic.

    The shares are evenly spaced in their logarithm, from 1 to that of the largest value: the tail keeps its points.

    Args:
        values: at least one.
    """
    ordered, count = sorted(values), len(values)
    ranks = {round(count ** (1 - place / (points_max - 1))) for place in range(points_max)}
    return [(ordered[count - rank], rank / count) for rank in sorted(ranks, reverse=True)]


@contextmanager
def drawn(
    path: Path,
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float],
    style: Any = None,
    **share: Any,
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Panels to draw on, row by row; at the end they are written as SVG, without a date.

    Args:
        size: width and height, inches.
        style: matplotlib's settings, over `STYLE`.
        share: `sharex`, `sharey`.
    """
    with mpl.rc_context({**STYLE, **(style or {})}):
        figure = Figure(figsize=size, facecolor="white", layout="constrained")
        FigureCanvasSVG(figure)
        panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, **share).flat)
        yield figure, panels
        points = max((len(line.get_path()) for panel in panels for line in panel.lines), default=0)
        assert points <= POINTS_MAX, f"a curve of {path.name} has {points} points: thin them"
        figure.savefig(path, format="svg", metadata={"Date": None})


def write_csv(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Writes a table whose columns are the first row's names; of no rows an empty file."""
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        if rows:
            writer.writeheader()
        writer.writerows(rows)
