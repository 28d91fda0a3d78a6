"""The edge's protocol from a request to the log: what was answered with 200 is there, whatever died in between."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ingest.encode.records import Record
from ingest.spool.packs import Entry
from schemas.topics import LABELED, SIGNALS
from tests.simulation.broker import Broker, check
from tests.simulation.clock import Universe
from tests.simulation.disk import NOW_MS, Disk
from tests.simulation.edge_processes import ANSWER_SECONDS_MAX, EdgeProcess
from tests.simulation.processes import Chaos, Supervisor, broker_away

LABEL_LIFE_MS = 180_000
REST_SECONDS_MAX = 1_000.0
SHARED = Path("/dev/shm")


class EdgeLedger:
    """Every request and its answer against the logs."""

    def __init__(self, broker: Broker, spool_kills: float) -> None:
        self._broker = broker
        self.spool_kills = spool_kills
        self.acknowledged: set[bytes] = set()
        self.sent: dict[bytes, str] = {}
        self.stored: Counter[bytes] = Counter()
        self._read: Counter[tuple[str, int]] = Counter()

    def look(self) -> None:
        """Reads what the logs got since the last look."""
        for topic in (SIGNALS, LABELED):
            for log in self._broker.topics[topic]:
                for record in log.records[self._read[topic, log.partition] :]:
                    assert record.value is not None
                    check(self.sent.get(record.value) == topic, "a record that nobody sent, or on another topic")
                    self.stored[record.value] += 1
                self._read[topic, log.partition] = len(log.records)

    def check_deleted(self, entries: Sequence[Entry]) -> None:
        """Nothing leaves the spool before it is on its topic."""
        self.look()
        for entry in entries:
            for record in entry.records:
                check(self.stored[record.value] > 0, "deleted from the spool before it was acknowledged")

    def missing(self) -> set[bytes]:
        """Acknowledged, and not on their topic."""
        self.look()
        return {value for value in self.acknowledged if not self.stored[value]}


class EdgeWorld:
    """One run."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        random = universe.random
        self.broker = broker = Broker(universe)
        universe.broker = broker  # type: ignore[attr-defined]
        broker.create_topic(SIGNALS, random.choice([1, 2, 3]))
        broker.create_topic(LABELED, 1)
        broker.lossy = random.choice([0.0, 0.01, 0.05])
        self.root = Path(tempfile.mkdtemp(prefix="unjoin-simulation-", dir=SHARED if SHARED.is_dir() else None))
        self.ledger = EdgeLedger(broker, random.choice([0.0, 0.02, 0.2]))
        self.disk = Disk(universe, self.root)
        self.chaos_s = random.uniform(2, 60)
        self.number = 0
        self.edge = Supervisor(universe, self._edge)
        self.edge.on_death = lambda process: process.died()  # type: ignore[assignment,attr-defined]
        self._post()
        blows = [
            (2.0, self.edge.hurt),
            (2.0, partial(broker_away, universe, self.broker, (0.3, 3.0, 10.0, 50.0, 250.0))),
            (0.5, self._disk_fails),
            (0.5, self._broker_refuses),
        ]
        Chaos(universe, blows, random.choice([1.0, 4.0, 15.0]), self.chaos_s).begin()

    def run(self) -> None:
        """Until everything rests; raises Violation."""
        universe = self.universe
        try:
            at_rest = universe.come_to_rest(self.chaos_s, self._at_rest, REST_SECONDS_MAX)
            check(not self.edge.crashes, "a process crashed:", self.edge.crashes[:1])
            check(not universe.bugs(), "nobody caught:", universe.bugs()[:1])
            check(at_rest, "no rest:", len(self.ledger.missing()), "acknowledged events are not on their topics")
            self._check_at_rest()
        finally:
            self.disk.close()

    def _edge(self) -> EdgeProcess:
        return EdgeProcess(self.universe, self.disk, self.ledger, (SIGNALS, LABELED), {LABELED: LABEL_LIFE_MS})

    def _post(self) -> None:
        """A request now, and more later."""
        random, universe = self.universe.random, self.universe
        if universe.now >= self.chaos_s:
            return
        edge: Any = self.edge.process
        if edge is not None and self.edge.running and edge.ready:
            records = [self._record() for _ in range(random.choice([1, 1, 3, 20]))]
            self._send(edge, records, 0)
        universe.later(random.expovariate(4.0), self._post)

    def _record(self) -> Record:
        self.number += 1
        random = self.universe.random
        topic = LABELED if random.random() < 0.3 else SIGNALS
        value = b"%d %s%s" % (self.number, b"large " if random.random() < 0.01 else b"", b"." * random.choice([1, 300]))
        self.ledger.sent[value] = topic
        stamp = NOW_MS + int(self.universe.now * 1_000)
        if topic == LABELED:
            return Record(topic, None, value, stamp, 0)
        return Record(topic, b"session-%d" % random.randrange(5), value, stamp)

    def _send(self, edge: Any, records: list[Record], again: int) -> None:
        loop, universe = edge.loop, self.universe
        began_paused = loop.paused_until

        def answered(durable: bool, seconds: float) -> None:
            paused = loop.paused_until != began_paused or loop.paused_until > universe.now - ANSWER_SECONDS_MAX
            check(seconds < ANSWER_SECONDS_MAX or paused, f"a request was answered after {seconds:.2f} s")
            if durable:
                self.ledger.acknowledged.update(record.value for record in records)
            elif again < 2 and self.edge.running and self.edge.process is edge and edge.ready:
                universe.later(universe.random.uniform(0.1, 3), self._send, edge, records, again + 1)

        if loop.alive and edge.ready:
            edge.post(records, answered)

    def _at_rest(self) -> bool:
        edge: Any = self.edge.process
        if not self.edge.running or not edge.ready or edge.spool.counts.waiting or not edge.spool.works:
            return False
        return not self.ledger.missing() or bool(edge.spool.counts.expired)

    def _check_at_rest(self) -> None:
        edge: Any = self.edge.process
        counts = edge.spool.counts
        missing = self.ledger.missing()
        check(all(self.ledger.sent[one] == LABELED for one in missing), "an event without a life of its own is lost")
        check(len(missing) <= counts.expired, f"{len(missing)} labels are lost, {counts.expired} expired in the spool")
        check(counts.set_aside == 0, "packs of the spool fail their checksum")

    def _broker_refuses(self) -> None:
        if self.universe.odds("broker refuses large records", 1.0):
            until = self.universe.now + self.universe.random.choice([1.0, 10.0])
            self.broker.refuses = lambda records: (  # type: ignore[method-assign]
                self.universe.now < until and any(b"large" in value for _, value, *_ in records)
            )

    def _disk_fails(self) -> None:
        if self.universe.odds("spool disk fails for a while", 1.0):
            self.disk.fails_until = self.universe.now + self.universe.random.choice([0.3, 3.0, 10.0])
