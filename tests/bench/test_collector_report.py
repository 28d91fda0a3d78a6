"""The table of the collector's bench: ratios first, and what is compared beside them."""

import importlib
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from bench.collector.contenders import Contender, Peer, Program, Unjoin, everyone
from bench.collector.generator import Measured
from bench.collector.report import Report
from bench.collector.rounds import Result

ROOT = Path(__file__).parents[2]
BENCHES = sorted(set(re.findall(r"python -m (bench[.a-z]*)", (ROOT / "Makefile").read_text())))


def _result(contender: str, cpu_seconds: float) -> Result:
    cpu = {"contender": cpu_seconds, "kafka": 0.0, "generator": 0.0}
    measured = Measured(seconds=1.0, accepted=1_000, accepted_in_all=1_000, cpu_seconds=cpu)
    return Result(contender, "small", 50, 32, 0.0, measured, 1_000)


class _Floor(Program):
    stores = False

    def missing(self) -> str:
        return ""


def _shown(contenders: list[Contender], results: list[Result]) -> str:
    report = Report({"kernel": "1"}, contenders)
    report.costs = results
    report.produce["small", 50] = [0.75]
    console = Console(width=200, file=io.StringIO())
    report.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_first_table_has_how_many_times_the_products_cpu_each_peer_spends() -> None:
    """Microseconds are of one machine; what compares is the ratio, round against round, beside the floors."""
    floor = _Floor("floor", ["x"], "the body was read", "")
    results = [_result("unjoin", 0.002), _result("aiohttp", 0.008), _result("floor", 0.0001)]
    shown = _shown([Unjoin(), Peer("aiohttp", "aiohttp"), floor], results)
    heads, row = (next(line for line in shown.splitlines() if word in line) for word in ("aiohttp", "small"))
    assert [cell.strip() for cell in heads.split("┃")[1:-1]] == [
        "mix", "N", "unjoin µs", "aiohttp", "floor", "produce_batch alone",
    ]  # fmt: skip
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "small", "50", "2.00 (2.00 to 2.00)", "4.00 (4.00 to 4.00)", "0.10", "0.75",
    ]  # fmt: skip


def test_who_is_not_installed_is_named_with_what_it_needs_and_the_rest_is_shown(tmp_path: Path) -> None:
    """A bench that ends because one of its contenders is missing shows nothing at all."""
    absent = Program("absent", [str(tmp_path / "absent")], "everything", "a compiler of 2030")
    shown = _shown([Unjoin(), absent], [_result("unjoin", 0.002)])
    (line,) = (line for line in shown.splitlines() if "absent" in line)
    assert "not measured: not built" in line
    assert "a compiler of 2030" in line


def test_every_contender_says_what_its_2xx_means() -> None:
    """A cheaper answer that promises less is not the same answer."""
    assert len({one.name for one in everyone()}) == len(everyone())
    for one in everyone():
        assert one.promise
        assert not one.stores or "every in-sync replica" in one.promise


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_of_make_bench_can_be_imported(name: str) -> None:
    """They run for an hour, in nobody's tests; one that cannot even start is seen here."""
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{name}.__main__")
    assert callable(module.main)
