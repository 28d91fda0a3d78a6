"""`python -m faults.outage`: Kafka or ClickHouse away under load, and every event accounted for afterwards.

A broker of its own and `unjoin collect` in front of it. Clients post all the time, each a session, one request after
the other; the broker is killed, or paused with its connections open, and comes back. Figures are of the requests that
were answered in each phase. `--part clickhouse` is `clickhouse_outage.py`.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from faults import clickhouse_outage
from testkit.collect_process import Collect, Load, ids_on
from testkit.kafka_node import KafkaNode, kafka_home, node_with_topics

ROOT = Path(__file__).parents[1]
ANSWER_SECONDS_MAX = 2.0
SETTLE_SECONDS = 3.0
LOOK_SECONDS = 10.0


class Phases:
    """A table of what clients saw, phase by phase."""

    def __init__(self, load: Load, collect: Collect) -> None:
        self.table = Table(
            "phase", "s", "requests", "not 200", "events/s", "p50 ms", "p99 ms", "max ms", "spool MB", "RSS MB"
        )
        self._load = load
        self._collect = collect
        self._begin()

    def end(self, name: str) -> None:
        """Ends a phase and begins the next one."""
        took = time.monotonic() - self._began
        seconds = sorted(self._load.seconds[self._requests :])
        refused = sum(count for status, count in self._load.statuses.items() if status != 200) - self._refused
        events = len(self._load.accepted) - self._accepted
        self.table.add_row(
            name,
            f"{took:.0f}",
            f"{len(seconds):,}",
            f"{refused:,}",
            f"{events / took:,.0f}",
            *(
                f"{1_000 * seconds[int(share * (len(seconds) - 1))]:,.0f}" if seconds else ""
                for share in (0.5, 0.99, 1.0)
            ),
            f"{self._collect.metric('unjoin_spool_bytes') / 1e6:,.1f}",
            f"{self._collect.memory_bytes / 1e6:,.0f}",
        )
        self._begin()

    def _begin(self) -> None:
        load = self._load
        self._began = time.monotonic()
        self._requests = len(load.seconds)
        self._accepted = len(load.accepted)
        self._refused = sum(count for status, count in load.statuses.items() if status != 200)


def main() -> int:
    """Runs it; 1 where a request took too long, was refused, or an event is missing."""
    parser = argparse.ArgumentParser(prog="python -m faults.outage", description=__doc__)
    parser.add_argument("--part", choices=("kafka", "clickhouse"), default="kafka")
    parser.add_argument("--away", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--fault", choices=("kill", "pause"), default="kill")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--events", type=int, default=20, help="of a batch")
    parser.add_argument("--pause-ms", type=float, default=20.0, help="of a client between two requests")
    parser.add_argument("--rate", type=int, default=2_000, help="records a second, with --part clickhouse")
    parser.add_argument("--spool-bytes-max", type=int, default=4_294_967_296)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unjoin-outage-") as folder:
        play = run if arguments.part == "kafka" else clickhouse_outage.run
        return play(arguments, Path(folder), Console(width=140))


def run(arguments: argparse.Namespace, folder: Path, console: Console) -> int:
    """One outage."""
    with node_with_topics(kafka_home(), folder / "kafka", killable=True) as node:
        collect = Collect(folder / "data", node.bootstrap, UNJOIN_SPOOL_BYTES_MAX=str(arguments.spool_bytes_max))
        try:
            collect.start()
            with Load(collect, arguments.clients, arguments.events, arguments.pause_ms / 1_000) as load:
                phases = Phases(load, collect)
                time.sleep(SETTLE_SECONDS)
                phases.end("Kafka there")
                drained = outage(arguments, node, collect, phases)
                time.sleep(SETTLE_SECONDS)
                phases.end("afterwards")
            console.print(phases.table)
            console.print(f"drained {drained:.1f} s after the broker answered")
            found = ids_on(node.bootstrap)
            code, seconds = collect.stop()
        finally:
            collect.stop()
    lost = len(set(load.accepted) - found.keys())
    twice = Counter(found.values())
    console.print(
        f"accepted {len(load.accepted):,}, missing {lost:,}, on their topic twice {twice[2]:,}, more often"
        f" {sum(events for times, events in twice.items() if times > 2):,}; slowest answer {max(load.seconds):.2f} s;"
        f" statuses {dict(load.statuses)}; stopped in {seconds:.1f} s with {code}"
    )
    good = not lost and load.statuses.keys() == {200} and max(load.seconds) < ANSWER_SECONDS_MAX and code == 0
    return 0 if good else 1


def outage(arguments: argparse.Namespace, node: KafkaNode, collect: Collect, phases: Phases) -> float:
    """Takes Kafka away and brings it back; gives the seconds until the spool was empty again."""
    node.kill() if arguments.fault == "kill" else node.pause()
    until = time.monotonic() + arguments.away
    while time.monotonic() < until:
        time.sleep(max(0.0, min(LOOK_SECONDS, until - time.monotonic())))
    phases.end("away")
    node.start() if arguments.fault == "kill" else node.resume()
    phases.end("coming back")
    began = time.monotonic()
    while collect.metric("unjoin_spool_records"):
        time.sleep(0.1)
    phases.end("draining")
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
