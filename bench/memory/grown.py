"""Asks a process that was started with the census for it, and tables what grew from the first to the last."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.memory.census import FILE
from testkit.processes import wait_for

HERE = Path(__file__).parent
MIB = 1024 * 1024
TOLD_BYTES, TOLD_COUNT = 8_192, 100


def census_environment(lines: Path) -> dict[str, str]:
    """What a collector is to be started with.

    Args:
        lines: the file that it adds a line to when asked.
    """
    return {"PYTHONPATH": f"{HERE / 'hook'}:{HERE.parents[1]}", FILE: str(lines)}


def take_census(pid: int, lines: Path) -> None:
    """Returns once the process has written what it holds."""
    before = lines.read_bytes().count(b"\n")
    os.kill(pid, signal.SIGUSR2)
    wait_for(lambda: lines.read_bytes().count(b"\n") > before, "no census", 60)


def tell_growth(lines: Path, out: Path, console: Console) -> None:
    """Shows what there is more of in the last census than in the first; writes both as census.json."""
    taken: list[dict[str, Any]] = [json.loads(line) for line in lines.read_text().splitlines()]
    out.mkdir(parents=True, exist_ok=True)
    (out / "census.json").write_text(json.dumps([taken[0], taken[-1]]))
    first, last = (dict(_flat(one)) for one in (taken[0], taken[-1]))
    table = Table("collector holds", "MiB at first", "MiB at the end", "grew by, KiB", "count grew by")
    grown = {
        name: (last[name][0] - before[0], last[name][1] - before[1]) for name, before in first.items() if name in last
    }
    grown |= {name: held for name, held in last.items() if name not in first}
    for name, (size, count) in sorted(grown.items(), key=lambda one: -one[1][0]):
        if abs(size) >= TOLD_BYTES or abs(count) >= TOLD_COUNT:
            after = last[name][0]
            table.add_row(
                name, f"{(after - size) / MIB:,.2f}", f"{after / MIB:,.2f}", f"{size / 1_024:+,.0f}", f"{count:+,}"
            )
    console.print(table)


def _flat(census: dict[str, Any]) -> list[tuple[str, tuple[int, int]]]:
    """Bytes and count of each line of a table."""
    parts = ((part, census[part]) for part in ("pages", "malloc", "blocks"))
    sizes = [(f"{part}: {name}", (size, 0)) for part, of in parts for name, size in of.items()]
    return sizes + [(name, (size, count)) for name, (count, size) in census["types"].items()]
