"""No label leaves alone, and no two releases can be subtracted from each other."""

import datetime
import uuid
from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from processors.door.crowd import Crowd, Held, Release
from schemas.events import DeidentifiedLabel
from schemas.outcomes import Suppression

DAY = datetime.date(2026, 11, 24)
HOUR_MS = 3_600_000


def label(voter: int, task: int, version: int = 0) -> DeidentifiedLabel:
    row_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{voter}/{task}"))
    return DeidentifiedLabel(row_id, DAY, f"task-{task}", "text_answer", "yes", version)


def crowd_of(voters_min: int = 3, labels_max: int = 1_000, hold_ms_max: int = 5 * HOUR_MS) -> Crowd:
    return Crowd(voters_min=voters_min, labels_max=labels_max, hold_ms_max=hold_ms_max)


def vote(crowd: Crowd, voter: int, task: int, at_ms: int = 0, *, version: int = 0, keyless: bool = False) -> None:
    crowd.add(b"%d" % voter, f"task-{task}", Held(at_ms, None if keyless else label(voter, task, version)))


Step = tuple[str, int, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("vote"), st.integers(0, 6), st.integers(0, 4)),
        st.tuples(st.just("bot"), st.integers(0, 6), st.just(0)),
        st.tuples(st.just("hour"), st.integers(1, 3), st.just(0)),
    ),
    max_size=80,
)


def play(crowd: Crowd, script: list[Step]) -> list[tuple[int, Release]]:
    """The releases and the number of records after which each left."""
    now_ms, releases = 0, []
    for position, (what, who, task) in enumerate(script, 1):
        if what == "hour":
            now_ms += who * HOUR_MS
        elif what == "bot":
            crowd.judge(b"%d" % who, False, now_ms)
        else:
            vote(crowd, who, task, now_ms)
        if crowd.complete():
            releases.append((position, crowd.release()))
    return releases


def test_too_few_voters_are_held() -> None:
    """Two sessions hide nobody."""
    crowd = crowd_of(voters_min=3)
    for task in range(50):
        vote(crowd, voter=task % 2, task=task)
    assert not crowd.complete()
    assert (crowd.voters, crowd.labels) == (2, 50)


def test_crowd_of_one_busy_session_is_held() -> None:
    """Ten thousand tasks from one session beside two others would all be that session's."""
    crowd = crowd_of(voters_min=3, labels_max=20_000)
    for task in range(10_000):
        vote(crowd, voter=0, task=task)
    vote(crowd, 1, 0)
    vote(crowd, 2, 0)
    assert not crowd.complete()


def test_no_voter_has_more_than_half() -> None:
    """A crowd in which one session gave most of the labels tells whose they are."""
    crowd = crowd_of(voters_min=2)
    for task in range(3):
        vote(crowd, 0, task)
    vote(crowd, 1, 0)
    vote(crowd, 1, 1)
    assert not crowd.complete()
    vote(crowd, 1, 2)
    assert crowd.release().largest_share == 0.5


def test_session_that_answers_one_task_ten_thousand_times_votes_once() -> None:
    """A repeated answer replaces itself; it neither fills the memory nor a crowd."""
    crowd = crowd_of(voters_min=2)
    for version in range(10_000):
        vote(crowd, 0, 0, version=version % 7_919)
    assert (crowd.labels, crowd.collapsed) == (1, 9_999)
    vote(crowd, 1, 0)
    assert {one.version for one in crowd.release().labels} == {7_918, 0}


def test_release_is_sorted_by_row_id() -> None:
    """The order in which answers came is the order in which sessions were active."""
    crowd = crowd_of(voters_min=5)
    for voter in range(5):
        vote(crowd, voter, 0)
    rows = [one.row_id for one in crowd.release().labels]
    assert rows == sorted(rows)
    assert len(rows) == 5


def test_labels_of_a_bot_are_dropped_before_and_after_its_verdict() -> None:
    """A verdict comes late, and bots go on."""
    crowd = crowd_of(voters_min=2)
    vote(crowd, 0, 0)
    crowd.judge(b"0", False, 0)
    vote(crowd, 0, 1)
    vote(crowd, 1, 0)
    assert not crowd.complete()
    assert crowd.suppressed == {Suppression.NOT_HUMAN: 2}


def test_memory_is_bounded_by_suppressing_the_largest_voter() -> None:
    """One public key must not be able to stop the door."""
    crowd = crowd_of(voters_min=3, labels_max=100)
    vote(crowd, 1, 0)
    for task in range(101):
        vote(crowd, 0, task)
        assert crowd.labels <= 100
        assert not crowd.complete(), "two sessions hide nobody, however full it is"
    assert crowd.suppressed[Suppression.CROWD_BOUND] == 100
    assert crowd.voters == 2


def test_labels_that_near_their_retention_are_suppressed() -> None:
    """The log forgets them, so that a replay could no longer repeat their crowd."""
    crowd = crowd_of(voters_min=2, hold_ms_max=5 * HOUR_MS)
    vote(crowd, 0, 0, at_ms=0)
    vote(crowd, 1, 0, at_ms=5 * HOUR_MS + 1)
    assert not crowd.complete()
    assert crowd.suppressed == {Suppression.EXPIRED: 1}


def test_destroyed_keys_never_leave_a_smaller_crowd_behind() -> None:
    """Nineteen who hide one who has no key any more are not a crowd of twenty."""
    crowd = crowd_of(voters_min=3)
    vote(crowd, 0, 0, keyless=True)
    vote(crowd, 1, 0)
    vote(crowd, 2, 0)
    assert crowd.release().labels == ()
    assert crowd.suppressed[Suppression.KEY_DESTROYED] == 3


@given(steps, st.integers(2, 4), st.sampled_from([5, 8, 1_000]))
def test_every_release_is_a_crowd(script: list[Step], voters_min: int, labels_max: int) -> None:
    """Whatever comes in whatever order, at the bound too: enough voters, none with more than half, each vote once."""
    crowd = crowd_of(voters_min, labels_max)
    voter_of = {label(voter, task).row_id: voter for voter in range(7) for task in range(5)}
    for _, release in play(crowd, script):
        votes = Counter(voter_of[one.row_id] for one in release.labels)
        assert len(votes) == release.voters >= voters_min
        assert 2 * max(votes.values()) <= len(release.labels) == len({one.row_id for one in release.labels})


@given(steps, st.integers(2, 4))
def test_replay_from_the_last_commit_repeats_every_crowd(script: list[Step], voters_min: int) -> None:
    """A crash between release and commit must not show a watcher two overlapping crowds."""
    whole = play(crowd_of(voters_min), script)
    for position, release in whole:
        start = max((other for other, _ in whole if other < position), default=0)
        passed = sum(who for what, who, _ in script[:start] if what == "hour")
        again = play(crowd_of(voters_min), [("hour", passed, 0), *script[start:]])
        assert again[0] == (position - start + 1, release)


@given(steps, st.integers(2, 4))
def test_every_vote_has_one_outcome(script: list[Step], voters_min: int) -> None:
    """Released, held, collapsed or suppressed: what comes in is what can be counted."""
    crowd = crowd_of(voters_min, labels_max=12)
    released = sum(len(release.labels) for _, release in play(crowd, script))
    votes = sum(what == "vote" for what, _, _ in script)
    assert votes == released + crowd.labels + crowd.collapsed + crowd.suppressed.total()


@given(steps)
def test_counts_follow_the_votes(script: list[Step]) -> None:
    """The incremental counts decide when a crowd is complete; they must be those of a fresh count."""
    crowd = crowd_of(voters_min=50)
    play(crowd, script)
    per_voter: defaultdict[bytes, int] = defaultdict(int)
    for voter, votes in crowd._votes.items():
        per_voter[voter] += len(votes)
    assert crowd.labels == sum(per_voter.values())
    assert crowd._largest == max(per_voter.values(), default=0)
