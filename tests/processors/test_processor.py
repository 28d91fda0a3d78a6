"""The processor as a process, on a real broker."""

import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from processors.door.records import midnight_s
from processors.main import EXIT_HALTED, EXIT_STUCK
from schemas.codec import HEADER
from schemas.dead_letters import origin_of
from testkit.kafka_node import KafkaNode, stored_records
from testkit.seals import unsealed_value
from tests.processors.running_door import (
    CANARY,
    ROOT,
    RunningDoor,
    Topics,
    labels,
    record_of,
    rows_expected,
    today,
    wait_until,
)
from unjoin.host.kafka import free_port

pytestmark = pytest.mark.kafka

Start = Callable[..., RunningDoor]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processors, and leaves none behind."""
    running: list[RunningDoor] = []

    def start(topics: Topics, **settings: object) -> RunningDoor:
        door = RunningDoor(topics, tmp_path / f"door-{len(running)}", **settings)  # type: ignore[arg-type]
        running.append(door)
        return door

    yield start
    for door in running:
        if door.process.poll() is None:
            door.stop(signal.SIGKILL)


def test_label_leaves_with_nothing_but_its_row(bootstrap: str, start: Start) -> None:
    """Key, headers and timestamp are channels; logs are too, at the loudest level."""
    topics, given = Topics(bootstrap, 2), labels(500, today())
    door = start(topics)
    topics.put(record_of(label) for label in given)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    records = stored_records(bootstrap, topics.released)
    assert len(records) == len(given)
    assert set(topics.row_ids()) == rows_expected(given)
    for record, row in zip(records, topics.rows(), strict=True):
        assert record.key() is None
        assert not record.headers()
        assert record.timestamp()[1] == midnight_s(today()) * 1000
        assert record.partition() == row["row_id"].bytes[0] % 2
    assert door.stop() == 0
    assert CANARY not in door.said
    assert "Traceback" not in door.said


def test_unreadable_record_is_set_aside_as_found_and_its_neighbours_pass(bootstrap: str, start: Start) -> None:
    """Garbage on the topic: dead letters with the original bytes, and the stream goes on."""
    topics, given = Topics(bootstrap), labels(7, today())
    good = [record_of(label) for label in given]
    garbage: list[tuple[bytes | None, bytes | None, str]] = [
        (b"k0", None, "not_confluent"),
        (None, None, "not_confluent"),
        (b"k1", b"\x01" + good[0][1][1:], "not_confluent"),
        (b"k2", HEADER.pack(0, 999) + good[0][1][5:], "unknown_schema"),
        (b"k3", HEADER.pack(0, 1) + good[0][1][5:], "wrong_schema"),
        (b"k4", good[0][1] + b"\0", "trailing_bytes"),
        (None, good[0][1][:-2], "malformed_datum"),
    ]
    mixed = [pair for letter, label in zip(garbage, good, strict=True) for pair in (letter[:2], label)]
    topics.put(mixed)
    door = start(topics)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    assert sorted(topics.row_ids()) == sorted(rows_expected(given))
    letters = stored_records(bootstrap, topics.dead_letters)
    found = {origin.offset: (letter.key(), letter.value(), origin.reason)
             for letter in letters if (origin := origin_of(letter.headers()))}  # fmt: skip
    assert found == {2 * number: letter for number, letter in enumerate(garbage)}
    assert door.stop() == 0


def test_label_that_a_transaction_took_back_does_not_leave(bootstrap: str, start: Start) -> None:
    """Its producer was told that nobody would read it."""
    topics, given = Topics(bootstrap), labels(6, today())
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topics.group})
    producer.init_transactions(60)
    for end, some in ((producer.abort_transaction, given[:3]), (producer.commit_transaction, given[3:5])):
        producer.begin_transaction()
        for key, value in map(record_of, some):
            producer.produce(topics.labeled, value=value, key=key)
        assert producer.flush(60) == 0  # an abort drops what was not sent
        end(60)
    topics.put([record_of(given[5])])
    door = start(topics)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    assert set(topics.row_ids()) == rows_expected(given[3:])
    assert door.stop() == 0


def test_offset_that_no_door_committed_is_said(bootstrap: str, start: Start) -> None:
    """Whoever commits under its group passes over labels, and nothing else would tell."""
    topics, given = Topics(bootstrap), labels(5, today())
    topics.put(map(record_of, given))
    stray = Consumer({"bootstrap.servers": bootstrap, "group.id": topics.group, "enable.auto.commit": False})
    stray.commit(offsets=[TopicPartition(topics.labeled, 0, 3)], asynchronous=False)
    stray.close()
    door = start(topics)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    assert door.stop() == 0
    assert "no door committed offset 3; labels below it are passed over" in door.said


def test_killed_worker_loses_no_label(bootstrap: str, start: Start) -> None:
    """SIGKILL in the middle of the work: what comes again is the same row."""
    topics, given = Topics(bootstrap), labels(20_000, today())
    topics.put(record_of(label) for label in given)
    door = start(topics, session_s=2.0)  # how long its successor waits
    wait_until(lambda: topics.released_count() >= 5_000, "part of the labels")
    door.stop(signal.SIGKILL)
    assert topics.lag() > 0, "killed too late to prove anything"
    start(topics)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    assert set(topics.row_ids()) == rows_expected(given)


def test_termination_under_load_exits_0_and_loses_nothing(bootstrap: str, start: Start) -> None:
    """What was on its way arrives and is committed: the next worker repeats none of it."""
    topics, given = Topics(bootstrap, 2), labels(20_000, today())
    topics.put(record_of(label) for label in given)
    door = start(topics)
    wait_until(lambda: topics.released_count() >= 2_000, "some labels")
    assert door.stop(signal.SIGTERM, seconds_max=10.0) == 0
    assert 0 < topics.lag() < len(given), "stopped too late to prove anything"
    start(topics)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    row_ids = topics.row_ids()
    assert set(row_ids) == rows_expected(given)
    assert len(row_ids) == len(given), "a clean stop leaves nothing to repeat"


def test_second_worker_takes_its_share_and_gives_it_back(bootstrap: str, start: Start) -> None:
    """Two rebalances under load lose nothing."""
    topics, given = Topics(bootstrap, 2), labels(12_000, today())
    written, over = 0, threading.Event()

    def write() -> None:
        nonlocal written
        while not over.is_set() and written < len(given):
            topics.put(record_of(label) for label in given[written : written + 500])
            written += 500

    writer = threading.Thread(target=write)
    first = start(topics, session_s=2.0)  # by a fifth of it a member learns of another
    first.wait_for("READY")
    writer.start()
    wait_until(lambda: topics.released_count() >= 1_000, "some labels")
    second = start(topics, session_s=2.0)
    second.wait_for("assigned partitions [")
    wait_until(lambda: first.said.count("assigned partitions [") >= 2, "the first shares")
    taken = topics.released_count()
    wait_until(lambda: topics.released_count() > taken or not writer.is_alive(), "both at work")
    assert second.stop() == 0
    over.set()
    writer.join()
    wait_until(lambda: topics.lag() == 0, "everything committed")
    assert set(topics.row_ids()) == rows_expected(given[:written])
    assert first.stop() == 0


def test_lost_key_stops_the_processor_and_loses_nothing(bootstrap: str, start: Start) -> None:
    """A key that is gone without a record may come back with a backup; releasing or dropping would be final."""
    topics, given = Topics(bootstrap), labels(10, today())
    topics.put(record_of(label) for label in given)
    door = start(topics, keys="lost")
    assert door.wait() == EXIT_HALTED
    # At the very end, where whoever supervises it looks.
    assert door.said.splitlines()[-1].endswith("halted, nothing is lost: the key of the day is missing")
    assert topics.lag() == 10
    assert topics.released_count() == 0


def test_label_of_a_destroyed_key_is_suppressed_and_counted(bootstrap: str, start: Start) -> None:
    """What needs a key that was destroyed on record never leaves; verdicts are only counted."""
    topics, port = Topics(bootstrap), free_port()
    verdict = unsealed_value({"voter": bytes(32), "day": today(), "act": {"human": True}})
    topics.put([*(record_of(label) for label in labels(3, today())), (b"k", verdict), (b"k", b"garbage")])
    door = start(topics, keys="destroyed", metrics_port=port)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        shown = answer.read().decode()
    for total in (
        "released_total 0.0",
        'suppressed_total{reason="key_destroyed"} 3.0',
        "verdicts_total 1.0",
        "dead_lettered_total 1.0",
    ):
        assert f"unjoin_door_{total}" in shown
    assert topics.released_count() == 0
    assert door.stop() == 0


def test_port_that_is_taken_ends_the_door_with_a_sentence(bootstrap: str, start: Start) -> None:
    """Whoever watches it sees why, and no traceback; nothing was taken from the topic."""
    topics = Topics(bootstrap)
    topics.put(record_of(label) for label in labels(3, today()))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        door = start(topics, metrics_port=taken.getsockname()[1])
        assert door.wait() == EXIT_STUCK
    assert "Address already in use; choose another UNJOIN_METRICS_PORT" in door.said
    assert "Traceback" not in door.said
    assert topics.lag() == 3


def test_door_halts_before_a_topic_drains_into_dead_letters_and_goes_on_when_told_to(
    bootstrap: str, start: Start
) -> None:
    """As after a collector was deployed whose schema the door does not know yet: all of it waits for the right door."""
    topics, before, behind = Topics(bootstrap), labels(60, today()), labels(5, today(), first=60)
    newer = [(b"k", HEADER.pack(0, 999) + CANARY.encode()) for _ in range(2_000)]
    topics.put([*(record_of(label) for label in before), *newer, *(record_of(label) for label in behind)])
    for _ in range(2):
        door = start(topics)
        assert door.wait() == EXIT_HALTED
        last_words = door.said.splitlines()[-1]
        for said in (
            "halted, nothing is lost: 51 of the last 100",
            topics.labeled,
            "unknown_schema",
            topics.dead_letters,
        ):
            assert said in last_words
        assert "UNJOIN_DEAD_LETTER_PERCENT_MAX=100" in last_words
        assert CANARY not in door.said
    assert len(stored_records(bootstrap, topics.dead_letters)) <= 100, "two starts, each at most 50"
    assert topics.lag() >= len(newer) - 50 + len(behind)
    start(topics, dead_letter_share_max=1.0)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    assert set(topics.row_ids()) == rows_expected([*before, *behind])
    letters = {
        origin.offset for one in stored_records(bootstrap, topics.dead_letters) if (origin := origin_of(one.headers()))
    }
    assert letters == set(range(60, 2_060))


def test_worker_whose_loop_hangs_is_ended_by_its_watchdog(bootstrap: str, start: Start) -> None:
    """The loop cannot help itself; the exit code tells the supervisor to start another one."""
    topics = Topics(bootstrap)
    topics.put(record_of(label) for label in labels(3, today()))
    door = start(topics, keys="hang", watchdog_s=3.0)
    assert door.wait() == EXIT_STUCK
    assert "ending this worker" in door.said
    assert topics.lag() == 3


def test_processor_waits_for_a_broker_and_stops_when_asked(bootstrap: str, start: Start) -> None:
    """No Kafka at the start is no crash loop, and no reason to ignore SIGTERM."""
    topics = Topics(bootstrap)
    door = start(topics, bootstrap=f"127.0.0.1:{free_port()}")
    door.wait_for("waiting for Kafka at")
    assert door.stop() == 0
    assert "Traceback" not in door.said


def test_broker_that_goes_away_during_the_start_is_a_start_to_be_tried_again(tmp_path: Path) -> None:
    """Faust connects for itself, after we have found the topics; no crash, whose last words would blame the door."""
    script = """if True:
        import logging, sys
        from processors import main
        from testkit.door_config import door_config
        async def topics_are_there(config, asked_to_stop): return True
        main._topics_are_there = topics_are_there
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
        config = door_config(bootstrap=sys.argv[1], data_dir=sys.argv[2], crowd_min=20)
        sys.exit(main.run(config, lambda day: bytes(32), mask=str))
    """
    nowhere = f"127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-c", script, nowhere, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_STUCK, done.stdout + done.stderr
    assert "Kafka went away during the start (KafkaConnectionError)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_processor_waits_for_topics_that_are_missing(bootstrap: str, start: Start) -> None:
    """It never creates one: their retention is the operator's."""
    door = start(Topics(bootstrap), released_topic="not-there")
    door.wait_for("waiting for topics not-there")
    assert door.stop(signal.SIGINT) == 0


def test_outage_of_the_broker_is_waited_for(kafka_home: Path, tmp_path: Path, start: Start) -> None:
    """The broker is killed under load and comes back: no restart of the worker, nothing lost."""
    node = KafkaNode(kafka_home, tmp_path / "node", killable=True)
    node.start()
    try:
        topics, given = Topics(node.bootstrap), labels(12_000, today())
        topics.put(record_of(label) for label in given[:10_000])
        door = start(topics, session_s=2.0)
        wait_until(lambda: topics.released_count() >= 2_000, "some labels")
        node.kill()
        door.wait_for("does not answer, waiting for it")
        node.start()
        topics.put(record_of(label) for label in given[10_000:])
        wait_until(lambda: topics.lag() == 0, "everything committed", 90.0)
        assert set(topics.row_ids()) == rows_expected(given)
        node.kill()
        assert door.stop() == 0
        assert "Traceback" not in door.said
    finally:
        node.stop()
