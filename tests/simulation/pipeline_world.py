"""The whole pipeline in one world: requests, edge, broker, door, sinks, engine; every part may die at any moment."""

import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from ingest.encode.records import Record
from schemas.codec import encode
from schemas.events import IdentifiedLabel
from schemas.topics import DEAD_LETTERS, DEIDENTIFIED, LABELED, LABELED_DEAD_LETTERS, SIGNALS, VERDICTS
from sinks.kafka.block_planner import BlockLimits
from sinks.rows import tables
from testkit.seals import CONTENT_SUBJECT, seals_of
from testkit.sink_configs import block_limits
from tests.simulation.broker import Broker, Stored, check
from tests.simulation.clock import Universe
from tests.simulation.disk import NOW_MS, Disk
from tests.simulation.door_process import DoorProcess, epoch_key_of
from tests.simulation.door_world import DAY, DoorLedger, rule_of
from tests.simulation.edge_processes import EdgeProcess
from tests.simulation.edge_world import SHARED, EdgeLedger
from tests.simulation.engine import SimulatedEngine, Storage
from tests.simulation.processes import Chaos, SinkProcess, Supervisor, broker_away, engine_away
from tests.simulation.sink_world import drained, signal_of

LABEL_LIFE_MS = 3_600_000
REST_SECONDS_MAX = 1_500.0


class PipelineWorld:
    """One run. Clients post signals and answers; what is accounted for at rest is every one that got its 200."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        random = universe.random
        self.broker = broker = Broker(universe)
        universe.broker = broker  # type: ignore[attr-defined]
        for topic, partitions in ((SIGNALS, 2), (LABELED, 1), (DEIDENTIFIED, 2)):
            broker.create_topic(topic, partitions)
        for topic in (VERDICTS, DEAD_LETTERS, LABELED_DEAD_LETTERS):
            broker.create_topic(topic, 1)
        broker.lossy = random.choice([0.0, 0.01, 0.03])
        self.faulty = random.choice([0.0, 0.02, 0.1])
        self.storage = Storage()
        self.root = Path(tempfile.mkdtemp(prefix="unjoin-simulation-", dir=SHARED if SHARED.is_dir() else None))
        self.disk = Disk(universe, self.root)
        self.requests = EdgeLedger(broker, random.choice([0.0, 0.05]))
        self.crowd_min = random.choice([2, 3, 5])
        self.rule = rule_of(universe, self.crowd_min)
        self.doors = DoorLedger(broker, self.rule)
        broker.topics[LABELED][0].on_append = self._labeled  # type: ignore[method-assign]
        self.keys: dict[bytes, Any] = {}
        self.labels: dict[bytes, IdentifiedLabel] = {}
        self.seals = seals_of(epoch_key_of)
        self.number = 0
        self.chaos_s = random.uniform(2, 40)
        limits = block_limits(rows_max=random.choice([3, 40]), bytes_max=100_000, ms_max=random.choice([0, 200]))
        self.edge = Supervisor(universe, self._edge)
        self.edge.on_death = lambda process: process.died()
        self.rest = [
            Supervisor(universe, lambda: DoorProcess(universe, rule=self.rule, partitions=1)),
            Supervisor(universe, lambda: self._sink(tables.SIGNALS, limits)),
            Supervisor(universe, lambda: self._sink(tables.LABELS, limits)),
        ]
        self._post()
        hurt = [(1.0, lambda one=one: one.hurt()) for one in (self.edge, *self.rest)]
        away = [(1.0, partial(broker_away, universe, self.broker)), (0.5, partial(engine_away, universe, self.storage))]
        blows = [*hurt, *away]
        Chaos(universe, blows, random.choice([0.7, 3.0, 10.0]), self.chaos_s).begin()

    def run(self) -> None:
        """Until everything rests; raises Violation."""
        universe = self.universe
        try:
            at_rest = universe.come_to_rest(self.chaos_s, self._at_rest, REST_SECONDS_MAX)
            for supervisor in (self.edge, *self.rest):
                check(not supervisor.crashes, "a process crashed:", supervisor.crashes[:1])
            check(not universe.bugs(), "nobody caught:", universe.bugs()[:1])
            check(at_rest, "no rest: it does not make progress any more")
            self.doors.check_at_rest()
            self._check_rows()
        finally:
            self.disk.close()

    def _check_rows(self) -> None:
        """A row for every acknowledged signal and every vote of a crowd; never more rows than Kafka records."""
        check(not self.requests.missing(), "acknowledged events are not on their topics")
        signals = self.storage.keys.get("signals", Counter())
        records = Counter(self.keys[one.value] for log in self.broker.topics[SIGNALS] for one in log.records)
        check(signals.keys() == records.keys(), "the rows of signals are not the records of their topic")
        check(all(rows <= records[key] for key, rows in signals.items()), "more rows than records of a signal")
        wanted = {row for ranges in self.doors.ranges for _, _, rows in ranges.crowds for row in rows}
        rows = {(str(row_id), version) for _, row_id, version in self.storage.keys.get("labels", ())}
        check({(one, version % (1 << 64)) for one, version in rows} == wanted, "the rows of labels are not the crowds'")
        copies = self.storage.keys.get("labels", Counter()).total()
        released = sum(len(log.records) for log in self.broker.topics[DEIDENTIFIED])
        check(copies <= released, "more rows of labels than released records")

    def _edge(self) -> EdgeProcess:
        return EdgeProcess(self.universe, self.disk, self.requests, (SIGNALS, LABELED), {LABELED: LABEL_LIFE_MS})

    def _sink(self, table: Any, limits: BlockLimits) -> SinkProcess:
        engine = SimulatedEngine(self.universe, self.storage, self.broker, faulty=self.faulty)
        return SinkProcess(self.universe, table, engine, limits)

    def _labeled(self, record: Stored) -> None:
        """What the log of labels has become, in its order, is what crowds are made of."""
        assert record.value is not None
        label = self.labels[record.value]
        self.doors.ranges[0].add(record.offset, record.timestamp, label.voter, label)

    def _post(self) -> None:
        random, universe = self.universe.random, self.universe
        if universe.now >= self.chaos_s:
            return
        edge: Any = self.edge.process
        if edge is not None and self.edge.running and edge.ready:
            records = [self._record() for _ in range(random.choice([1, 3, 10]))]
            self.requests.sent.update((record.value, record.topic) for record in records)

            def answered(durable: bool, _seconds: float) -> None:
                if durable:
                    self.requests.acknowledged.update(record.value for record in records)

            edge.post(records, answered)
        universe.later(random.expovariate(2.0), self._post)

    def _record(self) -> Record:
        self.number += 1
        random, stamp = self.universe.random, NOW_MS + int(self.universe.now * 1_000)
        if random.random() < 0.5:
            value, key = signal_of(self.number, "pointer")
            self.keys[value] = key
            return Record(SIGNALS, b"session-%d" % random.randrange(5), value, stamp)
        voter = b"%032d" % random.randrange(self.crowd_min * 3)
        label = IdentifiedLabel(
            voter=voter, day=DAY, kind="image_label", task=f"task-{self.number}", answer=random.choice(["a", "b"])
        )
        act = ("unjoin.Answer", {"kind": label.kind, "task": label.task, "answer": label.answer})
        value = self.seals.sealed(encode(CONTENT_SUBJECT, {"voter": voter, "day": DAY, "act": act}), DAY, 0)
        self.labels[value] = label
        return Record(LABELED, None, value, stamp, 0)

    def _at_rest(self) -> bool:
        edge: Any = self.edge.process
        if not all(one.running for one in (self.edge, *self.rest)) or not edge.ready or edge.spool.counts.waiting:
            return False
        if self.requests.missing() or not self.doors.rests():
            return False
        if not drained(self.broker, "unjoin-sink-signals", SIGNALS):
            return False
        return drained(self.broker, "unjoin-sink-labels", DEIDENTIFIED)
