"""The door's promise to whoever commits: nothing is done before its crowd has left."""

import datetime

from hypothesis import given
from hypothesis import strategies as st

from processors.door.crowd import Crowd
from processors.door.crowd_release import CrowdDoor
from processors.door.deidentify import unmasked
from schemas.events import IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import Suppression

DAY = datetime.date(2026, 11, 24)
KEY = b"k" * 32
HOUR_MS = 3_600_000


def door_of(
    voters_min: int = 3, *, keys: dict[datetime.date, bytes] | None = None, suppress_before: int = 0
) -> CrowdDoor:
    known = {DAY: KEY} if keys is None else keys
    crowd = Crowd(voters_min=voters_min, labels_max=1_000, hold_ms_max=5 * HOUR_MS)
    return CrowdDoor(known.get, unmasked, crowd, suppress_before)


def label(voter: int, task: str = "t") -> IdentifiedLabel:
    return IdentifiedLabel(voter.to_bytes(32, "big"), DAY, "text_answer", task, "yes")


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), max_size=60))
def test_low_watermark_is_where_the_open_range_begins(votes: list[tuple[int, str]]) -> None:
    """A restart must read the whole of a crowd that has not left, and nothing of those that have."""
    door, undone, released_up_to = door_of(), set(), 0
    for offset, (voter, task) in enumerate(votes):
        undone.add(offset)
        step = door.receive(offset, 0, label(voter, task))
        undone -= set(step.done)
        if step.labels:
            released_up_to = offset + 1
            assert not undone
        elif undone:
            assert min(undone) == released_up_to
            assert len(undone) == 1, "a range costs one number"
        else:
            assert door.labels_held == 0, "a restart would begin behind what is held"


def test_replay_after_a_crash_releases_the_same_crowd_and_no_smaller_one() -> None:
    """What was released but not committed leaves again, whole and equal."""
    votes = [label(voter, task) for voter, task in ((1, "a"), (1, "b"), (2, "a"), (3, "a"), (4, "a"))]
    first = [door.receive(offset, 0, vote) for door in [door_of()] for offset, vote in enumerate(votes)]
    again = [door.receive(offset, 0, vote) for door in [door_of()] for offset, vote in enumerate(votes)]
    assert first == again
    assert [len(step.labels) for step in first] == [0, 0, 0, 4, 0]


def test_label_of_a_destroyed_day_never_leaves() -> None:
    """Its key is gone on purpose; the label is suppressed and counted, and its crowd with it if too few remain."""
    door = door_of(keys={})
    steps = [door.receive(offset, 0, label(offset)) for offset in range(3)]
    assert steps[-1].labels == ()
    assert steps[-1].suppressed == (Suppression.KEY_DESTROYED,) * 3


def test_label_that_waits_when_its_key_is_destroyed_never_leaves() -> None:
    """Who destroys a key that somebody read means every label of the day that has not left."""
    keys = {DAY: KEY}
    door = door_of(keys=keys)
    for offset in range(2):
        door.receive(offset, 0, label(offset))
    keys.clear()
    step = door.receive(2, 0, label(2))
    assert step.labels == ()
    assert step.suppressed == (Suppression.KEY_DESTROYED,) * 3
    assert set(step.done) == {0, 2}


def test_bot_is_suppressed_and_the_crowd_goes_on() -> None:
    """A verdict arrives as a record of the same topic, in the order of its partition."""
    door = door_of()
    door.receive(0, 0, label(1))
    step = door.receive(1, 0, IdentifiedVerdict((1).to_bytes(32, "big"), DAY, False))
    assert step.suppressed == (Suppression.NOT_HUMAN,)
    steps = [door.receive(offset, 0, label(offset)) for offset in (2, 3, 4)]
    assert len(steps[-1].labels) == 3


def test_after_lost_records_nothing_that_was_there_is_released() -> None:
    """What is left of a crowd that may have been released already would tell the others apart."""
    door = door_of(suppress_before=4)
    steps = [door.receive(offset, 0, label(offset)) for offset in range(7)]
    assert all(step.suppressed == (Suppression.EXPIRED,) for step in steps[:4])
    assert {one.task for one in steps[-1].labels} == {"t"}
    assert len(steps[-1].labels) == 3
