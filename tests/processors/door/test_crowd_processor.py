"""The door with crowds, as a process on a real broker: hostile records, and a log whose beginning is gone."""

import asyncio
import datetime
import signal
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from processors.door.deidentify import deidentify
from schemas.events import IdentifiedLabel
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


def test_crowd_of_one_busy_session_is_held_and_then_suppressed_at_the_bound(bootstrap: str, start: Start) -> None:
    """Ten thousand tasks from one session hide in no crowd; memory is bounded, and the others are not kept waiting."""
    topics, port, bound = Topics(bootstrap), free_port(), 4_000
    put(topics, (label(0, task=f"task-{number}") for number in range(3_000)))
    put(topics, crowd(1))
    start(topics, crowd_labels_max=bound, metrics_port=port).wait_for("READY")
    wait_until(lambda: metric(port, "held_labels") == 3_000 + CROWD_MIN, "all of it held")
    assert topics.released_count() == 0
    put(topics, (label(0, task=f"task-{number}") for number in range(3_000, 10_000)))
    wait_until(lambda: topics.released_count() >= CROWD_MIN, "the others")
    wait_until(lambda: metric(port, 'suppressed_total{reason="crowd_bound"}') >= bound, "the bound")
    given_by_others = rows_expected(crowd(1))
    assert given_by_others <= set(topics.row_ids())
    put(topics, (label(voter, task=f"task-{number}") for voter in range(50, 60) for number in range(1_000)))
    wait_until(lambda: metric(port, "held_labels") < bound, "the next crowds")
    of_the_busy = {
        row.row_id for row in (deidentify(label(0, f"task-{n}"), epoch_key(today()), unmasked) for n in range(10_000))
    }
    row_ids = set(topics.row_ids())
    assert 2 * len(row_ids & of_the_busy) <= len(row_ids)
