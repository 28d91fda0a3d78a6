"""`python -m faults.proxies`: hostile requests through stock proxies, and whose answers the honest clients get.

A proxy keeps few connections to the collector and sends everybody's requests on them. If collector and proxy disagree
where a request ends, the next client on that connection is answered with somebody else's answer. Each honest client
checks that each answer is its own; what the hostile ones hide in bodies must not be stored.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from faults.http_model.grammar import SMUGGLED
from faults.http_model.running import model_collector
from faults.proxies.running import PROXIES, program_of, running_proxy
from faults.proxies.traffic import Outcome, run_traffic
from testkit.figures import write_csv


def measured(name: str, scripts: int, seed: int) -> tuple[Outcome, list[str]]:
    """What came of the traffic through one proxy, and the smuggled events."""
    with (
        tempfile.TemporaryDirectory(prefix="unjoin-proxy-") as folder,
        model_collector(Path(folder)) as collector,
        running_proxy(name, Path(folder), collector.port) as port,
    ):
        outcome = asyncio.run(run_traffic(port, scripts, seed))
        return outcome, [event for event in collector.stored() if event.startswith(SMUGGLED)]


def main() -> int:
    """Runs every proxy that is installed, prints a table; 0 where all answers were for who got them."""
    parser = argparse.ArgumentParser(prog="python -m faults.proxies", description=__doc__)
    parser.add_argument("--scripts", type=int, default=5_000, help="hostile connections, through each proxy")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=PROXIES)
    parser.add_argument("--out", type=Path, help="folder for the figures as CSV")
    options = parser.parse_args()
    console = Console(width=120)
    rows = []
    for name in [options.only] if options.only else PROXIES:
        if program_of(name) is None:
            console.print(f"{name} is not installed: skipped", highlight=False)
            continue
        outcome, smuggled = measured(name, options.scripts, options.seed)
        for text in [*outcome.texts[:5], *smuggled[:5]]:
            console.print(text, highlight=False, markup=False)
        others = ", ".join(f"{status}: {count}" for status, count in sorted(outcome.statuses.items()))
        rows.append({
            "proxy": name, "hostile connections": outcome.hostile, "honest answers": outcome.answers,
            "of another": outcome.foreign, "smuggled": len(smuggled), "not 200": others, "lost": outcome.lost,
        })  # fmt: skip
    table = Table(*(rows[0] if rows else ["nothing ran"]))
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row.values()))
    console.print(table)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_csv(options.out / "proxies.csv", rows)
    return int(any(row["of another"] or row["smuggled"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
