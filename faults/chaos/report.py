"""What a run found: a table for people, CSV with a line a round, a plot, and the page's table."""

import csv
import math
import re
import shutil
from collections import Counter
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from faults.chaos.plan import CLUSTER, SERVER
from faults.chaos.results import Row, Run, kills_end_to_end_p95, line_of, round_of, rows_of
from testkit.figures import drawn, write_csv

INK, DOT, MEDIAN = "#24292f", "#1d6fb8", "#c2410c"
COLUMNS = ("part", "fault", "rounds", "acknowledged", "stored", "lost", "doubled", "lost or doubled in at most")
TIMES = ("recovered, median s", "p95 s", "max s", "end to end, p95 s")
FILES = ("chaos.csv", "chaos-run.json", "chaos.svg")
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FINDINGS_SHOWN = 20
KILL_SECONDS_MAX = 30.0


def judge_kills(run: Run) -> None:
    """Notes a failure where what is sent after a kill takes too long to become visible."""
    found = kills_end_to_end_p95(run)
    if found is not None and found > KILL_SECONDS_MAX:
        run.failures.append(
            f"end to end within 60 s of a kill: p95 {found:.1f} s, {KILL_SECONDS_MAX:.0f} s are allowed"
        )


def print_run(run: Run, console: Console) -> None:
    """The table, what was wrong, and the verdict."""
    table = Table(title=f"chaos: seed {run.seed}, {len(run.rounds)} rounds, {run.rate:.0f} events/s")
    for name in (*COLUMNS, *TIMES):
        table.add_column(name, justify="left" if name in ("part", "fault") else "right")
    rows = rows_of(run)
    for row in rows:
        if row is rows[-1]:
            table.add_section()
        table.add_row(*_cells(row))
    console.print(table)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    for line in summary(run):
        say(line)
    for finding in run.findings[:FINDINGS_SHOWN]:
        where = ", ".join(f"{partition}-{offset}" for partition, offset in finding.positions) or "nowhere"
        say(f"{finding.what}: {finding.table}, first sent in round {finding.round}: {finding.detail}; at {where}")
    if len(run.findings) > FINDINGS_SHOWN:
        say(f"and {len(run.findings) - FINDINGS_SHOWN} more")
    for failure in run.failures:
        say(f"failed: {failure}")
    if run.merged_parts:
        say("failed: merges went on, so that doubles may be hidden")
    if not run.holds:
        say(f"replay one: python -m faults.chaos --seed {run.seed} --rounds {run.rounds_asked} --round NUMBER")
    console.print("[bold green]Nothing lost, nothing doubled." if run.holds else "[bold red]It does not hold.")


def summary(run: Run) -> list[str]:
    """What the table has no column for."""
    resent = sum(one.resent for one in run.rounds)
    inside = sum("inside" in one.note for one in run.rounds if one.part == "engine")
    aimed = sum(one.part == "engine" for one in run.rounds)
    second = f"; {run.server_rows:,} rows on the server" if run.server_rows else ""
    ended = ", ".join(f"{what} ({count})" for what, count in sorted(Counter(run.restarts).items()))
    return [
        f"{run.records:,} records on the topics, {run.physical_rows:,} physical rows, {run.merged_parts} merged parts"
        f"{second}",
        f"{resent:,} batches sent more than once; answers {dict(sorted(run.statuses.items()))}",
        *([f"engine: {inside} of {aimed} kills left a part half written"] if aimed else []),
        *([f"ended by themselves and were started again: {ended}"] if ended else []),
        f"a marker is in time within {', '.join(map(str, run.normal_seconds))} s (per scenario)",
        *(f"not run: {one}" for one in run.skipped),
        f"end to end within 60 s of a kill: p95 {kills_end_to_end_p95(run) or 0:.1f} s, bar {KILL_SECONDS_MAX:.0f} s",
        *(f"unjoin audit: {one}" for one in run.audits),
        f"{run.seconds / 60:.1f} min on {run.machine}",
    ]


def write_run(run: Run, folder: Path) -> None:
    """Writes chaos.csv, a line a round; chaos-run.json, what is not of one round; and chaos.svg."""
    write_csv(folder / "chaos.csv", [line_of(one) for one in run.rounds])
    whole = msgspec.structs.replace(run, rounds=[])
    (folder / "chaos-run.json").write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    draw(run, folder / "chaos.svg")


def read_run(folder: Path) -> Run:
    """What `write_run` wrote there."""
    run = msgspec.json.decode((folder / "chaos-run.json").read_bytes(), type=Run)
    with (folder / "chaos.csv").open(newline="") as file:
        return msgspec.structs.replace(run, rounds=[round_of(line) for line in csv.DictReader(file)])


def markdown(run: Run) -> str:
    """The page's table."""
    rows = [[cell or " " for cell in _cells(row)] for row in rows_of(run)]
    head = ["| " + " | ".join((*COLUMNS, *TIMES)) + " |", "|---|---|" + "---:|" * (len(COLUMNS) + len(TIMES) - 2)]
    lines = [*head, *("| " + " | ".join(cells) + " |" for cells in rows), "", *(f"- {one}" for one in summary(run))]
    return "\n".join(lines)


def publish(run: Run, folder: Path, docs: Path = DOCS) -> None:
    """Puts the table where `faults.md` has a place for it, and what `write_run` wrote to a folder with the figures."""
    own = [one.environment for one in run.rounds if one.environment in (SERVER, CLUSTER)]
    name = f"chaos-{own[0]}" if own else "chaos"
    generated = re.compile(rf"(<!-- {name}: generated[^>]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    for file in FILES:
        shutil.copyfile(folder / file, docs / "figures" / file.replace("chaos", name, 1))
    page = docs / "faults.md"
    text = page.read_text()
    failed = "".join(f"- failed: {one}\n" for one in run.failures)
    named = ", ".join(map(str, dict.fromkeys(one.seed for one in run.rounds)))
    said = f"Seed {named}; {len(run.rounds)} rounds.\n\n{markdown(run)}\n{failed}"
    page.write_text(generated.sub(lambda match: match[1] + said + match[2], text))


def draw(run: Run, file: Path) -> None:
    """Seconds to recover: a dot a round, a line a median, a fault and part a row."""
    rows = list(rows_of(run)[:-1])
    with drawn(file, size=(8, 0.26 * len(rows) + 1.2)) as (_, (axes,)):
        for place, row in enumerate(rows):
            times = [
                one.seconds_to_recover
                for one in run.rounds
                if (one.part, one.fault) == (row.part, row.fault) and one.seconds_to_recover is not None
            ]
            axes.scatter(times, [place] * len(times), color=DOT, s=14, alpha=0.6, linewidths=0)
            axes.plot([row.recover_median or 0.0] * 2, [place - 0.3, place + 0.3], color=MEDIAN, linewidth=2)
        axes.set_yticks(range(len(rows)), [f"{row.part}  {row.fault}" for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds to recover; a dot is a round, the line the median", color=INK)
        axes.tick_params(length=0, colors=INK)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)


def _cells(row: Row) -> list[str]:
    bound = "" if row.bound is None else f"{row.bound:.1%} of rounds"
    times = (row.recover_median, row.recover_p95, row.recover_max, row.end_to_end_p95)
    return [
        row.part,
        row.fault,
        f"{row.rounds:,}",
        f"{row.acknowledged:,}",
        f"{row.stored:,}",
        f"{row.lost:,}",
        f"{row.doubled:,}",
        bound,
        *("" if one is None else "not in time" if math.isinf(one) else f"{one:.1f}" for one in times),
    ]
