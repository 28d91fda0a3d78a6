"""The command: `python -m bench.memory --minutes 60`; against an `unjoin up` of its own, on free ports.

Steady load at `--rate`; every ten seconds RSS and PSS of every process, by role. The first minutes (`--warm-up`) are
left out: caches fill, pools grow, code is compiled. `--census` has the collector say what it holds, after them and at
the end, and tables what grew. `--clock 4` has the clocks of everything but Kafka run four times as fast, so that what
grows with time shows sooner; minutes and rates are of those clocks. 0 where every process lived through it and none is
sure to grow by more than `--limit` MiB an hour, that is, where no interval lies above it.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.memory.grown import census_environment, take_census, tell_growth
from testkit.figures import drawn, thinned, write_csv
from testkit.running_stack import RunningStack
from testkit.slope import Slope, slope_of
from unjoin.settings import settings_of

SAMPLE_SECONDS = 10.0
MIB = 1024 * 1024
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
ROLES = {"up": "up", "collect": "collector", "process": "processor", "sink": "sink"}


class Sample(msgspec.Struct, frozen=True):
    """One process at one time.

    Attributes:
        hours: since the first sample.
        rss, pss: bytes; PSS counts a page that processes share once for all of them.
    """

    role: str
    pid: int
    hours: float
    rss: int
    pss: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="all of it, warm-up included")
    parser.add_argument("--warm-up", type=float, metavar="MINUTES", help="default a sixth of it, at least one")
    parser.add_argument("--rate", type=int, default=1_000, help="events a second")
    parser.add_argument("--limit", type=float, default=10.0, help="MiB an hour that no process may surely exceed")
    parser.add_argument("--out", type=Path, default=Path("memory"), help="folder of the tables and the plot")
    parser.add_argument("--census", action="store_true", help="tell what the collector holds at both ends")
    parser.add_argument("--clock", type=float, default=1.0, help="how many times as fast clocks run")
    options = parser.parse_args()
    if options.clock != 1 and not FAKETIME.exists():
        parser.error(f"--clock needs {FAKETIME}: apt install libfaketime")
    options.warm_up = options.warm_up or max(1.0, options.minutes / 6)
    with tempfile.TemporaryDirectory(prefix="unjoin-memory-") as folder:
        lines = Path(folder) / "census.jsonl"
        stack = RunningStack(settings_of().kafka_home, Path(folder))
        if options.census:
            stack.environment |= census_environment(lines)
        if options.clock != 1:
            stack.environment |= kafka_keeps_its_clock(stack.data_dir, stack.environment["PATH"])
        stack.environment |= clock_environment(options.clock, options.minutes)
        stack.start()
        try:
            samples, accepted = sampled(stack, lines, options, Console(stderr=True))
        finally:
            code = stack.stop()
        console = Console(width=130)
        if options.census:
            tell_growth(lines, options.out, console)
    return conclude(samples, accepted, options, code, console)


def sampled(
    stack: RunningStack, lines: Path, options: argparse.Namespace, console: Console
) -> tuple[list[Sample], int]:
    """Every process every ten seconds under load; and how many events were accepted."""
    seconds = 60 * options.minutes
    summary = stack.data_dir / "simulated.json"
    events = int(options.rate * (seconds + 30))  # more than are needed: it is stopped when time is up
    command = [*stack.python, "simulate", "--url", stack.http, "--rate", str(options.rate), "--events", str(events)]
    samples: list[Sample] = []
    with (
        (stack.data_dir / "simulate.log").open("w") as log,
        Progress(console=console, transient=True) as progress,
    ):

        def loaded() -> "subprocess.Popen[bytes]":
            clock = clock_environment(options.clock, options.minutes - elapsed() / 60)
            return subprocess.Popen(
                [*command, "--summary", str(summary)], env=stack.environment | clock, stdout=log, stderr=log
            )

        task = progress.add_task("steady load", total=seconds)
        began = time.monotonic()

        def elapsed() -> float:
            return options.clock * (time.monotonic() - began)

        load = loaded()
        turn = 0
        try:
            while (now := elapsed()) < seconds:
                if load.poll() is not None:  # after an hour at the latest
                    console.print(f"the load began again after {now / 60:.0f} minutes")
                    load = loaded()
                if options.census and not lines.read_bytes() and now > 60 * options.warm_up:
                    take_census(processes_of(stack.pid)["collector"], lines)
                for role, pid in processes_of(stack.pid).items():
                    rss, pss = memory_of(pid)
                    samples.append(Sample(role, pid, now / 3_600, rss, pss))
                progress.update(task, completed=now)
                turn += 1
                time.sleep(max(0.0, began + turn * SAMPLE_SECONDS / options.clock - time.monotonic()))
            if options.census:
                take_census(processes_of(stack.pid)["collector"], lines)
        finally:
            load.terminate()
            load.wait(60)
    return samples, stack.count("SELECT count() FROM signals")


def clock_environment(times: float, minutes: float) -> dict[str, str]:
    """The environment of a process whose clocks run so many times as fast, and are right after so many of its minutes.

    It begins in the past: Kafka, whose clock stays, refuses records of a time to come.
    """
    if times == 1:
        return {}
    past = 60 * (minutes - minutes / times)
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"-{past:.0f} x{times:g}"}


def kafka_keeps_its_clock(folder: Path, path: str) -> dict[str, str]:
    """The environment in which Java starts without libfaketime, which it does not bear."""
    java = folder / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nPATH={shlex.quote(path)} exec java "$@"\n')
    java.chmod(0o755)
    return {"PATH": f"{java.parent}:{path}"}


def processes_of(pid: int) -> dict[str, int]:
    """The stack's processes by role; several of one role would be a leftover, and the newest counts."""
    found = {"up": pid}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        if words[0].endswith("java"):
            found["kafka"] = int(child)
        elif "unjoin" in words:
            found[ROLES[words[words.index("unjoin") + 1]]] = int(child)
    return found


def memory_of(pid: int) -> tuple[int, int]:
    """RSS and PSS in bytes."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        sizes[name] = int(value.split()[0]) * 1_024
    return sizes["Rss"], sizes["Pss"]


def conclude(samples: list[Sample], stored: int, options: argparse.Namespace, code: int, console: Console) -> int:
    """The table, the files and the verdict."""
    roles = list(dict.fromkeys(sample.role for sample in samples))
    kept = {role: [s for s in samples if s.role == role and 60 * s.hours >= options.warm_up] for role in roles}
    restarted = [role for role in roles if len({s.pid for s in samples if s.role == role}) > 1]
    slopes = {
        measure: {role: slope_of([s.hours for s in kept[role]], [getattr(s, measure) / MIB for s in kept[role]])
                  for role in roles}
        for measure in ("rss", "pss")
    }  # fmt: skip
    table = Table("process", "MiB at the end", "RSS: MiB/h (95 %)", "PSS: MiB/h (95 %)", "correlation", "samples")
    for role in roles:
        rss, pss = slopes["rss"][role], slopes["pss"][role]
        last = kept[role][-1]
        table.add_row(
            role, f"{last.rss / MIB:,.1f}", words(rss), words(pss), f"{rss.correlation:.2f}", str(rss.samples)
        )
    console.print(table)
    console.print(
        f"{options.minutes:g} minutes at {options.rate:,} events/s, {stored:,} signals stored; the first"
        f" {options.warm_up:g} minutes are left out. Least squares; intervals after Newey and West (Bartlett kernel,"
        " bandwidth after Andrews, critical values after Kiefer and Vogelsang)."
        + (f" Started again: {', '.join(restarted)}." if restarted else ""),
        highlight=False,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    write_csv(options.out / "memory.csv", [row_of(role, kept[role][-1], slopes) for role in roles])
    write_csv(options.out / "memory-samples.csv", [msgspec.to_builtins(sample) for sample in samples])
    draw(samples, slopes["rss"], options.warm_up, options.out / "memory.svg")
    grows = [role for role in roles if slopes["rss"][role].low > options.limit]
    for role in grows:
        console.print(f"{role} grows by more than {options.limit:g} MiB an hour", style="red")
    return 1 if grows or restarted or code else 0


def words(slope: Slope) -> str:
    return f"{slope.value:+,.2f} ({slope.low:+,.2f} to {slope.high:+,.2f})"


def row_of(role: str, last: Sample, slopes: Mapping[str, Mapping[str, Slope]]) -> dict[str, object]:
    """A process as a line of memory.csv; slopes in MiB an hour, with the bounds of their 95 % intervals."""
    row: dict[str, object] = {"process": role, "rss_mib": round(last.rss / MIB, 1), "pss_mib": round(last.pss / MIB, 1)}
    for measure, of_role in slopes.items():
        slope = of_role[role]
        row |= {
            f"{measure}_slope": round(slope.value, 3),
            f"{measure}_low": round(slope.low, 3),
            f"{measure}_high": round(slope.high, 3),
            f"{measure}_correlation": round(slope.correlation, 3),
        }
    return row | {"samples": slopes["rss"][role].samples}


def draw(samples: list[Sample], slopes: Mapping[str, Slope], warm_up_minutes: float, path: Path) -> None:
    """A panel a process: samples, the fitted line, and what was left out."""
    with drawn(path, len(slopes), size=(8, 1.7 * len(slopes)), sharex=True) as (_, panels):
        for panel, (role, slope) in zip(panels, slopes.items(), strict=True):
            points = [(60 * s.hours, s.rss / MIB) for s in samples if s.role == role]
            kept = [(minute, size) for minute, size in points if minute >= warm_up_minutes]
            middle_x, middle_y = (sum(column) / len(kept) for column in zip(*kept, strict=True))
            panel.plot(*zip(*thinned(points), strict=True), linewidth=1, color="#30638e")
            ends = [kept[0][0], kept[-1][0]]
            panel.plot(ends, [middle_y + slope.value / 60 * (x - middle_x) for x in ends], color="#d1495b")
            panel.axvspan(0, warm_up_minutes, color="0.93")
            panel.set_title(f"{role}: {words(slope)} MiB/h", fontsize=9, loc="left")
            panel.set_ylabel("MiB", fontsize=8)
        panels[-1].set_xlabel("minutes; grey: left out")


if __name__ == "__main__":
    sys.exit(main())
