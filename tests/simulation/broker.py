"""A Kafka broker in virtual time: logs, a group coordinator, and connections that lose requests and replies.

What it keeps to, since the protocols lean on it: an acknowledged record stays; a commit is taken from a member of the
current generation only, also while members join, and refused while they wait for their assignment; who does not join
or beat in time is expelled; an idempotent producer's batch is stored once a sequence number. What it may do: answer
late, or never although it did what was asked; do what was asked long after who asked has given up.
Source: Kafka's GroupCoordinator and ProducerStateManager, in so far as clients can tell.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalGenerationError,
    KafkaConnectionError,
    KafkaError,
    OutOfOrderSequenceNumber,
    RebalanceInProgressError,
    RequestTimedOutError,
    UnknownMemberIdError,
)

from tests.simulation.clock import SimulatedLoop, Universe, Violation

Reply = Callable[[Any], None]
REBALANCE_SECONDS = 30.0
REQUEST_SECONDS_MAX = 40.0  # what an aiokafka consumer waits for an answer


class Stored(NamedTuple):
    """One record of a log; `timestamp` in Unix milliseconds, as aiokafka's ConsumerRecord has it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Any = ()


class Log:
    """One partition."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.records: list[Stored] = []
        self.start = self.end = 0
        self.sequences: dict[int, int] = {}  # producer id -> the next sequence number
        self.waiting: list[Callable[[], None]] = []
        self.on_append: Callable[[Stored], None] = lambda _: None

    def append(self, records: list[tuple[bytes | None, bytes | None, int, Any]], gap: int = 0) -> int:
        """Stores (key, value, timestamp, headers); gives the first one's offset."""
        first = self.end
        for number, (key, value, timestamp, headers) in enumerate(records):
            record = Stored(self.topic, self.partition, first + number, key, value, timestamp, headers)
            self.records.append(record)
            self.on_append(record)
        self.end = first + len(records) + gap
        waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake()
        return first

    def append_once(self, producer: int, sequence: int, records: list[Any]) -> None:
        """As an idempotent producer's batch; raises OutOfOrderSequenceNumber."""
        expected = self.sequences.get(producer, 0)
        if sequence + len(records) == expected:
            return  # again: it was stored, the reply was lost
        if sequence != expected:
            raise OutOfOrderSequenceNumber
        self.sequences[producer] = sequence + len(records)
        self.append(records)

    def read(self, position: int, records_max: int) -> list[Stored]:
        """From a position on."""
        low, high = 0, len(self.records)
        while low < high:
            middle = (low + high) // 2
            if self.records[middle].offset < position:
                low = middle + 1
            else:
                high = middle
        return self.records[low : low + records_max]


class Member:
    """Of a group."""

    def __init__(self, session_seconds: float) -> None:
        self.session_seconds = session_seconds
        self.beaten_at = 0.0
        self.joining: Reply | None = None


class Group:
    """One consumer group and its coordinator."""

    def __init__(self, universe: Universe, broker: "Broker", name: str) -> None:
        self.universe, self.broker, self.name = universe, broker, name
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.state = "empty"
        self.topics: tuple[str, ...] = ()
        self.assignment: dict[str, list[TopicPartition]] = {}
        self.committed: dict[TopicPartition, tuple[int, str]] = {}
        self.intents: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)  # (offset, end)
        self.on_commit: Callable[[TopicPartition, int, str], None] = lambda *_: None
        self._joined = 0

    def join(self, member_id: str, session_seconds: float, topics: tuple[str, ...], reply: Reply) -> None:
        """Answers (member id, generation) once everybody has joined or was expelled."""
        if member_id and member_id not in self.members:
            reply(UnknownMemberIdError())
            return
        if not member_id:
            self._joined += 1
            member_id = f"member-{self._joined}"
            self.members[member_id] = Member(session_seconds)
        member = self.members[member_id]
        member.joining, member.beaten_at, self.topics = reply, self.universe.now, topics
        if self.state != "preparing":
            self._prepare()
        self._complete_if_all()

    def sync(self, member_id: str, generation: int, reply: Reply) -> None:
        """Answers the member's partitions."""
        if error := self._stale(member_id, generation):
            reply(error)
        elif self.state == "preparing":
            reply(RebalanceInProgressError())
        else:
            self.state = "stable"
            self._beat(member_id)
            reply(self.assignment[member_id])

    def heartbeat(self, member_id: str, generation: int, reply: Reply) -> None:
        if error := self._stale(member_id, generation):
            reply(error)
            return
        self._beat(member_id)
        reply(RebalanceInProgressError() if self.state != "stable" else None)

    def leave(self, member_id: str, reply: Reply) -> None:
        self._remove(member_id)
        reply(None)

    def commit(self, member_id: str, generation: int, offsets: dict[TopicPartition, Any], reply: Reply) -> None:
        if error := self._stale(member_id, generation):
            reply(error)
            return
        if self.state == "completing":
            reply(RebalanceInProgressError())
            return
        self._beat(member_id)
        for partition, commit in offsets.items():
            self.universe.say("commit", self.name, partition.partition, commit.offset, repr(commit.metadata))
            self.on_commit(partition, commit.offset, commit.metadata)
            self.committed[partition] = (commit.offset, commit.metadata)
            words = open_words(commit.metadata)
            end = int(words[0]) if words else commit.offset
            self.intents[partition.topic, partition.partition].append((commit.offset, end))
        reply(None)

    def fetch(self, partition: TopicPartition, reply: Reply) -> None:
        reply(self.committed.get(partition, (-1, "")))

    def _stale(self, member_id: str, generation: int) -> KafkaError | None:
        if member_id not in self.members:
            return UnknownMemberIdError()
        return None if generation == self.generation else IllegalGenerationError()

    def _beat(self, member_id: str) -> None:
        self.members[member_id].beaten_at = self.universe.now

    def _prepare(self) -> None:
        self.state = "preparing"
        round_ = self.generation
        self.universe.later(REBALANCE_SECONDS, self._expel_absent, round_)

    def _expel_absent(self, round_: int) -> None:
        if self.state == "preparing" and self.generation == round_:
            for member_id in [one for one, member in self.members.items() if member.joining is None]:
                del self.members[member_id]
            self._complete_if_all()

    def _complete_if_all(self) -> None:
        if any(member.joining is None for member in self.members.values()):
            return
        self.generation += 1
        self.state = "completing" if self.members else "empty"
        partitions = [
            TopicPartition(topic, number) for topic in self.topics for number in range(len(self.broker.topics[topic]))
        ]
        ids = sorted(self.members)
        self.universe.random.shuffle(ids)
        self.assignment = {one: partitions[at :: len(ids)] for at, one in enumerate(ids)}
        self.universe.say("generation", self.name, self.generation, {k: len(v) for k, v in self.assignment.items()})
        for member_id, member in self.members.items():
            reply, member.joining, member.beaten_at = member.joining, None, self.universe.now
            assert reply is not None
            reply((member_id, self.generation))
            self._watch(member_id, member)

    def _watch(self, member_id: str, member: Member) -> None:
        """Expels it when it no longer beats."""
        if self.members.get(member_id) is not member or member.joining is not None:
            return
        left = member.beaten_at + member.session_seconds - self.universe.now
        away = self.broker.paused_until - self.universe.now
        if left <= 0 and away <= 0:
            self.universe.say("expelled", member_id)
            self._remove(member_id)
        elif not self.universe.calm or left < 1e9:
            self.universe.later(max(left, away, 0.01), self._watch, member_id, member)

    def _remove(self, member_id: str) -> None:
        if self.members.pop(member_id, None) is not None:
            if self.state != "preparing":
                self._prepare()
            self._complete_if_all()


class Broker:
    """One node.

    Attributes:
        lossy: share of requests whose connection breaks before they arrive, and again of replies that do not arrive.
    """

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.topics: dict[str, list[Log]] = {}
        self.groups: dict[str, Group] = {}
        self.paused_until = 0.0
        self.lossy = 0.0
        self.producers = 0
        self.refuses: Callable[[list[Any]], bool] = lambda _records: False

    def create_topic(self, name: str, partitions: int) -> None:
        self.topics[name] = [Log(name, number) for number in range(partitions)]

    def log(self, partition: TopicPartition) -> Log:
        return self.topics[partition.topic][partition.partition]

    def group(self, name: str) -> Group:
        if name not in self.groups:
            self.groups[name] = Group(self.universe, self, name)
        return self.groups[name]

    def pause(self, seconds: float) -> None:
        """SIGSTOP, or a restart: nothing is answered for so long."""
        self.universe.say("broker away for", f"{seconds:.1f} s")
        self.paused_until = max(self.paused_until, self.universe.now + seconds)


def open_words(metadata: str) -> list[str]:
    """What a sink's commit says of an open intent; what it counts besides is left out."""
    return [word for word in metadata.split() if word.isdecimal()]


class Connection:
    """Requests of one client to the broker, in order; broken and opened again as it goes."""

    def __init__(self, loop: Any) -> None:
        assert isinstance(loop, SimulatedLoop)
        self.loop, self.universe = loop, loop.universe
        self.broker: Broker = loop.universe.broker  # type: ignore[attr-defined]
        self._arrives_at = 0.0

    async def ask(self, handler: Callable[..., None], *args: Any, seconds_max: float = REQUEST_SECONDS_MAX) -> Any:
        """What the broker answers; an answer that is an exception is raised.

        Raises:
            KafkaConnectionError, RequestTimedOutError: nobody can tell whether the broker did it, or will.
        """
        universe, broker = self.universe, self.broker
        answer: asyncio.Future[Any] = self.loop.create_future()
        lost = universe.odds("request lost", broker.lossy)
        lost_reply = not lost and universe.odds("reply lost", broker.lossy)
        # The connection breaks, and what its kernel still held arrives when the client has long opened another one.
        late = not (lost or lost_reply) and universe.odds("request arrives late", broker.lossy / 2)
        self._arrives_at = max(self._arrives_at, universe.now + universe.duration(0.0005, 0.02))

        def settle(result: Any) -> None:
            if self.loop.alive:
                self.loop.call_soon(_set, answer, result)

        def reply(result: Any) -> None:
            universe.later(universe.duration(0.0005, 0.02), settle, KafkaConnectionError() if lost_reply else result)

        def arrive() -> None:
            if (away := broker.paused_until - universe.now) > 0:
                universe.later(away + universe.duration(0.0005, 0.02), arrive)
            elif lost:
                settle(KafkaConnectionError())
            else:
                try:
                    handler(*args, reply)
                except KafkaError as error:
                    reply(error)

        if late:
            universe.later(universe.duration(0.001, 0.05), settle, KafkaConnectionError())
            universe.later(universe.random.expovariate(1.0), arrive)
        else:
            universe.later(self._arrives_at - universe.now, arrive)
        timer = self.loop.call_later(seconds_max, _set, answer, RequestTimedOutError())
        try:
            return await answer
        except (KafkaConnectionError, RequestTimedOutError):
            self._arrives_at = 0.0  # a new connection overtakes what the old one left on its way
            raise
        finally:
            timer.cancel()


def _set(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def check(condition: bool, *what: Any) -> None:
    """Raises Violation where a promise does not hold."""
    if not condition:
        raise Violation(" ".join(map(str, what)))
