"""The sink's protocol from the log into the engine: `sinks/` whole, on a faulty broker and a faulty engine."""

import datetime
from collections import Counter, defaultdict
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from schemas.codec import encode
from schemas.dead_letters import origin_of
from schemas.topics import DEAD_LETTERS, SIGNALS
from sinks.kafka.commit_marks import split_mark
from sinks.rows import tables
from testkit.sink_configs import block_limits
from tests.simulation.broker import Broker, check, open_words
from tests.simulation.clock import Universe
from tests.simulation.engine import SimulatedEngine, Storage
from tests.simulation.processes import Chaos, SinkProcess, Supervisor, broker_away, engine_away

NOW_MS = 1_790_000_000_000
REST_SECONDS_MAX = 400.0
GROUP = "unjoin-sink-signals"


class SinkLedger:
    """Every record of the log against the rows and the letters.

    Args:
        exact: whether physical rows are counted; with writers that race for a server only the collapsed ones are.
    """

    def __init__(self, broker: Broker, storage: Storage, *, exact: bool) -> None:
        self._broker, self._storage, self._exact = broker, storage, exact
        self._key: dict[tuple[int, int], tuple[Any, ...]] = {}  # (partition, offset) -> row key
        self._garbage: set[tuple[int, int]] = set()
        self._poison: set[tuple[int, int]] = set()
        self._checked: defaultdict[int, int] = defaultdict(int)
        broker.group(GROUP).on_commit = self._check_commit

    def note(self, partition: int, offset: int, key: tuple[Any, ...] | None, *, poison: bool) -> None:
        """One record that was acknowledged; `key` None for one that nobody can read."""
        if key is None:
            self._garbage.add((partition, offset))
        elif poison:
            self._poison.add((partition, offset))
        else:
            self._key[partition, offset] = key

    def letters(self) -> Counter[tuple[int, int]]:
        """(partition, offset) of every dead letter."""
        found: Counter[tuple[int, int]] = Counter()
        for record in self._broker.topics[DEAD_LETTERS][0].records:
            origin = origin_of(record.headers)
            check(origin is not None and origin.topic == SIGNALS, "a dead letter of nowhere")
            assert origin is not None
            found[origin.partition, origin.offset] += 1
        return found

    def _check_commit(self, partition: TopicPartition, offset: int, _metadata: str) -> None:
        """Nothing below a commit is still on its way."""
        log, keys = self._broker.log(partition), self._storage.keys.get("signals", Counter())
        letters: Any = None
        for record in log.read(self._checked[partition.partition], 1_000_000):
            if record.offset >= offset:
                break
            where = (partition.partition, record.offset)
            if where in self._key:
                check(keys[self._key[where]] > 0, f"committed {offset}, and the row of {where} is not stored")
            else:
                letters = self.letters() if letters is None else letters
                check(letters[where] > 0, f"committed {offset}, and no dead letter of {where} is acknowledged")
            self._checked[partition.partition] = record.offset + 1

    def check_at_rest(self) -> None:
        """Every acknowledged event is one row or one dead letter by position, and nothing else is there."""
        keys = self._storage.keys.get("signals", Counter())
        wanted = Counter(self._key.values())
        if missing := wanted.keys() - keys.keys():
            check(False, f"{len(missing)} acknowledged events are lost, such as {min(missing)}")
        if unknown := keys.keys() - wanted.keys():
            check(False, f"{len(unknown)} rows are of no acknowledged event, such as {min(unknown)}")
        if self._exact:
            doubled = [key for key, rows in keys.items() if rows != wanted[key]]
            check(not doubled, f"{len(doubled)} events are stored more than once, such as {doubled[:1]}")
        check(self.letters().keys() == self._garbage | self._poison, "dead letters are not the refused rows")


class SinkWorld:
    """One run."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        random = universe.random
        self.broker = broker = Broker(universe)
        universe.broker = broker  # type: ignore[attr-defined]
        self.partitions = random.randint(1, 3)
        broker.create_topic(SIGNALS, self.partitions)
        broker.create_topic(DEAD_LETTERS, 1)
        self.server = random.random() < 0.25
        self.storage = Storage()
        self.ledger = SinkLedger(broker, self.storage, exact=not self.server)
        self.limits = block_limits(
            rows_max=random.choice([1, 3, 8, 40]),
            bytes_max=random.choice([200, 1_000, 100_000]),
            ms_max=random.choice([0, 20, 300]),
            refused_share_max=0.95,
        )
        self.chaos_s = random.uniform(2, 40)
        self.number = 0
        broker.lossy = random.choice([0.0, 0.01, 0.05])
        self.faulty = random.choice([0.0, 0.02, 0.1])
        self._produce()
        self.sinks = [Supervisor(universe, self._sink) for _ in range(random.choice([1, 2]) if self.server else 1)]
        if not self.server:  # nobody else is a member then, and a coordinator takes commits of anybody
            self.sinks[0].on_death = lambda _process: self._foreign_commit()
        hurt = [(2.0, lambda one=one: one.hurt()) for one in self.sinks]
        away = [
            (1.0, partial(broker_away, universe, self.broker)),
            (0.7, partial(engine_away, universe, self.storage)),
            (0.5, self._disk_full),
        ]
        Chaos(universe, [*hurt, *away], random.choice([1.0, 4.0, 15.0]), self.chaos_s).begin()

    def run(self) -> None:
        """Until everything rests; raises Violation."""
        universe = self.universe
        at_rest = universe.come_to_rest(self.chaos_s, self._at_rest, REST_SECONDS_MAX)
        check(at_rest, "no rest: it does not make progress any more")
        for supervisor in self.sinks:
            check(not supervisor.crashes, "a process crashed:", supervisor.crashes[:1])
        check(not universe.bugs(), "nobody caught:", universe.bugs()[:1])
        self.ledger.check_at_rest()

    def _sink(self) -> SinkProcess:
        engine = SimulatedEngine(
            self.universe,
            self.storage,
            self.broker,
            refuses=lambda row: row["type"] == "poison",
            faulty=self.faulty,
            server=self.server,
        )
        return SinkProcess(self.universe, tables.SIGNALS, engine, self.limits)

    def _produce(self) -> None:
        """Some records now, and more later."""
        random = self.universe.random
        if self.universe.now >= self.chaos_s:
            return
        for _ in range(random.choice([1, 1, 3, 12])):
            self.number += 1
            kind = random.random()
            poison, garbage = 0.96 < kind < 0.98, kind > 0.98
            value, key = signal_of(self.number, "poison" if poison else "pointer")
            log = self.broker.topics[SIGNALS][random.randrange(self.partitions)]
            gap = random.choice([0, 0, 0, 0, 0, 1, 4])
            damaged = random.choice([b"garbage", value + value[5:], value[:-1], value + b"\0"])
            record = (b"key", damaged if garbage else value, NOW_MS, ())
            offset = log.append([record], gap)
            self.ledger.note(log.partition, offset, None if garbage else key, poison=poison)
        self.universe.later(random.expovariate(1.5), self._produce)

    def _disk_full(self) -> None:
        if self.universe.odds("disk full", 1.0):
            self.storage.full_until = self.universe.now + self.universe.random.choice([0.3, 3.0, 20.0])

    def _foreign_commit(self) -> None:
        """A stray consumer under the sink's group passed records while the sink was away."""
        if self.universe.odds("foreign commit", 0.2):
            log = self.universe.random.choice(self.broker.topics[SIGNALS])
            offset = self.universe.random.choice([log.end, self.universe.random.randint(0, log.end)])
            self.broker.group(GROUP).committed[TopicPartition(SIGNALS, log.partition)] = (offset, "")

    def _at_rest(self) -> bool:
        return all(one.running for one in self.sinks) and drained(self.broker, GROUP, SIGNALS)


def drained(broker: Broker, group: str, topic: str) -> bool:
    """Whether the group's commits say that all records are done and nothing is open."""
    committed = broker.group(group).committed
    for log in broker.topics[topic]:
        offset, metadata = committed.get(TopicPartition(topic, log.partition), (-1, ""))
        foreign = split_mark(metadata)[0] is None
        if log.records and (foreign or offset <= log.records[-1].offset or open_words(metadata)):
            return False
    return True


def signal_of(number: int, kind: str) -> tuple[bytes, tuple[Any, ...]]:
    """A record value and the key of the row that it becomes."""
    row = {
        **{"event_id": f"e{number}", "site": "site", "session": "session", "type": kind, "ts": number},
        **{"received_at": NOW_MS + number, "t": [0.0], "x": [1.5], "y": [2.5], "z": [], "force": [], "t_up": []},
    }
    return encode("events.signals-value", row), (row["site"], row["session"], row["event_id"], _moment(number))


def _moment(number: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp((NOW_MS + number) / 1_000, datetime.UTC)
