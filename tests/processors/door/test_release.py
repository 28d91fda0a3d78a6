"""The door's promise to whoever commits: nothing is done before its crowd has left."""

import datetime
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from processors.door.crowd import Crowd
from processors.door.release import Door, Step
from processors.door.verdicts import JudgedVoters, StoredVerdict, earlier_verdicts
from schemas.events import IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import Suppression
from testkit.door_config import crowd_rule
from testkit.unmasked import unmasked

DAY = datetime.date(2026, 11, 24)
KEY = b"k" * 32
PARTITION = 7
Record = IdentifiedLabel | IdentifiedVerdict


def door_of(
    voters_min: int = 3,
    *,
    keys: dict[datetime.date, bytes] | None = None,
    suppress_before: int = 0,
    stored: Sequence[StoredVerdict] = (),
) -> Door:
    known = {DAY: KEY} if keys is None else keys
    return Door(
        known.get,
        unmasked,
        Crowd(crowd_rule(voters_min)),
        partition=PARTITION,
        judged=JudgedVoters(stored),
        suppress_before=suppress_before,
    )


def verdict(voter: int, human: bool) -> IdentifiedVerdict:
    return IdentifiedVerdict(voter.to_bytes(32, "big"), DAY, human)


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
            assert door.crowd.empty, "a restart would begin behind what is held"


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
    assert steps[-1].suppressed == {Suppression.KEY_DESTROYED: 3}


def test_label_that_waits_when_its_key_is_destroyed_never_leaves() -> None:
    """Who destroys a key that somebody read means every label of the day that has not left."""
    keys = {DAY: KEY}
    door = door_of(keys=keys)
    for offset in range(2):
        door.receive(offset, 0, label(offset))
    keys.clear()
    step = door.receive(2, 0, label(2))
    assert step.labels == ()
    assert step.suppressed == {Suppression.KEY_DESTROYED: 3}
    assert set(step.done) == {0, 2}


def test_bot_is_suppressed_and_the_crowd_goes_on() -> None:
    """A verdict arrives as a record of the same topic, in the order of its partition."""
    door = door_of()
    door.receive(0, 0, label(1))
    step = door.receive(1, 0, verdict(1, human=False))
    assert step.suppressed == {Suppression.NOT_HUMAN: 1}
    steps = [door.receive(offset, 0, label(offset)) for offset in (2, 3, 4)]
    assert len(steps[-1].labels) == 3


def test_after_lost_records_nothing_that_was_there_is_released() -> None:
    """What is left of a crowd that may have been released already would tell the others apart."""
    door = door_of(suppress_before=4)
    steps = [door.receive(offset, 0, label(offset)) for offset in range(7)]
    assert all(step.suppressed == {Suppression.EXPIRED: 1} for step in steps[:4])
    assert {one.task for one in steps[-1].labels} == {"t"}
    assert len(steps[-1].labels) == 3


def steps_of(log: Sequence[Record], first: int = 0, stored: Sequence[StoredVerdict] = ()) -> list[Step]:
    """What a door makes of the log from `first` on."""
    door = door_of(stored=earlier_verdicts(stored, PARTITION, first))
    return [door.receive(offset, 0, log[offset]) for offset in range(first, len(log))]


def test_verdict_holds_for_what_follows_whatever_crowds_leave_meanwhile() -> None:
    """A bot that was judged after its crowd had left, or before three more of them, goes on answering for nothing."""
    log: list[Record] = [label(voter) for voter in (1, 2, 3)]
    log += [verdict(1, human=False), label(1, "later")]
    log += [label(voter, "b") for voter in (2, 3, 4)]
    log += [label(1, "latest")]
    steps = steps_of(log)
    assert [len(step.labels) for step in steps] == [0, 0, 3, 0, 0, 0, 0, 3, 0]
    assert steps[4].suppressed == steps[8].suppressed == {Suppression.NOT_HUMAN: 1}
    assert steps[8].done == (8,)


def test_verdict_that_says_human_lifts_an_earlier_one() -> None:
    """Whoever was judged too early gets its voice back, for what it says from then on."""
    steps = steps_of([verdict(1, human=False), label(1, "a"), verdict(1, human=True), label(1, "b")])
    assert [bool(step.suppressed) for step in steps] == [False, True, False, False]
    assert [step.verdict.human for step in steps if step.verdict] == [False, True]


def test_only_a_verdict_that_changes_something_is_stored() -> None:
    """A service that judges each session every minute must not fill the topic."""
    log = [verdict(1, human=True), *[verdict(1, human=False)] * 5, *[verdict(1, human=True)] * 5]
    assert [at for at, step in enumerate(steps_of(log)) if step.verdict] == [1, 6]


def test_verdict_of_a_day_whose_key_was_destroyed_is_not_stored() -> None:
    """None of its labels leaves any more, and nothing could be keyed."""
    step = door_of(keys={}).receive(0, 0, verdict(1, human=False))
    assert (step.done, step.verdict) == ((0,), None)


def test_verdict_among_lost_records_holds() -> None:
    """The labels beside it are suppressed; what its voter answers later must be as well."""
    door = door_of(suppress_before=2)
    assert door.receive(1, 0, verdict(1, human=False)).verdict
    assert door.receive(2, 0, label(1)).suppressed == {Suppression.NOT_HUMAN: 1}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from("abc")),
            st.tuples(st.sampled_from(["bot", "human"]), st.integers(0, 5), st.just("")),
        ),
        max_size=60,
    ),
    st.data(),
)
def test_any_restart_repeats_what_the_door_did_with_verdicts_at_every_moment(
    script: list[tuple[str, int, str]], data: st.DataObject
) -> None:
    """From any offset that may be committed, with the verdicts below it from their topic and the others from the log.

    The topic also holds those behind that offset, and some twice, since a door was killed after it stored them.
    """
    log = [label(who, task) if what == "answer" else verdict(who, what == "human") for what, who, task in script]
    whole = steps_of(log)
    stored = [step.verdict for step in whole if step.verdict]
    stored += data.draw(st.lists(st.sampled_from(stored))) if stored else []
    open_offsets: set[int] = set()
    for offset, step in enumerate(whole):
        open_offsets.add(offset)
        open_offsets -= set(step.done)
        if not open_offsets:
            assert steps_of(log, offset + 1, data.draw(st.permutations(stored))) == whole[offset + 1 :]
