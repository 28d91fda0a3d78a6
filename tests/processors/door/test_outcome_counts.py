"""The door's durable totals: what a commit says is the truth about everything below its offset."""

import asyncio
import datetime
import random
import signal
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.door.crowd import Crowd
from processors.door.outcome_counts import OutcomeCounts
from processors.door.release import Door
from processors.door.verdicts import JudgedVoters, StoredVerdict
from processors.faust_app.batch_handler import StartingPoint
from processors.faust_app.commits import Commits, Partition
from processors.faust_app.committed import CommittedOffsets
from schemas.kafka_access import KafkaAccess
from schemas.outcomes import Suppression
from testkit.door_config import crowd_rule
from testkit.seals import unsealed_value
from testkit.unmasked import unmasked
from tests.processors.door.test_crowd_processor import forget_before
from tests.processors.door_process import epoch_key
from tests.processors.faust_app.test_batch_handler import HeldMessage, MemoryProducer, deliver, handler_of
from tests.processors.running_door import RunningDoor, Topics, labels, record_of, today, wait_until

PARTITION = ("labeled", 0)
COUNTS = st.integers(0, 1 << 40)


@given(
    st.builds(
        OutcomeCounts,
        since=COUNTS, released=COUNTS, collapsed=COUNTS, verdicts=COUNTS, dead_lettered=COUNTS, expired=COUNTS,
        suppressed=st.dictionaries(st.sampled_from(Suppression), COUNTS),
    )
)  # fmt: skip
def test_what_a_commit_says_is_read_back(counts: OutcomeCounts) -> None:
    """The metadata is all that survives a crash, and a coordinator keeps 4,096 bytes of it."""
    assert OutcomeCounts.of(counts.metadata()) == counts
    assert len(counts.metadata()) < 512


def test_metadata_of_the_version_before_is_read() -> None:
    """Whoever goes on after an upgrade goes on counting, and not from nothing."""
    before = (
        '{"since":0,"released":40,"collapsed":3,"verdicts":2,"dead_lettered":1,"expired":0,'
        '"suppressed":{"not_human":4,"crowd_bound":5,"expired":6,"key_destroyed":7}}'
    )
    found = OutcomeCounts.of(before)
    assert found is not None
    assert found.records == 68


@pytest.mark.parametrize("metadata", ["", "leader", "7", "{}", '{"since":-1}', '{"since":0,"released":-5}', "[" * 99])
def test_metadata_that_no_door_wrote_is_no_tally(metadata: str) -> None:
    """Operators reset offsets with tools of their own: counting begins anew where they put them, and says so."""
    assert OutcomeCounts.of(metadata) is None
    assert OutcomeCounts.resumed(40, metadata, 40) == OutcomeCounts(since=40)


def test_records_that_the_log_dropped_unread_are_counted_as_expired() -> None:
    """The offset jumps over them, and nobody else will ever know."""
    found = OutcomeCounts(since=0, released=40).metadata()
    assert OutcomeCounts.resumed(40, found, 47) == OutcomeCounts(since=0, released=40, expired=7)
    assert OutcomeCounts.resumed(None, "", 7) == OutcomeCounts(since=0, expired=7)
    assert OutcomeCounts.resumed(40, found, 3) == OutcomeCounts(since=3), (
        "the log went back: what lies there now was never counted"
    )


def value_of(chance: random.Random, day: datetime.date) -> bytes:
    """A vote, a repeated or changed one, a verdict, or garbage."""
    voter = bytes([chance.randrange(6)]) * 32
    kind = chance.random()
    if kind < 0.1:
        return b"garbage"
    if kind < 0.2:
        return unsealed_value({"voter": voter, "day": day, "act": {"human": chance.random() < 0.5}})
    act = {"kind": "text_answer", "task": chance.choice("ab"), "answer": chance.choice("xyz")}
    return unsealed_value({"voter": voter, "day": day, "act": act})


class Coordinator:
    """Keeps the last commit and the stored verdicts, as a broker does."""

    def __init__(self) -> None:
        self.commit: tuple[int | None, str] = (None, "")
        self.verdicts: list[StoredVerdict] = []

    async def starting_points(self, partitions: Collection[Partition]) -> dict[Partition, StartingPoint]:
        return {one: StartingPoint(*self.commit, self.verdicts) for one in partitions}


@pytest.mark.parametrize("seed", range(30))
def test_offset_and_totals_agree_at_every_commit_and_after_every_kill(seed: int) -> None:
    """A door killed at any moment goes on from a commit; the whole log is counted once, whatever was read again."""
    chance = random.Random(seed)
    log = [value_of(chance, today()) for _ in range(120)]
    keys = {today(): None if seed % 5 == 0 else epoch_key(today())}

    def open_door(judged: JudgedVoters) -> Door:
        crowd = Crowd(crowd_rule(4, crowd_labels_max=7, crowd_hold_ms_max=1_000))
        return Door(lambda day: keys[day], unmasked, crowd, partition=0, judged=judged)

    async def one_life(coordinator: Coordinator, generation: int, lives_for: int, seen: list[OutcomeCounts]) -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, open_door)
        handler._starting_points = coordinator.starting_points
        at = coordinator.commit[0] or 0
        for _ in range(lives_for):
            batch = [
                HeldMessage(offset, log[offset], generation)
                for offset in range(at, min(at + chance.randint(1, 9), 120))
            ]
            if not batch:
                break
            await handler.handle(deliver(commits, batch))
            coordinator.verdicts = [*coordinator.verdicts, *producer.verdicts()]
            at = batch[-1].offset + 1
            commits.offer()
            if chance.random() < 0.5 and (offset := commits.committable((batch[0].topic, 0))) is not None:
                metadata = commits.metadata_of((batch[0].topic, 0), offset)
                assert metadata is not None
                coordinator.commit = (offset, metadata)
                counts = OutcomeCounts.of(metadata)
                assert counts is not None
                assert counts.since + counts.records == offset
                seen.append(counts)

    async def scenario() -> None:
        coordinator, seen = Coordinator(), list[OutcomeCounts]()
        for generation in range(200):
            await one_life(coordinator, generation, chance.randint(1, 12), seen)
        straight, once = Coordinator(), list[OutcomeCounts]()
        while (straight.commit[0] or 0) < (coordinator.commit[0] or 0):
            await one_life(straight, 1_000, 500, once)
        assert seen
        by_offset = {counts.records: counts for counts in once}
        assert all(by_offset[counts.records] == counts for counts in seen if counts.records in by_offset)

    asyncio.run(scenario())


@pytest.mark.kafka
def test_door_that_was_killed_and_whose_log_expired_goes_on_from_the_totals_that_lie_with_the_offset(
    bootstrap: str, tmp_path: Path
) -> None:
    """On the real coordinator: its metadata is atomic with the offset, and is kept while no door runs."""
    topics = Topics(bootstrap)
    partition = (topics.labeled, 0)

    def committed() -> OutcomeCounts:
        offset, metadata = asyncio.run(CommittedOffsets(KafkaAccess(bootstrap), topics.group).of(partition))
        counts = OutcomeCounts.of(metadata)
        assert counts is not None, "an offset was committed that says nothing of the records below it"
        assert counts.since + counts.records == offset
        return counts

    votes = [record_of(label) for label in labels(6, today())]
    topics.put([*votes[:3], (b"k", b"garbage"), *votes[:3], *votes[3:]])
    door = RunningDoor(topics, tmp_path / "first", crowd_min=6, session_s=2.0)  # how long its successor waits
    wait_until(lambda: topics.lag() == 0, "the crowd committed")
    assert committed() == OutcomeCounts(since=0, released=6, collapsed=3, dead_lettered=1)
    topics.put(votes[:4])
    door.stop(signal.SIGKILL)
    forget_before(topics, 12)
    topics.put([record_of(label) for label in labels(6, today(), first=100)])
    door = RunningDoor(topics, tmp_path / "second", crowd_min=6)
    wait_until(lambda: topics.lag() == 0, "what was there when the door came back is suppressed")
    door.stop()
    assert committed() == OutcomeCounts(
        since=0, released=6, collapsed=3, dead_lettered=1, expired=2, suppressed={Suppression.EXPIRED: 8}
    )
