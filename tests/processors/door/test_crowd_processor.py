"""The door with crowds, as a process on a real broker: hostile records, and a log whose beginning is gone."""

import asyncio
import datetime
import signal
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from processors.door.deidentify import deidentify
from processors.door.records import midnight_s
from schemas.events import IdentifiedLabel
from testkit.kafka_node import stored_records
from testkit.seals import unsealed_value
from testkit.unmasked import unmasked
from tests.processors.door_process import epoch_key
from tests.processors.running_door import RunningDoor, Topics, record_of, rows_expected, today, wait_until
from unjoin.host.kafka import free_port

pytestmark = pytest.mark.kafka

CROWD_MIN = 5
Start = Callable[..., RunningDoor]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processors with crowds, and leaves none behind."""
    running: list[RunningDoor] = []

    def start(topics: Topics, **settings: object) -> RunningDoor:
        door = RunningDoor(topics, tmp_path / f"door-{len(running)}", **{"crowd_min": CROWD_MIN, **settings})
        running.append(door)
        return door

    yield start
    for door in running:
        if door.process.poll() is None:
            door.stop(signal.SIGKILL)


def label(voter: int, task: str = "t", answer: str = "yes", day: datetime.date | None = None) -> IdentifiedLabel:
    name = f"voter-{voter:010d}".encode().ljust(32, b".")
    return IdentifiedLabel(voter=name, day=day or today(), kind="text_answer", task=task, answer=answer)


def crowd(first: int) -> list[IdentifiedLabel]:
    """One label each of as many voters as a crowd needs."""
    return [label(voter) for voter in range(first, first + CROWD_MIN)]


def put(topics: Topics, given: Iterable[IdentifiedLabel]) -> None:
    topics.put(record_of(one) for one in given)


def metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"unjoin_door_{name} "))


def forget_before(topics: Topics, offset: int) -> None:
    """What retention does, at once."""

    async def forget() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=topics.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(topics.labeled, 0): RecordsToDelete(offset)})
        finally:
            await admin.close()

    asyncio.run(forget())


def test_unreadable_record_at_the_beginning_of_a_range_costs_no_label(bootstrap: str, start: Start) -> None:
    """The range begins at the record that was read first, whether or not anything could be made of it."""
    topics = Topics(bootstrap)
    topics.put([(b"k", b"garbage")])
    put(topics, crowd(0))
    door = start(topics)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    assert set(topics.row_ids()) == rows_expected(crowd(0))
    door.stop()
    topics.put([(b"k", b"garbage")])
    put(topics, crowd(100))
    start(topics)
    wait_until(lambda: topics.lag() == 0, "everything committed")
    assert sorted(topics.row_ids()) == sorted(rows_expected([*crowd(0), *crowd(100)]))


def test_what_is_left_of_a_range_whose_beginning_expired_is_never_released(bootstrap: str, start: Start) -> None:
    """A crowd may have left that range without being committed; its rest among others could be told by subtraction."""
    topics, port = Topics(bootstrap), free_port()
    put(topics, crowd(0))
    put(topics, crowd(100)[:-1])
    door = start(topics)
    wait_until(lambda: topics.lag() == CROWD_MIN - 1, "the crowd's range committed, the rest held")
    door.stop()
    forget_before(topics, CROWD_MIN + 2)
    put(topics, crowd(200))
    start(topics, metrics_port=port).wait_for("READY")
    wait_until(lambda: topics.lag() == 0, "what was there is suppressed")
    assert set(topics.row_ids()) == rows_expected(crowd(0))
    assert metric(port, 'suppressed_total{reason="expired"}') == (CROWD_MIN - 1) + CROWD_MIN
    put(topics, crowd(300))
    wait_until(lambda: topics.lag() == 0, "the next crowd")
    assert set(topics.row_ids()) == rows_expected([*crowd(0), *crowd(300)])


def test_records_that_expired_before_a_whole_range_cost_nothing_else(bootstrap: str, start: Start) -> None:
    """Retention takes what was committed long ago: no reason to suppress anything."""
    topics = Topics(bootstrap)
    put(topics, crowd(0))
    door = start(topics)
    wait_until(lambda: topics.lag() == 0, "the first crowd")
    door.stop()
    forget_before(topics, CROWD_MIN)
    put(topics, crowd(100))
    start(topics)
    wait_until(lambda: topics.lag() == 0, "the second crowd")
    assert sorted(topics.row_ids()) == sorted(rows_expected([*crowd(0), *crowd(100)]))


def test_ten_thousand_answers_of_one_session_to_one_task_are_one_vote(bootstrap: str, start: Start) -> None:
    """Who answers often is one voter with one vote, and the same of its answers is kept whatever their order."""
    topics = Topics(bootstrap)
    stubborn = [label(0, answer=f"answer {number}") for number in range(10_000)]
    put(topics, stubborn)
    put(topics, crowd(1)[:-1])
    start(topics)
    wait_until(lambda: topics.lag() == 0, "the crowd")
    kept = max((deidentify(one, epoch_key(one.day), unmasked) for one in stubborn), key=lambda row: row.version)
    rows = {str(row["row_id"]): row["answer"] for row in topics.rows()}
    assert len(topics.rows()) == len(rows) == CROWD_MIN
    assert rows[kept.row_id] == kept.answer


def test_busy_session_fills_the_bound_and_delays_the_others_by_no_more_than_the_wait(
    bootstrap: str, start: Start
) -> None:
    """Ten thousand tasks from one session hide in no crowd; memory is bounded, and nobody waits for what it posts."""
    topics, port, bound, wait_ms = Topics(bootstrap), free_port(), 4_000, 8_000
    put(topics, (label(0, task=f"task-{number}") for number in range(10_000)))
    put(topics, crowd(1))
    start(topics, crowd_labels_max=bound, crowd_wait_ms=wait_ms, metrics_port=port).wait_for("READY")
    wait_until(lambda: metric(port, "held_labels") == bound, "as much held as may be")
    over = 10_000 + CROWD_MIN - bound
    wait_until(lambda: metric(port, 'suppressed_total{reason="crowd_bound"}') == over, "the rest suppressed")
    assert topics.released_count() == 0
    others = set[str]()

    def others_left() -> bool:
        # A crowd leaves with a record, and by then its wait is over.
        nobody = label(100 + len(others))
        others.add(str(nobody.voter))
        put(topics, [nobody])
        return topics.released_count() >= CROWD_MIN

    wait_until(others_left, "the others")
    row_ids = set(topics.row_ids())
    assert rows_expected(crowd(1)) <= row_ids
    of_the_busy = rows_expected(label(0, task=f"task-{number}") for number in range(10_000))
    assert 2 * len(row_ids & of_the_busy) <= len(row_ids)
    wait_until(lambda: metric(port, 'suppressed_total{reason="over_share"}') > bound / 2, "its surplus")


def verdict(voter: int, *, human: bool) -> tuple[bytes, bytes]:
    """A verdict on the voter of `label`."""
    name = label(voter).voter
    act = ("unjoin.Verdict", {"human": human})
    return name, unsealed_value({"voter": name, "day": today(), "act": act})


def test_verdict_holds_for_its_day_over_kills_restarts_and_a_log_that_forgot_it(bootstrap: str, start: Start) -> None:
    """The log lives for hours; what a bot goes on answering must not leave when the log has forgotten its verdict."""
    topics = Topics(bootstrap)
    put(topics, crowd(0))
    topics.put([verdict(0, human=False)])
    door = start(topics, session_s=2.0)  # how long its successor waits
    wait_until(lambda: topics.lag() == 0, "the crowd, and the verdict after it")
    put(topics, [label(0, "later"), *crowd(100)[:-1]])
    door.stop(signal.SIGKILL)
    forget_before(topics, CROWD_MIN + 1)
    door = start(topics)
    put(topics, [label(0, "latest"), label(200)])
    wait_until(lambda: topics.lag() == 0, "the next crowd, without the bot")
    expected = [*crowd(0), *crowd(100)[:-1], label(200)]
    assert set(topics.row_ids()) == rows_expected(expected)
    topics.put([verdict(0, human=True)])
    door.stop()
    start(topics)
    put(topics, [label(0, "forgiven"), *crowd(300)[:-1]])
    wait_until(lambda: topics.lag() == 0, "a crowd with the voter that was judged again")
    assert set(topics.row_ids()) == rows_expected([*expected, label(0, "forgiven"), *crowd(300)[:-1]])


def test_verdict_topic_holds_no_voter_and_no_row(bootstrap: str, start: Start) -> None:
    """What lies there for two days joins nothing: not a session, not a record of the log, not a label."""
    topics = Topics(bootstrap)
    put(topics, crowd(0))
    topics.put([verdict(number, human=False) for number in range(3)])
    start(topics)
    wait_until(lambda: topics.lag() == 0, "the crowd and the verdicts")
    records = stored_records(bootstrap, topics.verdicts)
    assert len(records) == 3
    secrets = [label(number).voter for number in range(3)]
    secrets += [uuid.UUID(row).bytes for row in topics.row_ids()]
    for record in records:
        assert not record.headers()
        assert record.timestamp()[1] == midnight_s(today()) * 1_000
        for secret in secrets:
            assert secret[:8] not in (record.key() or b"") + (record.value() or b"")
