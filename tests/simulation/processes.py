"""The pipeline's processes, made of the product's own code; who supervises them, and the hand that hurts them."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Protocol
from unittest import mock

import msgspec

from schemas.kafka_access import KafkaAccess
from schemas.topics import dead_letter_topic
from sinks.engine import Table
from sinks.kafka.block_planner import BlockLimits
from sinks.kafka.consumer import TableConsumer
from sinks.kafka.dead_letters import DeadLetterProducer
from sinks.main import GROUP_PREFIX
from sinks.metrics import SinkMetrics
from sinks.rows.tables import check, reader_of
from testkit.memory_marks import MemoryMarks
from testkit.sink_configs import consumer_config
from tests.simulation.broker import Broker
from tests.simulation.clock import SimulatedLoop, Universe, Violation
from tests.simulation.engine import SimulatedEngine, Storage
from tests.simulation.kafka_clients import SimulatedAdmin, SimulatedConsumer, type_of_error
from tests.simulation.kafka_producer import SimulatedProducer

RESTART_SECONDS = 0.5
METRICS = SinkMetrics()  # shared: what dies with a process proves nothing


class Process(Protocol):
    """What can be started, and asked to stop."""

    name: str

    def main(self) -> Coroutine[Any, Any, Any]: ...
    def stop(self) -> None: ...


class Supervisor:
    """Keeps one process running: whatever ends is started again.

    Args:
        make: a new process, its memory empty.
    """

    def __init__(self, universe: Universe, make: Callable[[], Process]) -> None:
        self.universe, self._make = universe, make
        self.process: Process | None = None
        self.loop: SimulatedLoop | None = None
        self.crashes: list[str] = []
        self.on_death: Callable[[Any], None] = lambda _process: None
        self.start()

    def start(self) -> None:
        process = self._make()
        self.process = process
        self.loop = self.universe.process(process.name, lambda: self._life(process))
        self.loop.on_death = self._note_death

    def _note_death(self) -> None:
        if not self.universe.over:
            self.on_death(self.process)
            self.loop = self.process = None
            self.universe.later(RESTART_SECONDS * (0.5 + self.universe.random.random()), self.start)

    async def _life(self, process: Process) -> None:
        try:
            await process.main()
        except Violation:
            raise
        except Exception as error:
            self.universe.say(process.name, "ended with", type(error).__name__, error)
            self.crashes.append(f"{process.name}: {type(error).__name__}: {error}")
        assert self.loop is not None
        self.universe.bury(self.loop)

    @property
    def running(self) -> bool:
        return self.loop is not None and self.loop.alive

    def hurt(self) -> None:
        """Kills, pauses or stops it."""
        if self.loop is None or not self.loop.alive or self.loop.paused_until > self.universe.now:
            return
        random, universe = self.universe.random, self.universe
        chance = random.random()
        if chance < 0.5 and universe.odds("process killed", 1.0):
            universe.kill(self.loop)
        elif chance < 0.75 and universe.odds("process paused", 1.0):
            universe.pause(self.loop, random.choice([0.5, 5.0, 12.0, 45.0]))
        elif self.process is not None and universe.odds("process stopped", 1.0):
            universe.say("stop", self.process.name)
            self.loop.call_soon(self.process.stop)


class SinkProcess:
    """`sinks.kafka.consumer.TableConsumer` whole: sessions, partitions, workers, blocks and dead letters."""

    def __init__(self, universe: Universe, table: Table, engine: SimulatedEngine, limits: BlockLimits) -> None:
        self.name = f"sink-{table.name}"
        self._universe, self._table, self._engine, self._limits = universe, table, engine, limits
        self._consumer: TableConsumer | None = None

    async def main(self) -> None:
        universe = self._universe
        self._engine.loop = universe_loop()
        dead_letters = DeadLetterProducer(KafkaAccess("simulated"), dead_letter_topic)
        self._consumer = TableConsumer(
            self._table,
            self._engine,
            consumer_config("simulated", self._limits, GROUP_PREFIX + self._table.name),
            marks=MemoryMarks(self._engine.storage.moments),
            datum_of=reader_of(self._table),
            check=partial(check, self._table),
            dead_letters=dead_letters,
            metrics=METRICS,
            clock=lambda: universe.now,
            jitter=random.Random(universe.random.random()),
        )
        await self._consumer.run()
        await dead_letters.close()

    def stop(self) -> None:
        if self._consumer is not None:
            self._consumer.stop()


def universe_loop() -> SimulatedLoop:
    """The process that is running."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop


@contextlib.contextmanager
def simulated_kafka() -> Iterator[None]:
    """Gives `sinks/` the simulated clients."""
    with (
        mock.patch("sinks.kafka.consumer.RecordConsumer", SimulatedConsumer),
        mock.patch("sinks.kafka.consumer.AIOKafkaAdminClient", SimulatedAdmin),
        mock.patch("sinks.kafka.consumer.reason_of", type_of_error),
        mock.patch("sinks.kafka.dead_letters.AIOKafkaProducer", SimulatedProducer),
    ):
        yield


class Chaos(msgspec.Struct):
    """What is hurt until when, at random moments.

    Attributes:
        blows: (odds weight, what to do).
        every_s: on average.
    """

    universe: Universe
    blows: Sequence[tuple[float, Callable[[], None]]]
    every_s: float
    until: float

    def begin(self) -> None:
        self.universe.later(self.universe.random.expovariate(1 / self.every_s), self._strike)

    def _strike(self) -> None:
        if self.universe.now < self.until:
            weights = [weight for weight, _ in self.blows]
            _, blow = self.universe.random.choices(self.blows, weights)[0]
            blow()
            self.begin()


def broker_away(universe: Universe, broker: Broker, seconds: Sequence[float] = (0.3, 3.0, 10.0, 50.0)) -> None:
    """A blow: the broker neither answers nor takes anything for a while."""
    if universe.odds("broker away", 1.0):
        broker.pause(universe.random.choice(seconds))


def engine_away(universe: Universe, storage: Storage) -> None:
    """A blow: the engine neither answers nor takes anything for a while."""
    if universe.odds("engine away", 1.0):
        storage.away_until = universe.now + universe.random.choice([0.3, 3.0, 20.0])
