"""`run`: one processor, from its first look for Kafka to its last commit."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.types import TP
from prometheus_client.registry import Collector

from processors.door.crowd import Crowd, CrowdRule
from processors.door.deidentify import EpochKeys, Mask
from processors.door.outcome_counts import OutcomeCounts
from processors.door.release import Door
from processors.door.verdicts import JudgedVoters
from processors.faust_app.agents import door_agent
from processors.faust_app.app import AppConfig, build_app, quieten_libraries
from processors.faust_app.batch_handler import BatchHandler, HandlerTopics, OutOfOrder, StartingPoint
from processors.faust_app.batches import FetchedBatch
from processors.faust_app.commits import Commits, Partition
from processors.faust_app.committed import CommittedOffsets
from processors.faust_app.metrics import DoorMetrics
from processors.faust_app.producer import AcknowledgedProducer
from processors.faust_app.stored_verdicts import StoredVerdicts
from processors.faust_app.watchdog import Watchdog
from schemas.kafka_access import KafkaAccess, refusal_of
from schemas.kafka_probe import reason_of
from schemas.outcomes import Suppression, UnjoinError
from schemas.seal import Opener

log = logging.getLogger("unjoin.processors")

EXIT_OK = 0
EXIT_CRASHED = 70
EXIT_STUCK = 75
EXIT_HALTED = 78
"""Source of the numbers: sysexits.h, EX_SOFTWARE, EX_TEMPFAIL and EX_CONFIG."""

LOOK_EVERY_S = 1.0
KEYS_EVERY_S = 0.1
DRAIN_S_MAX = 3.0
COMMIT_S_MAX = 2.0
STOP_S_MAX = 2.0


class ProcessorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor needs to know. No field has a default: `unjoin/settings.py` holds them all.

    Attributes:
        kafka: the brokers, and as whom they are asked.
        data_dir: a folder for Faust's files; nothing that must last.
        metrics_port: 0 for none.
        group_id: the consumer group.
        crowd: when labels leave, and how many may wait.
        dead_letter_share_max: of the last 100 records of a partition; past it the processor halts instead of setting
            more aside.
        counts_every_s: at whole multiples of so many seconds metrics show what was noted, and commits follow.
        watchdog_s: after how long without progress the process ends.
        session_s: after how long without a heartbeat a dead worker's partitions are dealt anew.
    """

    kafka: KafkaAccess
    data_dir: Path
    metrics_host: str
    metrics_port: int
    group_id: str
    labeled_topic: str
    released_topic: str
    verdict_topic: str
    dead_letter_topic: str
    crowd: CrowdRule
    dead_letter_share_max: float
    counts_every_s: float
    watchdog_s: float
    session_s: float


def run(
    config: ProcessorConfig,
    epoch_keys: EpochKeys,
    *,
    mask: Mask,
    keys_compared: Callable[[], bool] = lambda: True,
    on_ready: Callable[[], None] = lambda: None,
    role_metrics: Sequence[Collector] = (),
) -> int:
    """Blocks until SIGTERM or SIGINT, drains, commits, and gives the exit code.

    Waits for Kafka, the topics and the other doors' keys for as long as it takes. The watchdog ends the process itself,
    with `EXIT_STUCK`.

    Args:
        epoch_keys: gives the door its key of a day. Whatever it raises stops the processor with `EXIT_HALTED`.
        keys_compared: whether the keys are known to be those of every door; what it raises stops as well.
        on_ready: called once the group has given this worker its partitions.
        role_metrics: what Prometheus is told besides.
    """
    quieten_libraries()
    metrics = DoorMetrics(config.crowd)
    for one in role_metrics:
        metrics.registry.register(one)
    code = asyncio.run(_serve(config, epoch_keys, mask, keys_compared, on_ready, metrics))
    if code == EXIT_OK:
        log.info("stopped")
    return code


class _Processor:
    """One processor while it runs."""

    def __init__(self, config: ProcessorConfig, epoch_keys: EpochKeys, mask: Mask, metrics: DoorMetrics) -> None:
        self.halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.commits = Commits()
        self.metrics = metrics
        self._config = config
        self._epoch_keys = epoch_keys
        self._mask = mask
        self._committed = CommittedOffsets(config.kafka, config.group_id)
        self._verdicts = StoredVerdicts(config.kafka, config.verdict_topic, self.commits.note_progress)
        app_config = AppConfig(config.kafka, config.data_dir, config.group_id, config.labeled_topic, config.session_s)
        self.app = build_app(app_config, self.commits, door_agent(self._handle))
        self.batches = BatchHandler(
            open_door=self._open_door,
            opener=Opener(self._epoch_keys),
            producer=AcknowledgedProducer(self.app),
            commits=self.commits,
            metrics=self.metrics,
            topics=HandlerTopics(config.released_topic, config.verdict_topic, config.dead_letter_topic),
            dead_letter_share_max=config.dead_letter_share_max,
            halt=self._halt,
            starting_points=self._starting_points,
        )

    async def _starting_points(self, partitions: Collection[Partition]) -> dict[Partition, StartingPoint]:
        """What the doors of partitions go on from: the coordinator's word, and the verdicts that doors have stored.

        Not what Faust believes was committed: it forgets that of a partition which is taken away and given back, and
        everything in the log would be suppressed as if its beginning had expired.
        """
        commits = {one: await self._committed.of(one) for one in partitions}
        for (topic, number), (offset, metadata) in commits.items():
            if offset and OutcomeCounts.of(metadata) is None:
                # Not read again: labels that have left would leave in other crowds, and tell who was in the first.
                log.error("%s-%d: no door committed offset %d; labels below it are passed over", topic, number, offset)
        verdicts = await self._verdicts.of(partitions)  # after the commits: by then those below them were acknowledged
        return {one: StartingPoint(*commit, verdicts) for one, commit in commits.items()}

    def _open_door(self, partition: Partition, first_offset: int, committed: int, judged: JudgedVoters) -> Door:
        """A door for a partition whose first record since the assignment has this offset."""
        suppress_before = 0
        if first_offset > committed:
            lost = first_offset - committed
            log.warning("%d records of partition %d expired before the door read them", lost, partition[1])
            self.metrics.note_suppressed({Suppression.EXPIRED: lost})
            if self._config.crowd.voters_min > 1:
                suppress_before = self.app.consumer.highwater(TP(*partition))
        return Door(
            self._epoch_keys,
            self._mask,
            Crowd(self._config.crowd),
            partition=partition[1],
            judged=judged,
            suppress_before=suppress_before,
        )

    async def _handle(self, batch: FetchedBatch) -> None:
        await self.batches.handle(batch)

    async def show_counts(self, lag: Callable[[], int]) -> None:
        """At every whole minute, until it is cancelled."""
        while True:
            await asyncio.sleep(self._config.counts_every_s - time.time() % self._config.counts_every_s)
            self.metrics.show(lag())
            await self.batches.store_verdicts()
            self.commits.offer()

    def _halt(self, error: Exception) -> None:
        if not self.halted.done():
            self.halted.set_result(error)

    async def drain(self) -> None:
        """Takes nothing new, lets the batch on its way arrive, commits; never raises, never takes long."""
        consumer = self.app.consumer
        consumer.stop_flow()
        self.app.flow_control.suspend()
        if not self.halted.done() and not await _in_time(self.batches.close(), DRAIN_S_MAX):
            log.warning("a batch did not arrive in time; its records come again at the next start")
        self.commits.offer()
        if not await _in_time(consumer.commit(), COMMIT_S_MAX):
            log.warning("the last commit failed; its records come again at the next start")


async def _serve(
    config: ProcessorConfig,
    epoch_keys: EpochKeys,
    mask: Mask,
    keys_compared: Callable[[], bool],
    on_ready: Callable[[], None],
    metrics: DoorMetrics,
) -> int:
    asked_to_stop = _stop_signals()
    watchdog: Watchdog | None = None
    try:  # before Kafka, which may be away: then it is alive, and not ready
        metrics.serve(
            config.metrics_port, config.metrics_host, lambda: watchdog is not None and watchdog.makes_progress()
        )
    except OSError as error:
        where = f"{config.metrics_host}:{config.metrics_port}"
        log.error("no metrics on %s: %s; choose another UNJOIN_METRICS_PORT, or 0 for none", where, error.strerror)
        return EXIT_STUCK
    if not await _topics_are_there(config, asked_to_stop):
        return EXIT_OK
    try:
        if not await _keys_are_compared(keys_compared, asked_to_stop):
            return EXIT_OK
    except UnjoinError as error:
        log.error("halted, nothing is lost: %s", error)
        return EXIT_HALTED
    processor = _Processor(config, epoch_keys, mask, metrics)
    watchdog = Watchdog(
        kafka=config.kafka,
        group_id=config.group_id,
        topic=config.labeled_topic,
        stall_s=config.watchdog_s,
        commits=processor.commits,
        loop=asyncio.get_running_loop(),
        end_process=lambda: os._exit(EXIT_STUCK),
    )
    log.info("started: %s -> %s as group %s", config.labeled_topic, config.released_topic, config.group_id)
    watchdog.start()
    showing = asyncio.create_task(processor.show_counts(lambda: watchdog.lag))
    app = processor.app
    starting = asyncio.create_task(_start(app, on_ready))
    crashed = asyncio.create_task(app._crashed.wait())
    stopping = asyncio.create_task(asked_to_stop.wait())
    waiting: set[asyncio.Future[Any]] = {starting, crashed, stopping, processor.halted}
    while not (crashed.done() or stopping.done() or processor.halted.done()):
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if _failure_of(starting) is not None:
            break
    failure = _failure_of(starting)
    code = _exit_code(processor, stopping, failure)
    watchdog.stop()
    await processor.drain()
    if not await _in_time(app.stop(), STOP_S_MAX):
        # Part of Faust waits for a broker that is away, and neither cancelling nor returning would end its threads.
        # Nothing is lost: what is not acknowledged is not committed.
        log.warning("stopped without Faust, which still waits for Kafka")
        _say_why(code, processor, failure)
        logging.shutdown()
        os._exit(code)
    for task in (starting, crashed, stopping, showing):
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
    _say_why(code, processor, failure)
    return code


async def _start(app: Any, on_ready: Callable[[], None]) -> None:
    await app.start()
    on_ready()


def _exit_code(processor: _Processor, stopping: asyncio.Task[Any], failure: BaseException | None) -> int:
    if processor.halted.done():
        # A door that starts from its commits again reads everything in order.
        return EXIT_STUCK if isinstance(processor.halted.result(), OutOfOrder) else EXIT_HALTED
    if stopping.done():
        return EXIT_OK
    # Kafka went away between the look for its topics and Faust's own: the next start waits for it.
    return EXIT_STUCK if isinstance(failure, KafkaError) else EXIT_CRASHED


def _failure_of(task: asyncio.Task[Any]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


def _say_why(code: int, processor: _Processor, failure: BaseException | None) -> None:
    """At the very end: whoever supervises the process shows its last words."""
    if processor.halted.done():
        error = processor.halted.result()
        how = "halted" if code == EXIT_HALTED else "ended"
        # Only our own errors promise that their text holds no input.
        log.error("%s, nothing is lost: %s", how, error if isinstance(error, UnjoinError) else type(error).__name__)
    elif code == EXIT_CRASHED:
        cause = failure or processor.app.crash_reason
        log.error("crashed (%s), nothing is lost", refusal_of(cause) or type(cause).__name__)
    elif code == EXIT_STUCK:
        why = (failure and refusal_of(failure)) or type(failure).__name__
        log.error("Kafka went away during the start (%s), nothing is lost: start again", why)


async def _in_time(work: Coroutine[Any, Any, Any], seconds_max: float) -> bool:
    """Whether it ended well in time. Unlike `wait_for`, never waits for what ignores that it was cancelled."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=seconds_max)
    if not task.done():
        task.cancel()
        return False
    return task.exception() is None


def _stop_signals() -> asyncio.Event:
    """Set on the first SIGTERM or SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


async def _topics_are_there(config: ProcessorConfig, asked_to_stop: asyncio.Event) -> bool:
    """Waits until a broker answers and has the four topics; False where it was asked to stop before."""
    wanted = {config.labeled_topic, config.released_topic, config.verdict_topic, config.dead_letter_topic}
    said = ""
    while not asked_to_stop.is_set():
        missing = await _missing(config.kafka, wanted)
        if not missing:
            return True
        if missing != said:
            log.warning("waiting for %s", missing)
            said = missing
        with suppress(TimeoutError):
            await asyncio.wait_for(asked_to_stop.wait(), LOOK_EVERY_S)
    return False


async def _keys_are_compared(keys_compared: Callable[[], bool], asked_to_stop: asyncio.Event) -> bool:
    """Waits until they are; False where it was asked to stop before."""
    said = False
    looks = 0
    while not asked_to_stop.is_set():
        if keys_compared():
            return True
        looks += 1
        if not said and looks * KEYS_EVERY_S > LOOK_EVERY_S:
            log.warning("waiting for the keys that other doors have announced")
            said = True
        with suppress(TimeoutError):
            await asyncio.wait_for(asked_to_stop.wait(), KEYS_EVERY_S)
    return False


async def _missing(kafka: KafkaAccess, wanted: set[str]) -> str:
    """What is missing, in words; empty where nothing is."""
    admin = AIOKafkaAdminClient(**kafka.client(), request_timeout_ms=5_000)
    try:
        await admin.start()
        absent = wanted - set(await admin.list_topics())
    except (KafkaError, OSError) as error:
        return f"Kafka at {kafka.bootstrap} ({await reason_of(error, kafka)})"
    finally:
        await admin.close()
    return f"topics {', '.join(sorted(absent))}" if absent else ""
