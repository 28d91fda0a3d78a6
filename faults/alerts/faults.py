"""One fault an alert: made for as long as its context lasts, and mended at its end."""

import contextlib
import datetime
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from faults.alerts.environment import Environment
from faults.chaos.parts import end

LOAD_RATE = 100


class Fault(msgspec.Struct, frozen=True):
    """What is done, and the alert that has to tell of it.

    Attributes:
        alert: without `Unjoin`.
        seconds_max: until it has to fire, with windows that are 15 times shorter.
        instance: the role that it has to be about; "" for any.
    """

    alert: str
    what: str
    make: Callable[[Environment], AbstractContextManager[object]]
    seconds_max: float = 90.0
    instance: str = ""


def _kills(environment: Environment) -> AbstractContextManager[object]:
    """A door that is ended whenever it was seen again."""

    def kill() -> None:
        if environment.prometheus.query('up{instance="processor"} == 1'):
            end(environment.pid("processor"), signal.SIGKILL)

    return _again_and_again(kill, 8.0)


def _stutters(role: str, held_s: float, runs_s: float) -> Callable[[Environment], AbstractContextManager[object]]:
    """A role that gets little of the processor."""

    def make(environment: Environment) -> AbstractContextManager[object]:
        def hold() -> None:
            with environment.paused(role):
                time.sleep(held_s)

        return _again_and_again(hold, runs_s)

    return make


@contextmanager
def _slow_door(environment: Environment) -> Iterator[None]:
    """More labels than a door can take that gets a tenth of a processor."""
    environment.load(1_500, "--categories", "labeled")
    try:
        with _stutters("processor", 0.9, 0.1)(environment):
            yield
    finally:
        environment.load(LOAD_RATE)


@contextmanager
def _again_and_again(act: Callable[[], None], every_s: float) -> Iterator[None]:
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            with contextlib.suppress(AssertionError, ProcessLookupError):
                act()
            over.wait(every_s)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _kafka_paused(environment: Environment) -> Iterator[None]:
    environment.kafka.pause()
    try:
        yield
    finally:
        environment.kafka.resume()


@contextmanager
def _full_spool(environment: Environment) -> Iterator[None]:
    environment.load(3_000, "--categories", "analytics", "--concurrency", "200")
    try:
        with _kafka_paused(environment):
            yield
    finally:
        environment.load(LOAD_RATE)


@contextmanager
def _disk_full(environment: Environment) -> Iterator[None]:
    ballast = environment.disk.folder / "ballast"  # roles before a server hold little, and tell whole MiB
    ballast.write_bytes(bytes(67_108_864))
    environment.disk.fill()
    try:
        yield
    finally:
        environment.disk.relieve()
        ballast.unlink()


@contextmanager
def _broken_sites(environment: Environment) -> Iterator[None]:
    file = environment.folder / "data" / "sites" / "sites.json"
    good = file.read_bytes()
    file.write_bytes(b"{")
    try:
        yield
    finally:
        file.write_bytes(good)


@contextmanager
def _key_that_stays(environment: Environment) -> Iterator[None]:
    """A folder in the place of an old key cannot be unlinked as a file is."""
    stuck = environment.folder / "data" / "keys" / "edge" / "2026-01-01.key"
    stuck.mkdir()
    try:
        yield
    finally:
        stuck.rmdir()


@contextmanager
def _key_gone(environment: Environment) -> Iterator[None]:
    today = datetime.datetime.now(datetime.UTC).date()
    key = environment.folder / "data" / "keys" / "edge" / f"{today}.key"
    away = environment.folder / key.name
    key.rename(_same_disk(away, key))
    try:
        yield
    finally:
        _same_disk(away, key).rename(key)


def _same_disk(away: Path, key: Path) -> Path:
    return key.parents[2] / away.name


def _garbage(topic: str) -> Callable[[Environment], AbstractContextManager[object]]:
    @contextmanager
    def make(environment: Environment) -> Iterator[None]:
        producer = Producer({"bootstrap.servers": environment.kafka.bootstrap})
        for _ in range(5):
            producer.produce(topic, b"no record of ours", partition=0)
        producer.flush(30)
        yield

    return make


@contextmanager
def _refusing_table(environment: Environment) -> Iterator[None]:
    environment.sql("ALTER TABLE unjoin.signals ADD CONSTRAINT nothing CHECK 0")
    try:
        yield
    finally:
        environment.sql("ALTER TABLE unjoin.signals DROP CONSTRAINT nothing")


@contextmanager
def _server_paused(environment: Environment) -> Iterator[None]:
    pid = environment.engine.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _cut_log(role: str, topic: str, partitions: int) -> Callable[[Environment], AbstractContextManager[object]]:
    """What a role has not read is deleted, as retention does."""

    @contextmanager
    def make(environment: Environment) -> Iterator[None]:
        with environment.paused(role) as pid:
            _posted(environment, "lost")
            time.sleep(2)  # it may be in the spool for a moment
            admin = AdminClient({"bootstrap.servers": environment.kafka.bootstrap})
            ends = [TopicPartition(topic, number, -1) for number in range(partitions)]
            for done in admin.delete_records(ends).values():
                done.result(30)
            os.kill(pid, signal.SIGKILL)
        yield

    return make


def _posted(environment: Environment, session: str) -> None:
    """A label and a signal."""
    now = int(time.time() * 1_000)
    events = [
        {"id": f"{session}-1", "type": "image_label", "ts": now, "task": "t", "answer": "beagle"},
        {"id": f"{session}-2", "type": "scroll", "ts": now, "t": [0], "x": [0], "y": [0]},
    ]
    status, answer = environment.stack.post({"sent_at": 0, "session": session, "events": events})
    assert status == 200, answer


@contextmanager
def _old_votes(environment: Environment) -> Iterator[None]:
    """Labels of one session, and 40 minutes pass."""
    environment.load(0)
    time.sleep(2)
    _posted(environment, "alone")
    environment.clock.set(45 * 60)
    try:
        yield
    finally:
        environment.clock.set(0)
        environment.load(LOAD_RATE)


@contextmanager
def _rows_gone(environment: Environment) -> Iterator[None]:
    environment.sql(
        "ALTER TABLE unjoin.analytics DELETE WHERE cityHash64(event_id) % 50 = 0 SETTINGS mutations_sync = 2"
    )
    environment.audit()
    yield


@contextmanager
def _no_audit_for_two_days(environment: Environment) -> Iterator[None]:
    text = environment.audit_file.read_text().splitlines()
    old = [
        f"unjoin_audit_finished_seconds {time.time() - 172_800}" if "finished_seconds 1" in line else line
        for line in text
    ]
    environment.audit_file.write_text("\n".join(old) + "\n")
    try:
        yield
    finally:
        environment.audit()


@contextmanager
def _too_much(environment: Environment) -> Iterator[None]:
    """More requests than a collector can answer that hardly gets the processor."""
    command = [
        *environment.stack.python,
        "simulate",
        "--events",
        "2000000",
        "--concurrency",
        "400",
        "--batch-events",
        "5",
    ]
    with (environment.folder / "flood.log").open("wb") as log:
        flood = subprocess.Popen(command, env=environment.stack.environment, stdout=log, stderr=log)
    try:
        with _stutters("collector", 0.3, 0.03)(environment):
            yield
    finally:
        flood.kill()
        flood.wait()


def _paused(role: str) -> Callable[[Environment], AbstractContextManager[object]]:
    return lambda environment: environment.paused(role)


FAULTS = (
    Fault("RoleDown", "the collector holds still", _paused("collector")),
    Fault("RoleHalts", "the door is killed whenever it is there again", _kills, 180),
    Fault("SpoolInUse", "Kafka holds still", _kafka_paused),
    Fault("SpoolFilling", "Kafka holds still, under load, with a spool of 4 MiB", _full_spool),
    Fault("CollectorNotReady", "the same, until the spool is full", _full_spool, 180),
    Fault("SitesBroken", "the file of sites holds `{`", _broken_sites),
    Fault("KeysOverdue", "an edge key that cannot be unlinked", _key_that_stays, 150),
    Fault("EdgeKeyMissing", "today's edge key is moved away", _key_gone, 120),
    Fault("DiskFilling", "the roles' disk has no room left", _disk_full),
    Fault("DeadLetters", "five records that are none, on events.signals", _garbage("events.signals"), instance="sink"),
    Fault("DeadLetters", "five records that are none, on events.labeled", _garbage("events.labeled"), 150, "processor"),
    Fault("DoorWithoutProgress", "Kafka holds still, seen by the door", _kafka_paused),
    Fault("DoorLags", "1,500 labels/s, the door runs 100 ms of each second", _slow_door, 180),
    Fault("LabelsExpired", "retention takes labels before the door", _cut_log("processor", "events.labeled", 1), 180),
    Fault("LabelsExpiring", "one session answers, and 45 minutes pass", _old_votes, 180),
    Fault("SinkLags", "ClickHouse holds still", _server_paused, 240),
    Fault("SinkExpired", "retention takes signals before the sink", _cut_log("sink", "events.signals", 2), 120),
    Fault("InsertsRefused", "a constraint that no row meets", _refusing_table, 120),
    Fault("AuditStale", "the last audit is two days old", _no_audit_for_two_days),
    Fault("Overloaded", "400 clients at once, the collector runs 30 ms of each 330", _too_much, 180),
    Fault("AuditDifference", "every fiftieth row of analytics is deleted", _rows_gone),
)
"""`InternalErrors` alone has none: it takes a bug."""
