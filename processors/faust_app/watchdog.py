"""Ends a worker that no longer moves, so that whoever supervises it starts a new one.

It asks the brokers itself, from a thread and a loop of its own: Faust's loop may hang, and so may an assignment. And it
asks the worker's loop: one that hangs while others took over its partitions would show nowhere in the offsets.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError

from processors.faust_app.commits import Commits, Partition
from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import reason_of

log = logging.getLogger("unjoin.processors")

LOOK_EVERY_S = 1.0
ANSWER_S_MAX = 10.0
READY_STALL_S = 10.0


class Seen(msgspec.Struct, frozen=True):
    """One partition at one moment.

    Attributes:
        end: one past its last record, says the broker.
        committed: the group's next offset, 0 where it has none, says the broker.
        undecided: the smallest offset that the door has not seen, None where nothing was delivered, says this worker.
        committable: what this worker has offered to commit, None where nothing was.
        progress: records that the door has decided about, also of a batch that is not done, says this worker.
    """

    end: int
    committed: int
    undecided: int | None
    committable: int | None
    progress: int

    @property
    def lag(self) -> int:
        """Records that the door has not seen."""
        return max(0, self.end - self.next_undecided)

    @property
    def next_undecided(self) -> int:
        """The offset before which the door has seen all."""
        return self.committed if self.undecided is None else max(self.undecided, self.committed)


class StallDetector:
    """Decides when a worker is stuck. Pure.

    A partition is behind where records wait that the door has not seen (held ones it has), or where something could be
    committed and is not. It is stuck when it is behind and no mark has passed its best for `stall_s`: neither of the
    two, nor the count of records that were decided, which grows within a batch that takes long.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._best: dict[Partition, tuple[int, int, int]] = {}
        self._since: dict[Partition, float] = {}

    def forget(self) -> None:
        """Starts over: while no broker answers, nobody can move."""
        self._best.clear()
        self._since.clear()

    def stuck(self, now_s: float, seen: Mapping[Partition, Seen]) -> set[Partition]:
        """The partitions that are stuck, of those that this worker answers for.

        Args:
            now_s: seconds of a clock that never goes back.
            seen: every partition that this worker answers for now; the others are forgotten.
        """
        for gone in self._since.keys() - seen.keys():
            del self._since[gone], self._best[gone]
        return {partition for partition, one in seen.items() if self._is_stuck(now_s, partition, one)}

    def stalled_s(self, now_s: float) -> float:
        """For how long the slowest partition has been behind without progress."""
        return max((now_s - since for since in self._since.values()), default=0.0)

    def _is_stuck(self, now_s: float, partition: Partition, one: Seen) -> bool:
        behind = one.lag > 0 or (one.committable is not None and one.committed < one.committable)
        best = self._best.get(partition, (-1, -1, -1))
        marks = (one.committed, one.next_undecided, one.progress)
        if not behind or any(mark > before for mark, before in zip(marks, best, strict=True)):
            self._best[partition] = (max(marks[0], best[0]), max(marks[1], best[1]), max(marks[2], best[2]))
            self._since[partition] = now_s
        return now_s - self._since[partition] >= self._stall_s


class LoopDetector:
    """Decides when a loop no longer turns. Pure, but for what it asks.

    Only time in which somebody looked counts: of a process that was stopped and continued, nobody knows yet.

    Args:
        ask: has the loop call what it is given, soon.
    """

    def __init__(self, stall_s: float, ask: Callable[[Callable[[], None]], object]) -> None:
        self._stall_s = stall_s
        self._ask = ask
        self._answered = True
        self._looked_at_s: float | None = None
        self._waited_s = 0.0

    def stopped(self, now_s: float) -> bool:
        """Whether it has not turned for `stall_s`; to be asked every `LOOK_EVERY_S`."""
        if self._answered:
            self._answered, self._waited_s = False, 0.0
            self._ask(self._answer)
        elif self._looked_at_s is not None:
            self._waited_s += min(now_s - self._looked_at_s, 2 * LOOK_EVERY_S)
        self._looked_at_s = now_s
        return self._waited_s >= self._stall_s

    def _answer(self) -> None:
        self._answered = True


class Watchdog:
    """Looks every second, and ends the process when it is stuck.

    Args:
        loop: the worker's.
        end_process: called once, from the watchdog's threads.
    """

    def __init__(
        self,
        *,
        kafka: KafkaAccess,
        group_id: str,
        topic: str,
        stall_s: float,
        commits: Commits,
        loop: asyncio.AbstractEventLoop,
        end_process: Callable[[], None],
    ) -> None:
        self._kafka = kafka
        self._group_id = group_id
        self._topic = topic
        self._commits = commits
        self._stall = StallDetector(stall_s)
        self._end_process = end_process
        self._away = False
        self._lag: int | None = None
        self._stalled_s = 0.0
        self._stopped = threading.Event()
        self._loop_detector = LoopDetector(stall_s, loop.call_soon_threadsafe)

    def start(self) -> None:
        """Begins to look."""
        # Two, for the brokers may take long to answer, or be away.
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()
        threading.Thread(target=self._watch_loop, name="watchdog-loop", daemon=True).start()

    @property
    def lag(self) -> int:
        """Records that the door has not seen, of the partitions that this worker answers for, when last looked at."""
        return self._lag or 0

    def makes_progress(self) -> bool:
        """Whether it has partitions or stands by, Kafka answers, and nothing has waited for long without progress."""
        looked = self._lag is not None and not self._away
        return looked and self._commits.assignment is not None and self._stalled_s < READY_STALL_S

    def stop(self) -> None:
        """Looks no more; returns at once."""
        self._stopped.set()

    def _watch_loop(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process is about to end
            while not self._stopped.wait(LOOK_EVERY_S):
                if self._loop_detector.stopped(monotonic()):
                    log.error("the loop hangs: ending this worker")
                    self._end_process()
                    return

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # nobody would watch this worker any more
            log.error("the watchdog failed (%s): ending this worker", type(error).__name__)
            self._end_process()

    def _watch(self) -> None:
        with asyncio.Runner() as runner:
            while not self._stopped.is_set():
                failed = runner.run(self._look_until_kafka_is_away())
                self._stall.forget()
                if failed is not None and not self._away and not self._stopped.is_set():
                    why = runner.run(reason_of(failed, self._kafka))
                    log.warning("Kafka at %s does not answer, waiting for it (%s)", self._kafka.bootstrap, why)
                self._away = True
                self._stopped.wait(LOOK_EVERY_S)

    async def _look_until_kafka_is_away(self) -> Exception | None:
        admin = AIOKafkaAdminClient(**self._kafka.client(), request_timeout_ms=int(ANSWER_S_MAX * 1000))
        reader = AIOKafkaConsumer(**self._kafka.client(), request_timeout_ms=int(ANSWER_S_MAX * 1000))
        try:
            await asyncio.wait_for(admin.start(), ANSWER_S_MAX)
            await asyncio.wait_for(reader.start(), ANSWER_S_MAX)
            while not self._stopped.is_set():
                seen = await asyncio.wait_for(self._look(admin, reader), ANSWER_S_MAX)
                if self._away:
                    log.info("Kafka at %s answers", self._kafka.bootstrap)
                self._away = False
                stuck = self._judge(monotonic(), seen)
                if stuck and not self._stopped.is_set():
                    log.error("no progress on partitions %s: ending this worker", sorted(number for _, number in stuck))
                    self._end_process()
                    break
                await asyncio.sleep(LOOK_EVERY_S)
        except (KafkaError, OSError, TimeoutError) as error:
            return error
        finally:
            await reader.stop()
            await admin.close()
        return None

    def _judge(self, now_s: float, seen: Mapping[Partition, Seen]) -> set[Partition]:
        """The partitions that are stuck; notes what is asked of it meanwhile."""
        stuck = self._stall.stuck(now_s, seen)
        self._lag, self._stalled_s = sum(one.lag for one in seen.values()), self._stall.stalled_s(now_s)
        return stuck

    async def _look(self, admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer) -> dict[Partition, Seen]:
        partitions = await self._partitions(admin)
        ends = await reader.end_offsets(partitions) if partitions else {}
        committed = await self._committed(admin, partitions) if partitions else {}
        return {
            (topic, number): Seen(
                end=ends[TopicPartition(topic, number)],
                committed=max(0, committed[TopicPartition(topic, number)].offset),
                undecided=self._commits.undecided((topic, number)),
                committable=self._commits.committable((topic, number)),
                progress=self._commits.progress[topic, number],
            )
            for topic, number in partitions
        }

    async def _committed(self, admin: AIOKafkaAdminClient, partitions: list[TopicPartition]) -> Mapping[Any, Any]:
        """The group's commits; a coordinator that has just started and cannot tell them is away."""
        try:
            committed: Mapping[Any, Any] = await admin.list_consumer_group_offsets(
                self._group_id, partitions=partitions
            )
        except AttributeError:
            # aiokafka 0.14 reads `response.error_code`, which is not there, when a partition's answer is an error.
            raise KafkaConnectionError("the coordinator could not tell the committed offsets") from None
        if set(partitions) - committed.keys():
            raise KafkaConnectionError("the coordinator did not tell the committed offsets")
        return committed

    async def _partitions(self, admin: AIOKafkaAdminClient) -> list[TopicPartition]:
        """What this worker answers for: its assignment; between two of them, which may hang, every partition.

        Raises:
            KafkaError: there is no such topic, so that nobody has an assignment, and this worker is not ready.
        """
        assignment: Iterable[Partition] | None = self._commits.assignment
        if not assignment:
            (described,) = await admin.describe_topics([self._topic])
            if not described["partitions"]:
                raise UnknownTopicOrPartitionError(f"there is no topic {self._topic}")
            if assignment is None:
                assignment = [(self._topic, one["partition"]) for one in described["partitions"]]
        return [TopicPartition(topic, number) for topic, number in assignment]
