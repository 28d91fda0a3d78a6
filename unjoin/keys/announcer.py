"""Reads `keys.announcements` in a thread, announces a role's own keys there, and compares them with those in force.

    door ──▶ fingerprint, public key ──▶ keys.announcements ──▶ collectors seal labels to it
    edge ──▶ fingerprint ──────────────▶        "           ──▶ other collectors compare theirs

A key of a day is announced from `AHEAD` before the day on, and those of the two days before as well. A collector keeps
what it read in a file, so that it seals labels while Kafka is away as well.

    UnjoinError
    └── KeyringError
        ├── KeyDiffers       another host announced another key of the day first
        └── KeyUnannounced   nothing is in force yet for that day
"""

import asyncio
import datetime
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import reason_of
from schemas.topics import KEY_ANNOUNCEMENTS
from unjoin.keys.announcement import Announcement, AnnouncementError, Announcements, Role, fingerprint_of
from unjoin.keys.keyring import KeyDestroyed, Keyring, KeyringError

log = logging.getLogger(__name__)

AHEAD = datetime.timedelta(hours=6)
KEPT_DAYS = 3
LOOK_EVERY_S = 1.0
START_S_MAX = 15.0
ONE_DAY = datetime.timedelta(days=1)
SHARE = "give every host the same folder of keys, or the same secret (docs/keys.md, Several hosts)"


class KeyDiffers(KeyringError):
    """Another host of the role announced another key of the day first."""


class KeyUnannounced(KeyringError):
    """Nothing is in force for the day yet: the topic was not read so far, or nobody announced."""


class Announcer:
    """Runs while it is entered.

    Args:
        keyring: the role's own keys.
        announcement_of_key: what the role says about its key of a day.
        door_identity: see `Announcements`.
        cache: a file of what was read before; None for none.
        now: the time in UTC.
    """

    def __init__(
        self,
        *,
        kafka: KafkaAccess,
        role: Role,
        keyring: Keyring,
        announcement_of_key: Callable[[datetime.date, bytes], Announcement],
        door_identity: str,
        cache: Path | None,
        now: Callable[[], datetime.datetime],
        topic: str = KEY_ANNOUNCEMENTS,
    ) -> None:
        self._kafka = kafka
        self._role: Role = role
        self._keyring = keyring
        self._announcement_of_key = announcement_of_key
        self._door_identity = door_identity
        self._cache = cache
        self._now = now
        self._where = TopicPartition(topic, 0)
        self._said = Announcements(door_identity)
        self._read_whole = threading.Event()
        self._announced = threading.Event()
        self._problem = ""
        self._ending = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def __enter__(self) -> "Announcer":
        self._recall()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(START_S_MAX)

    @property
    def read_whole(self) -> bool:
        """Whether the topic was read to its end once."""
        return self._read_whole.is_set()

    @property
    def announced(self) -> bool:
        """Whether a key of the role was in force for each day of now once: its own, or one to compare it with."""
        return self._announced.is_set()

    def checked_key(self, day: datetime.date, *, announced: bool) -> bytes | None:
        """The role's key of a day, if it is the one in force; None where it was destroyed on record.

        Args:
            announced: whether it has to be in force already; otherwise a key that nobody contradicts passes.

        Raises:
            KeyDiffers: it is not.
            KeyUnannounced: nobody has announced one.
            KeyringError: it cannot be had.
        """
        try:
            key = self._keyring.key_of(day)
        except KeyDestroyed:
            return None
        in_force = self._said.in_force(self._role, day)
        if in_force is None:
            if announced:
                raise KeyUnannounced(
                    f"the {self._role}'s key of {day} is not announced yet; Kafka has to be reached once"
                )
            return key
        own = fingerprint_of(self._role, key)
        if own != in_force.fingerprint:
            raise KeyDiffers(
                f"this {self._role}'s key of {day} has the fingerprint {own[:8]}, and another host's is in force, "
                f"{in_force.fingerprint[:8]}: {SHARE}"
            )
        return key

    def door_public_key(self, day: datetime.date) -> bytes:
        """What labels of a day are sealed to.

        Raises:
            KeyUnannounced: no door has announced one.
        """
        in_force = self._said.in_force("door", day)
        if in_force is None:
            raise KeyUnannounced(
                f"no door has announced its public key of {day}; start one (unjoin process), or set the clocks"
            )
        return bytes.fromhex(in_force.public_key)

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        while not self._ending.is_set():  # by whoever found nothing to cancel yet
            try:
                await self._follow()
            except (KafkaError, OSError, TimeoutError) as error:
                self._say(f"keys.announcements cannot be read: {await reason_of(error, self._kafka)}")
            except KeyringError as error:  # the identity's
                self._say(f"no key is announced: {error}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(**self._kafka.client(), auto_offset_reset="earliest", group_id=None)
        async with _started(consumer):
            async with asyncio.timeout(START_S_MAX):
                if self._where.topic not in await consumer.topics():  # aiokafka would ask for it without a pause
                    topic = self._where.topic
                    return self._say(f"waiting for the topic {topic}; `unjoin topics` makes it, `--acls` shows it")
                consumer.assign([self._where])
                end = (await consumer.end_offsets([self._where]))[self._where]
            said = Announcements(self._door_identity)  # the topic is what holds, not what was known before
            while True:
                async with asyncio.timeout(START_S_MAX):
                    batches = await consumer.getmany(timeout_ms=int(LOOK_EVERY_S * 1_000))
                    for record in batches.get(self._where, []):
                        _take(said, record.value)
                    position = await consumer.position(self._where)
                if position >= end:
                    self._said = said
                    self._read_whole.set()
                    self._remember()
                    await self._announce_own()

    async def _announce_own(self) -> None:
        today = self._now().date()
        self._said.forget_before(today - KEPT_DAYS * ONE_DAY)
        # Late labels are of yesterday, and a verdict is about the day before its own as well.
        days = {today - 2 * ONE_DAY, today - ONE_DAY, today, (self._now() + AHEAD).date()}
        missing = [day for day in sorted(days) if self._said.in_force(self._role, day) is None]
        problem = ""
        own = []
        for day in missing:
            try:
                key = self._own_key(day)
            except KeyringError as error:
                problem = str(error)
                continue
            if key is not None:
                own.append(self._announcement_of_key(day, key))
        if problem:
            self._say(f"no key is announced: {problem}")
        if not own:
            if not problem:
                self._problem = ""
            self._announced.set()
            return
        producer = AIOKafkaProducer(**self._kafka.client(), acks="all")
        async with _started(producer), asyncio.timeout(START_S_MAX):
            for announcement in own:
                await producer.send_and_wait(self._where.topic, announcement.encoded(), partition=0)

    def _own_key(self, day: datetime.date) -> bytes | None:
        try:
            return self._keyring.key_of(day)
        except KeyDestroyed:
            return None

    def _recall(self) -> None:
        """What was in force when this role ran before; a file that is not whole says nothing."""
        if self._cache is None:
            return
        with suppress(OSError, msgspec.DecodeError, AnnouncementError):
            for announcement in msgspec.json.decode(self._cache.read_bytes(), type=list[Announcement]):
                self._said.take(announcement.encoded())

    def _remember(self) -> None:
        if self._cache is None:
            return
        said = msgspec.json.encode(self._said.every())
        with suppress(OSError):
            if not self._cache.exists() or self._cache.read_bytes() != said:
                draft = self._cache.with_suffix(".new")
                draft.touch(mode=0o600)
                draft.write_bytes(said)
                draft.replace(self._cache)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("%s", problem)
            self._problem = problem


@asynccontextmanager
async def _started(client: AIOKafkaConsumer | AIOKafkaProducer) -> AsyncIterator[None]:
    """A start or a stop that is cancelled is awaited all the same: aiokafka would leave connections open."""
    starting = asyncio.ensure_future(client.start())
    try:
        async with asyncio.timeout(START_S_MAX):
            await asyncio.shield(starting)
        yield
    finally:
        stopping = asyncio.ensure_future(_stopped(client, starting))
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            await stopping
            raise


async def _stopped(client: AIOKafkaConsumer | AIOKafkaProducer, starting: "asyncio.Future[None]") -> None:
    with suppress(Exception):
        async with asyncio.timeout(START_S_MAX):
            await asyncio.wait([starting])
            if not starting.cancelled():
                starting.exception()  # retrieved here, or asyncio logs it with its traceback
            await client.stop()


def _take(said: Announcements, value: bytes | None) -> None:
    try:
        said.take(value)
    except AnnouncementError as error:
        log.error("%s; it is passed over", error)
