"""The command: `python -m bench.processor`.

Labels lie on the topic before a contender starts; counted is from a tenth of them to the last, by the broker's own
count, and the CPU of its processes in that time. Contenders take turns, each on topics of its own. quixstreams wants
older clients than the project's, so `scripts/setup bench` makes it an environment; without one it is left out.
"""

import argparse
import datetime
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.collector.contenders import ROOT, family
from bench.processor.peers.work import epoch_key
from bench.processor.steady import AT_ONCE, WARM_SECONDS, Arrivals, Poster, Steady, steady_table, waits_ms
from schemas.codec import encode
from schemas.seal import Sealer, place_of, public_key_of
from testkit.kafka_node import QUIET, KafkaNode, create_topic, kafka_home
from testkit.lists import words
from testkit.machine import machine, spread
from testkit.processes import cpu_seconds, wait_for
from testkit.seals import sealed_record_value

SECONDS_MAX = 300.0
QUIX = ROOT / ".peers" / "quix" / "bin" / "python"
SESSION_LABELS = 20
ANSWERS = (
    "beagle",
    "pug",
    "a black poodle",
    "I cannot tell",
    "two dogs, one of them a beagle",
    "mail me: a@example.com",
)


class Round(msgspec.Struct, frozen=True):
    """One contender's way through the topic.

    Attributes:
        labels: of the measured part; released_in_all of the whole.
        seconds, cpu_seconds: of the measured part, of all its processes.
    """

    contender: str
    workers: int
    labels: int
    released_in_all: int
    seconds: float
    cpu_seconds: float


class Run:
    """One broker, and topics of a round's own."""

    def __init__(self, options: argparse.Namespace, node: KafkaNode, folder: Path) -> None:
        self.options, self.node, self.folder = options, node, folder
        self.values = labels(options.labels, options.seed)
        self.rounds: list[Round] = []
        self.steady: list[Steady] = []

    def round(self, name: str, command: list[str], workers: int, crowd_min: int) -> None:
        """Starts `workers` processes and waits for every label that can leave."""
        options, bootstrap = self.options, self.node.bootstrap
        labeled = create_topic(bootstrap, options.partitions, message_timestamp_type="LogAppendTime")
        out = create_topic(bootstrap, 2)
        self._fill(labeled)
        processes = self._started(command, workers, labeled, out, crowd_min)
        try:
            self.rounds.append(self._watched(name, workers, processes, out, crowd_min))
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)

    def at_rate(self, command: list[str], rate: float, crowd_min: int) -> None:
        """Starts a door, posts labels steadily once it releases, and counts what it spends meanwhile."""
        bootstrap, seconds = self.node.bootstrap, self.options.seconds
        labeled = create_topic(bootstrap, 1, message_timestamp_type="LogAppendTime")
        out = create_topic(bootstrap, 1)
        count = AT_ONCE + int(rate * (WARM_SECONDS + seconds + 1.0))
        poster = Poster(bootstrap, labeled, [value for _, value in self._sealed(labeled, 1, count)])
        arrivals = Arrivals(bootstrap, out)
        (process,) = self._started(command, 1, labeled, out, crowd_min)
        try:
            poster.post_at_once(AT_ONCE)
            wait_for(lambda: len(arrivals.seen_s) > 0, "nothing is released", SECONDS_MAX, [process])
            poster.start(rate)
            time.sleep(WARM_SECONDS)
            first, began, before = len(poster.posted_s), time.monotonic(), cpu_seconds(process.pid)
            time.sleep(seconds)
            end, ended, after = len(poster.posted_s), time.monotonic(), cpu_seconds(process.pid)
            poster.stop()
            waits = None
            if crowd_min < 2 and end > first:
                wait_for(lambda: len(arrivals.seen_s) >= end, "not all were released", SECONDS_MAX, [process])
                waits = waits_ms(poster.posted_s, arrivals.seen_s, first, end)
        finally:
            poster.stop()
            arrivals.stop()
            process.terminate()
            process.wait(60)
        self.steady.append(Steady(rate, crowd_min, end - first, ended - began, after - before, waits))

    def _started(
        self, command: list[str], workers: int, labeled: str, out: str, crowd_min: int
    ) -> "list[subprocess.Popen[bytes]]":
        bootstrap = self.node.bootstrap
        config = {
            "bootstrap": bootstrap, "group_id": f"bench-{labeled}", "labeled_topic": labeled, "released_topic": out,
            "verdict_topic": create_topic(bootstrap, 1), "dead_letter_topic": create_topic(bootstrap, 1),
            "crowd_min": crowd_min,
        }  # fmt: skip
        processes = []
        for number in range(workers):
            state = self.folder / f"{labeled}-{number}"
            state.mkdir()
            given = json.dumps({**config, "data_dir": str(state)})
            # The broker creates no topics by itself, and libraries talk: what they say is no figure.
            processes.append(subprocess.Popen([*command, given], cwd=ROOT, stdout=subprocess.DEVNULL))
        return processes

    def _fill(self, topic: str) -> None:
        producer = Producer({"bootstrap.servers": self.node.bootstrap, "linger.ms": 5, **QUIET})
        for number, (partition, value) in enumerate(self._sealed(topic, self.options.partitions, len(self.values))):
            producer.produce(topic, value=value, partition=partition)
            if number % 1_000 == 0:
                producer.poll(0)
                while len(producer) > 50_000:
                    producer.poll(0.01)
        assert producer.flush(60) == 0

    def _sealed(self, topic: str, partitions: int, count: int) -> Iterator[tuple[int, bytes]]:
        """Partition and value of each record, `count` of them; it goes round where there are more than labels."""
        sealers: dict[datetime.date, Sealer] = {}
        for datum in itertools.islice(itertools.cycle(self.values), count):
            day, partition = datum["day"], datum["voter"][0] % partitions
            sealer = sealers.setdefault(day, Sealer(day, public_key_of(epoch_key(day)), time.monotonic))
            content = encode("events.labeled.content-value", datum)
            yield partition, sealed_record_value(sealer.seal(content, place_of(topic, partition)))

    def _watched(
        self, name: str, workers: int, processes: list["subprocess.Popen[bytes]"], out: str, crowd_min: int
    ) -> Round:
        reader = Consumer({"bootstrap.servers": self.node.bootstrap, "group.id": "bench", **QUIET})

        def released() -> int:
            return sum(reader.get_watermark_offsets(TopicPartition(out, p), timeout=10)[1] for p in range(2))

        def cpu() -> float:
            return sum(cpu_seconds(pid, children=True) for process in processes for pid in family(process.pid))

        try:
            total = len(self.values)
            wait_for(lambda: released() > 0, f"{name} is not done", SECONDS_MAX, processes)
            # A tenth is for warming up, and, with several workers, for the rebalance.
            wait_for(lambda: released() > total / 10, f"{name} is not done", SECONDS_MAX, processes)
            first, began, before = released(), time.monotonic(), cpu()
            # With crowds the last one never completes: what it holds stays.
            wanted = total if crowd_min < 2 else 0.97 * total
            wait_for(lambda: released() >= wanted, f"{name} is not done", SECONDS_MAX, processes)
            last, ended, after = released(), time.monotonic(), cpu()
        finally:
            reader.close()
        return Round(name, workers, last - first, last, ended - began, after - before)


def labels(count: int, seed: int) -> list[dict[str, Any]]:
    """Datums of labels of many sessions, each of which answers twenty tasks, all mixed up."""
    rng = random.Random(seed)
    day = datetime.datetime.now(datetime.UTC).date()
    made = []
    for _ in range(-(-count // SESSION_LABELS)):
        voter = rng.randbytes(32)
        for _ in range(SESSION_LABELS):
            act = {"kind": "image_label", "task": f"dogs-{rng.randrange(50_000)}", "answer": rng.choice(ANSWERS)}
            made.append({"voter": voter, "day": day, "act": ("unjoin.Answer", act)})
    # Neighbours within a few sessions, as sessions overlap in time.
    window = SESSION_LABELS * 50
    for start in range(0, len(made), window):
        part = made[start : start + window]
        rng.shuffle(part)
        made[start : start + window] = part
    return made[:count]


def main() -> int:
    """Measures, prints, writes JSON where told."""
    parser = argparse.ArgumentParser(prog="python -m bench.processor", description=__doc__)
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quix", type=Path, default=QUIX, help="python of an environment with quixstreams")
    parser.add_argument(
        "--rates", type=words, default=[], help="labels a second that come steadily, 0 for none: no peers"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="at each rate")
    parser.add_argument("--out", type=Path, help="folder for processor.json")
    options = parser.parse_args()
    console = Console(width=130)
    here = [sys.executable, "-m", "bench.processor.peers.{}"]
    cases = [
        ("unjoin, crowds of 20", [part.format("door") for part in here], 1, 20),
        ("unjoin, no crowds", [part.format("door") for part in here], 1, 1),
        ("unjoin, no crowds", [part.format("door") for part in here], 2, 1),
        ("aiokafka loop", [part.format("plain") for part in here], 1, 1),
    ]
    if options.quix.exists():
        cases.append(("quixstreams", [str(options.quix), "-m", "bench.processor.peers.quix"], 1, 1))
    else:
        console.print(f"not measured: quixstreams; {options.quix} is missing, `scripts/setup bench` makes it")
    said = machine("aiokafka", "faust-streaming", "fastavro")
    steady = [(cases[0][1], rate, crowd) for rate in map(float, options.rates) for crowd in (20, 1)]
    with tempfile.TemporaryDirectory(prefix="unjoin-bench-") as name, Progress(console=console) as progress:
        folder = Path(name)
        (folder / "kafka").mkdir()
        node = KafkaNode(kafka_home(), folder / "kafka")
        node.start()
        try:
            run = Run(options, node, folder)
            task = progress.add_task("rounds", total=options.rounds * len(steady or cases))
            for number in range(options.rounds):
                for at in steady:
                    run.at_rate(*at)
                    progress.advance(task)
                if steady:
                    continue
                for case in [*cases[number % len(cases) :], *cases[: number % len(cases)]]:
                    run.round(*case)
                    progress.advance(task)
        finally:
            node.stop()
    console.print(" · ".join(f"{name} {value}" for name, value in said.items()), highlight=False)
    console.print(steady_table(run.steady) if steady else table(run.rounds))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        document = {"machine": said, "rounds": run.rounds, "steady": run.steady}
        (options.out / "processor.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
        )
    return 0


def table(rounds: list[Round]) -> Table:
    """CPU first: the wall's clock shares the machine with the broker."""
    made = Table("contender", "workers", "CPU µs a label", "labels/s", "released", title="The door's work")
    for name, workers in dict.fromkeys((r.contender, r.workers) for r in rounds):
        mine = [r for r in rounds if (r.contender, r.workers) == (name, workers)]
        us = spread([1e6 * r.cpu_seconds / r.labels for r in mine])
        rate = spread([r.labels / r.seconds for r in mine])
        made.add_row(name, str(workers), str(us), str(rate), f"{mine[0].released_in_all:,}")
    return made


if __name__ == "__main__":
    sys.exit(main())
