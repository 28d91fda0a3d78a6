"""Roles that compare their keys over a real topic."""

import asyncio
import datetime
import gc
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.kafka_access import KafkaAccess
from schemas.seal import public_key_of
from unjoin.keys.announcement import Announcement, Role, door_announcement, edge_announcement
from unjoin.keys.announcer import Announcer, KeyDiffers, KeyUnannounced, _started
from unjoin.keys.identity import door_identity
from unjoin.keys.keyring import KeyLost, Keyring

pytestmark = pytest.mark.kafka
NOON = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC)
TODAY = NOON.date()
IDENTITY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SECONDS_MAX = 60.0


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def announcer(
    bootstrap: str, topic: str, role: Role, folder: Path, cache: Path | None = None, now: datetime.datetime = NOON
) -> Announcer:
    def said(day: datetime.date, key: bytes) -> Announcement:
        return edge_announcement(day, key) if role == "edge" else door_announcement(day, key, IDENTITY)

    return Announcer(
        kafka=KafkaAccess(bootstrap),
        role=role,
        keyring=Keyring(folder),
        announcement_of_key=said,
        door_identity="",
        cache=cache,
        now=lambda: now,
        topic=topic,
    )


def is_in_force(one: Announcer, day: datetime.date) -> bool:
    try:
        one.checked_key(day, announced=True)
    except KeyUnannounced:
        return False
    return True


@pytest.fixture
def topic(bootstrap: str) -> str:
    name = f"test.keys.{uuid.uuid4().hex}"

    async def make() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1)])
        await admin.close()

    asyncio.run(make())
    return name


def test_collector_seals_to_the_key_that_the_door_announced(bootstrap: str, topic: str, tmp_path: Path) -> None:
    """Nothing else ties the two: no shared file, no configuration."""
    with announcer(bootstrap, topic, "edge", tmp_path / "edge", tmp_path / "cache") as edge:
        with pytest.raises(KeyUnannounced, match="start one"):
            edge.door_public_key(TODAY)
        with announcer(bootstrap, topic, "door", tmp_path / "door") as door:
            until(lambda: is_in_force(door, TODAY) and is_in_force(edge, TODAY))
            key = door.checked_key(TODAY, announced=True)
        assert key is not None
        until(lambda: edge._said.in_force("door", TODAY) is not None)
        assert edge.door_public_key(TODAY) == public_key_of(key)
    away = announcer("127.0.0.1:1", topic, "edge", tmp_path / "edge", tmp_path / "cache")
    with away:
        assert away.door_public_key(TODAY) == public_key_of(key)
        assert away.checked_key(TODAY, announced=True) is not None


def test_announcer_that_is_stopped_before_its_thread_began_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to cancel yet; a role would stand still for 15 seconds, and the thread go on for ever."""
    began = threading.Event()
    run = Announcer._run

    def run_late(one: Announcer) -> None:
        began.wait(SECONDS_MAX)
        run(one)

    monkeypatch.setattr(Announcer, "_run", run_late)
    with announcer("127.0.0.1:1", "topic", "edge", tmp_path / "edge") as one:
        threading.Timer(0.2, began.set).start()
    assert not one._thread.is_alive()


@pytest.mark.parametrize("role", ["edge", "door"])
def test_second_host_with_another_key_of_the_day_is_refused(
    bootstrap: str, topic: str, tmp_path: Path, role: Role
) -> None:
    """Two collectors with folders of their own make two voters of one session, silently; two doors two rows."""
    with announcer(bootstrap, topic, role, tmp_path / "one") as one:
        until(lambda: is_in_force(one, TODAY))
        with announcer(bootstrap, topic, role, tmp_path / "two") as two:
            until(lambda: two.read_whole)
            with pytest.raises(KeyDiffers, match=r"same folder of keys, or the same secret \(docs/keys.md"):
                two.checked_key(TODAY, announced=False)
        with announcer(bootstrap, topic, role, tmp_path / "one") as same:
            until(lambda: same.read_whole)
            assert same.checked_key(TODAY, announced=True) == one.checked_key(TODAY, announced=True)


def test_key_of_tomorrow_is_announced_hours_before_it_is_needed(bootstrap: str, topic: str, tmp_path: Path) -> None:
    """At midnight nobody waits for a door, or for Kafka."""
    evening = NOON.replace(hour=19)
    tomorrow = TODAY + datetime.timedelta(days=1)
    with announcer(bootstrap, topic, "door", tmp_path / "door", now=evening) as door:
        until(lambda: is_in_force(door, tomorrow))
    with announcer(bootstrap, topic, "edge", tmp_path / "edge") as edge:
        until(lambda: edge.read_whole)
        assert edge.door_public_key(tomorrow)
        assert not (tmp_path / "edge" / f"{tomorrow}.key").exists()


def test_collector_whose_clock_is_a_day_ahead_has_no_key_to_seal_to_and_one_that_is_behind_has(
    bootstrap: str, topic: str, tmp_path: Path
) -> None:
    """Labels of a day that the door does not know yet would wait where nobody reads them; yesterday's are read."""
    with announcer(bootstrap, topic, "door", tmp_path / "door") as door:
        until(lambda: door.announced)
        ahead, behind = (NOON + datetime.timedelta(days=days) for days in (1, -1))
        with announcer(bootstrap, topic, "edge", tmp_path / "edge", now=ahead) as edge:
            until(lambda: edge.announced)
            with pytest.raises(KeyUnannounced, match="set the clocks"):
                edge.door_public_key(ahead.date())
        with announcer(bootstrap, topic, "edge", tmp_path / "edge", now=behind) as edge:
            until(lambda: edge.announced)
            assert edge.checked_key(behind.date(), announced=True)
            key = door.checked_key(behind.date(), announced=False)
            assert key is not None
            assert edge.door_public_key(behind.date()) == public_key_of(key)


def test_late_labels_and_verdicts_find_the_keys_of_the_days_before(bootstrap: str, topic: str, tmp_path: Path) -> None:
    """A system that was set up just after midnight gets labels of yesterday; a verdict is about the day before, too."""
    with announcer(bootstrap, topic, "door", tmp_path / "door") as door:
        until(lambda: door.announced)
        for days in (0, 1, 2):
            assert door.checked_key(TODAY - datetime.timedelta(days=days), announced=True)


def test_lost_key_of_one_day_does_not_keep_the_others_from_being_announced(
    bootstrap: str, topic: str, tmp_path: Path
) -> None:
    """Whoever needs it stops when it is needed; labels of today need it not."""
    yesterday = TODAY - datetime.timedelta(days=1)
    Keyring(tmp_path / "door").key_of(yesterday)
    (tmp_path / "door" / f"{yesterday}.key").unlink()
    with announcer(bootstrap, topic, "door", tmp_path / "door") as door:
        until(lambda: door.announced)
        assert door.checked_key(TODAY, announced=True)
        with pytest.raises(KeyLost):
            door.checked_key(yesterday, announced=False)


def test_identity_of_a_door_lasts_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Its fingerprint is pinned in collectors' settings, so a restart must not change it."""
    first = door_identity(tmp_path / "epoch")
    assert door_identity(tmp_path / "epoch").private_bytes_raw() == first.private_bytes_raw()
    assert (tmp_path / "epoch" / "identity").stat().st_mode & 0o777 == 0o600
    assert Keyring(tmp_path / "epoch").days() == []


def test_identity_that_is_there_is_read_without_a_write(tmp_path: Path) -> None:
    """Keys that a Secret holds are mounted read-only, and a door that has them still announces."""
    door_identity(tmp_path)
    before = tmp_path.stat().st_mtime_ns
    door_identity(tmp_path)
    assert tmp_path.stat().st_mtime_ns == before


def test_start_that_fails_after_it_was_cancelled_leaves_no_traceback_behind() -> None:
    """A role that is told to stop while brokers refuse it ends with its own last words."""

    class Client:
        refused = asyncio.Event()

        async def start(self) -> None:
            await self.refused.wait()
            raise KafkaConnectionError("refused")

        async def stop(self) -> None:
            """Nothing runs."""

    async def enter(client: Any) -> None:
        async with _started(client):
            raise AssertionError("unreachable")

    async def main() -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        client = Client()
        entering = asyncio.create_task(enter(client))
        await asyncio.sleep(0)
        entering.cancel()
        asyncio.get_running_loop().call_soon(client.refused.set)
        await asyncio.gather(entering, return_exceptions=True)
        del entering
        gc.collect()
        return said

    assert asyncio.run(main()) == []


def test_stop_in_the_middle_of_a_stop_leaves_no_connection_open() -> None:
    """A process that ends just after its announcement would else leave a producer that nobody closes."""

    class Client:
        stopping, stopped = asyncio.Event(), False

        async def start(self) -> None:
            pass

        async def stop(self) -> None:
            self.stopping.set()
            await asyncio.sleep(0)
            self.stopped = True

    async def main() -> None:
        client: Any = Client()

        async def used() -> None:
            async with _started(client):
                pass

        task = asyncio.create_task(used())
        await client.stopping.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.stopped

    asyncio.run(main())
