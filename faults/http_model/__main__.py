"""`python -m faults.http_model`: a million requests, valid and not, held to the model of the HTTP contract.

A collector in a process of its own, with a file of ids in Kafka's place; clients that send what the grammar composes,
split, pipelined and half-closed anyhow. Each answer is compared as it comes; stored ids and counters after each
thousand scripts. A script that failed is printed with the seed that makes it again.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from faults.http_model.client import Broken, run_script
from faults.http_model.grammar import AFTER, SMUGGLED, Script, script
from faults.http_model.running import ModelCollector, model_collector
from testkit.figures import write_csv

CLIENTS = 24
ROUND_SCRIPTS = 1_000
SHOWN_MAX = 20


class Figures:
    """What was sent and what became of it."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.broken: Counter[str] = Counter()
        self.texts: list[str] = []
        self.requests = 0

    def add(self, seed: str, kind: str, text: str) -> None:
        """Something was not as the model says."""
        self.broken[kind] += 1
        if len(self.texts) < SHOWN_MAX:
            self.texts.append(f"{seed}: {text}")


def script_of(seed: int, number: int) -> Script:
    """The same script for the same numbers."""
    return script(random.Random(f"{seed}-{number}").choice, f"r{number}")


async def play_round(collector: ModelCollector, seed: int, first: int, figures: Figures) -> None:
    """Plays a round of scripts, then compares what is stored and counted."""
    scripts = {number: script_of(seed, number) for number in range(first, first + ROUND_SCRIPTS)}
    waiting = list(scripts.items())
    before = await asyncio.to_thread(collector.outcomes)
    whole = True

    async def client() -> None:
        nonlocal whole
        while waiting:
            number, played = waiting.pop()
            try:
                await run_script("127.0.0.1", collector.port, played)
            except Broken as broken:
                whole = False
                figures.add(f"{seed}-{number}", broken.kind, f"{broken}\n{played}")
            figures.requests += len(played.answered)
            figures.answers.update((one.kind, one.status) for one in played.answered)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    answered = [one for played in scripts.values() for one in played.answered]
    stored, expected = Counter(collector.stored()), Counter(name for one in answered for name in one.stored)
    for name in stored - expected:
        figures.add(name, "smuggled" if name.startswith((SMUGGLED, AFTER)) else "stored without an answer", name)
    for name in expected - stored:
        figures.add(name, "answered and not stored", name)
    counted = await asyncio.to_thread(collector.outcomes) - before
    if whole and counted != Counter(one.outcome for one in answered if one.outcome):
        figures.add(f"round of {first}", "miscounted", str(counted - Counter(one.outcome for one in answered)))


def main() -> int:
    """Plays, prints tables; 0 where everything was as the model says."""
    parser = argparse.ArgumentParser(prog="python -m faults.http_model", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000, help="requests that are answered")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--script", type=int, help="play this one alone, and show it")
    parser.add_argument("--out", type=Path, help="folder for the figures as CSV")
    options = parser.parse_args()
    console = Console(width=120)
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="unjoin-model-") as folder, model_collector(Path(folder)) as collector:
        if options.script is not None:
            return _show(collector, script_of(options.seed, options.script), console)
        rounds, began = 0, time.monotonic()
        memory = []
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            while figures.requests < options.cases:
                runner.run(play_round(collector, options.seed, rounds * ROUND_SCRIPTS, figures))
                rounds += 1
                memory.append(collector.memory_bytes)
        seconds = time.monotonic() - began
        _print(console, figures, memory, collector, seconds)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        rows = [
            {"kind": kind, "status": status, "count": count}
            for (kind, status), count in sorted(figures.answers.items())
        ]
        write_csv(options.out / "http_model.csv", rows)
    return 1 if figures.broken else 0


def _show(collector: ModelCollector, played: Script, console: Console) -> int:
    console.print(repr(played), markup=False, highlight=False)
    try:
        asyncio.run(run_script("127.0.0.1", collector.port, played))
    except Broken as broken:
        console.print(str(broken), markup=False)
        return 1
    console.print("as the model says; stored:", collector.stored())
    return 0


def _print(console: Console, figures: Figures, memory: list[int], collector: ModelCollector, seconds: float) -> None:
    table = Table("kind", "status", "answers")
    for (kind, status), count in sorted(figures.answers.items()):
        table.add_row(kind, str(status), f"{count:,}")
    console.print(table)
    unexpected: dict[str, Any] = {
        "requests answered": f"{figures.requests:,} in {seconds:,.0f} s",
        "5xx but the 501 of a transfer coding": sum(
            count for kind, count in figures.broken.items() if kind.startswith("5")
        ),
        "hangs": figures.broken["hang"],
        "resets": figures.broken["reset"],
        "smuggled": figures.broken["smuggled"] + figures.broken["surplus"],
        "all that was not as the model says": sum(figures.broken.values()),
        "RSS after a thousand scripts, after each fifth, MB": ", ".join(
            f"{memory[part * (len(memory) - 1) // 5] / 1e6:.1f}" for part in range(6)
        ),
        "files open at the end": collector.files,
        "bytes of log": collector.log.stat().st_size,
    }
    for name, value in unexpected.items():
        console.print(f"{name}: {value}", highlight=False)
    for kind, count in figures.broken.items():
        console.print(f"{kind}: {count}", highlight=False, markup=False)
    for text in figures.texts:
        console.print(text, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
