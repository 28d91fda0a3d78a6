"""The door's durable totals: what a commit says is the truth about everything below its offset."""

import asyncio
import datetime
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.door.crowd import Crowd
from processors.door.crowd_release import CrowdDoor
from processors.door.deidentify import unmasked
from processors.door.release import Door
from processors.door.tally import Tally
from processors.faust_app.commits import Commits
from processors.faust_app.committed import CommittedOffsets
from schemas.codec import encode
from schemas.outcomes import Suppression
from tests.processors.door.test_crowd_processor import forget_before
from tests.processors.door_process import epoch_key
from tests.processors.faust_app.test_batch_handler import HeldMessage, Shelf, deliver, passage_of
from tests.processors.running_door import RunningDoor, Topics, labels, record_of, today, wait_until

PARTITION = ("labeled", 0)
COUNTS = st.integers(0, 1 << 40)


@given(
    st.builds(
        Tally,
        since=COUNTS, released=COUNTS, collapsed=COUNTS, verdicts=COUNTS, dead_lettered=COUNTS, expired=COUNTS,
        suppressed=st.dictionaries(st.sampled_from(Suppression), COUNTS),
    )
)  # fmt: skip
def test_what_a_commit_says_is_read_back(tally: Tally) -> None:
    """The metadata is all that survives a crash, and a coordinator keeps 4,096 bytes of it."""
    assert Tally.of(tally.metadata()) == tally
    assert len(tally.metadata()) < 512


@pytest.mark.parametrize("metadata", ["", "leader", "7", "{}", '{"since":-1}', '{"since":0,"released":-5}', "[" * 99])
def test_metadata_that_no_door_wrote_is_no_tally(metadata: str) -> None:
    """Operators reset offsets with tools of their own: counting begins anew where they put them, and says so."""
    assert Tally.of(metadata) is None
    assert Tally.resumed(40, metadata, 40) == Tally(since=40)


def test_records_that_the_log_dropped_unread_are_counted_as_expired() -> None:
    """The offset jumps over them, and nobody else will ever know."""
    found = Tally(since=0, released=40).metadata()
    assert Tally.resumed(40, found, 47) == Tally(since=0, released=40, expired=7)
    assert Tally.resumed(None, "", 7) == Tally(since=0, expired=7)
    assert Tally.resumed(40, found, 3) == Tally(since=3), "the log went back: what lies there now was never counted"


def value_of(chance: random.Random, day: datetime.date) -> bytes:
    """A vote, a repeated or changed one, a verdict, or garbage."""
    voter = bytes([chance.randrange(6)]) * 32
    kind = chance.random()
    if kind < 0.1:
        return b"garbage"
    if kind < 0.2:
        return encode("events.labeled-value", {"voter": voter, "day": day, "act": {"human": chance.random() < 0.5}})
    act = {"kind": "text_answer", "task": chance.choice("ab"), "answer": chance.choice("xyz")}
    return encode("events.labeled-value", {"voter": voter, "day": day, "act": act})


class Coordinator:
    """Keeps the last commit, as a broker does."""

    def __init__(self) -> None:
        self.commit: tuple[int | None, str] = (None, "")

    async def committed(self, partition: Any) -> tuple[int | None, str]:
        return self.commit


@pytest.mark.parametrize("seed", range(30))
def test_offset_and_totals_agree_at_every_commit_and_after_every_kill(seed: int) -> None:
    """A door killed at any moment goes on from a commit; the whole log is counted once, whatever was read again."""
    chance = random.Random(seed)
    log = [value_of(chance, today()) for _ in range(120)]
    keys = {today(): None if seed % 5 == 0 else epoch_key(today())}

    def open_door() -> Door:
        crowd = Crowd(voters_min=4, labels_max=7, hold_ms_max=1_000)
        return CrowdDoor(lambda day: keys[day], unmasked, crowd)

    async def one_life(coordinator: Coordinator, generation: int, lives_for: int, seen: list[Tally]) -> None:
        commits, shelf = Commits(), Shelf()
        shelf.acknowledges.set()
        passage = passage_of(commits, shelf, open_door)
        passage._committed = coordinator.committed
        at = coordinator.commit[0] or 0
        for _ in range(lives_for):
            batch = [
                HeldMessage(offset, log[offset], generation)
                for offset in range(at, min(at + chance.randint(1, 9), 120))
            ]
            if not batch:
                break
            await passage.take(deliver(commits, batch))
            at = batch[-1].offset + 1
            if chance.random() < 0.5 and (offset := commits.committable((batch[0].topic, 0))) is not None:
                metadata = commits.metadata_of((batch[0].topic, 0), offset)
                assert metadata is not None
                coordinator.commit = (offset, metadata)
                tally = Tally.of(metadata)
                assert tally is not None
                assert tally.since + tally.records == offset
                seen.append(tally)

    async def scenario() -> None:
        coordinator, seen = Coordinator(), list[Tally]()
        for generation in range(200):
            await one_life(coordinator, generation, chance.randint(1, 12), seen)
        straight, once = Coordinator(), list[Tally]()
        while (straight.commit[0] or 0) < (coordinator.commit[0] or 0):
            await one_life(straight, 1_000, 500, once)
        assert seen
        by_offset = {tally.records: tally for tally in once}
        assert all(by_offset[tally.records] == tally for tally in seen if tally.records in by_offset)

    asyncio.run(scenario())


@pytest.mark.kafka
def test_door_that_was_killed_and_whose_log_expired_goes_on_from_the_totals_that_lie_with_the_offset(
    bootstrap: str, tmp_path: Path
) -> None:
    """On the real coordinator: its metadata is atomic with the offset, and is kept while no door runs."""
    topics = Topics(bootstrap)
    partition = (topics.labeled, 0)

    def committed() -> Tally:
        offset, metadata = asyncio.run(CommittedOffsets(bootstrap, topics.group).of(partition))
        tally = Tally.of(metadata)
        assert tally is not None, "an offset was committed that says nothing of the records below it"
        assert tally.since + tally.records == offset
        return tally

    votes = [record_of(label) for label in labels(6, today())]
    topics.put([*votes[:3], (b"k", b"garbage"), *votes[:3], *votes[3:]])
    door = RunningDoor(topics, tmp_path / "first", crowd_min=6)
    wait_until(lambda: topics.lag() == 0, "the crowd committed")
    assert committed() == Tally(since=0, released=6, collapsed=3, dead_lettered=1)
    topics.put(votes[:4])
    door.stop(signal.SIGKILL)
    forget_before(topics, 12)
    topics.put([record_of(label) for label in labels(6, today(), first=100)])
    door = RunningDoor(topics, tmp_path / "second", crowd_min=6)
    wait_until(lambda: topics.lag() == 0, "what was there when the door came back is suppressed")
    door.stop()
    assert committed() == Tally(
        since=0, released=6, collapsed=3, dead_lettered=1, expired=2, suppressed={Suppression.EXPIRED: 8}
    )
