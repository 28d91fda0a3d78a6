"""Figures that git keeps: bounded in size, and the same bytes from the same data."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.figures import POINTS_MAX, drawn, tail, thinned, write_csv


@given(st.lists(st.integers(), max_size=1_000))
def test_thinned_curve_has_at_most_200_points_in_order_with_both_ends(points: list[int]) -> None:
    """An hour of samples is six pages of SVG otherwise."""
    numbered = list(enumerate(points))
    kept = thinned(numbered)
    assert len(kept) == min(len(points), POINTS_MAX)
    assert kept == sorted(set(kept))
    assert set(kept) <= set(numbered)
    assert kept[:1] + kept[-1:] == numbered[:1] + numbered[-1:]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=2_000))
def test_tail_has_at_most_200_points_and_keeps_the_largest_values(values: list[float]) -> None:
    """The slowest answers are what such a plot is looked at for."""
    points = tail(values)
    assert len(points) <= POINTS_MAX
    assert points[0] == (min(values), 1.0)
    assert points[-1] == (max(values), 1 / len(values))
    for value, share in points:
        assert sum(other >= value for other in values) >= round(share * len(values))


def test_every_rank_of_a_short_tail_is_kept() -> None:
    """Of the slowest ten of ten thousand answers none is left out."""
    ranks = {round(share * 10_000) for _, share in tail([float(number) for number in range(10_000)])}
    assert set(range(1, 11)) <= ranks


def test_plot_with_a_curve_of_more_points_is_refused(tmp_path: Path) -> None:
    """So that no plotting code can forget to thin."""
    with pytest.raises(AssertionError, match="201 points"), drawn(tmp_path / "plot.svg", size=(4, 3)) as (_, (panel,)):
        panel.plot(range(POINTS_MAX + 1), range(POINTS_MAX + 1))
    assert not (tmp_path / "plot.svg").exists()


def test_plot_of_the_same_data_is_the_same_file_without_a_date_or_glyphs(tmp_path: Path) -> None:
    """A figure in git changes when what it shows changes."""
    for name in ("one.svg", "two.svg"):
        with drawn(tmp_path / name, size=(4, 3)) as (_, (panel,)):
            panel.plot(range(POINTS_MAX), range(POINTS_MAX))
            panel.set_title("a title")
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "two.svg").read_text()
    assert "<dc:date>" not in text
    assert re.search(r"<text[^>]*>a title</text>", text)


def test_published_figures_have_no_curve_of_more_than_200_points_no_date_and_few_markers() -> None:
    """Whoever redraws one by other means sees it here."""
    figures = list((Path(__file__).parents[2] / "docs" / "figures").glob("*.svg"))
    assert figures
    for figure in figures:
        text = figure.read_text()
        assert "<dc:date>" not in text, figure.name
        assert text.count("<use") < 1_000, figure.name
        curves = [path for path in re.findall(r'<path d="([^"]*)"[^>]*clip-path', text) if "z" not in path]
        assert all(len(re.findall(r"[ML] ", curve)) <= POINTS_MAX for curve in curves), figure.name


def test_table_is_a_line_a_row_under_the_names_of_the_first(tmp_path: Path) -> None:
    """As spreadsheets read it, whatever a cell holds."""
    write_csv(tmp_path / "table.csv", [{"name": "a, b", "count": 1}, {"name": 'c "d"', "count": None}])
    assert (tmp_path / "table.csv").read_text() == 'name,count\n"a, b",1\n"c ""d""",\n'
