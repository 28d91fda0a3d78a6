"""No label leaves alone, nobody waits for one session, and no two releases can be subtracted from each other."""

import datetime
import hashlib
import uuid
from collections import Counter, defaultdict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from processors.door import crowd as crowd_module
from processors.door.crowd import VOTE_BYTES, Crowd, CrowdRule, Held, Release
from schemas.events import DeidentifiedLabel
from schemas.outcomes import Suppression

DAY = datetime.date(2026, 11, 24)
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
PLENTY = 1 << 40


def label(voter: int, task: int, version: int = 0, answer: str = "yes") -> DeidentifiedLabel:
    row_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{voter}/{task}"))
    return DeidentifiedLabel(row_id, DAY, f"task-{task}", "text_answer", answer, version)


def crowd_of(
    voters_min: int = 3,
    target: int | None = None,
    labels_max: int = 1_000,
    bytes_max: int = PLENTY,
    wait_ms: int = HOUR_MS,
    hold_ms_max: int = 5 * HOUR_MS,
) -> Crowd:
    return Crowd(
        CrowdRule(
            voters_min=voters_min,
            voters_target=voters_min if target is None else target,
            wait_ms=wait_ms,
            labels_max=labels_max,
            bytes_max=bytes_max,
            hold_ms_max=hold_ms_max,
        )
    )


def vote(
    crowd: Crowd, voter: int, task: int, at_ms: int = 0, *, version: int = 0, keyless: bool = False, answer: str = "yes"
) -> None:
    rank = hashlib.sha256(b"%d/%d" % (voter, task)).digest()[:8]
    held = Held(at_ms, None if keyless else label(voter, task, version, answer), rank)
    crowd.add(b"%d" % voter, f"task-{task}", held)


Step = tuple[str, int, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("vote"), st.integers(0, 6), st.integers(0, 4)),
        st.tuples(st.just("bot"), st.integers(0, 6), st.just(0)),
        st.tuples(st.just("minutes"), st.integers(-5, 70), st.just(0)),
    ),
    max_size=80,
)
rules = st.builds(
    lambda voters_min, more, labels_max, votes_max: {
        "voters_min": voters_min,
        "target": voters_min + more,
        "labels_max": labels_max,
        "bytes_max": votes_max * (VOTE_BYTES + 3),
    },
    st.integers(2, 4),
    st.integers(0, 3),
    st.sampled_from([5, 8, 1_000]),
    st.sampled_from([4, 9, 1_000]),
)


def play(crowd: Crowd, script: list[Step], now_ms: int = 0) -> list[tuple[int, Release]]:
    """The releases and the number of records after which each left."""
    releases = []
    for position, (what, who, task) in enumerate(script, 1):
        if what == "minutes":
            now_ms += who * MINUTE_MS
            continue
        if what == "bot":
            crowd.pass_time(now_ms)
            crowd.suppress_voter(b"%d" % who, Suppression.NOT_HUMAN)
        else:
            vote(crowd, who, task, now_ms)
        if crowd.complete():
            releases.append((position, crowd.release()))
    return releases


def test_too_few_voters_are_held_however_long() -> None:
    """Two sessions hide nobody, and no wait makes them more."""
    crowd = crowd_of(voters_min=3)
    for task in range(50):
        vote(crowd, voter=task % 2, task=task, at_ms=task * 5 * MINUTE_MS)
        assert not crowd.complete()
    assert (crowd.voters, crowd.labels) == (2, 50)


def test_crowd_leaves_at_its_target_without_waiting() -> None:
    """Where many answer, a label need not wait for the hour."""
    crowd = crowd_of(voters_min=3, target=5)
    for voter in range(4):
        vote(crowd, voter, 0)
        assert not crowd.complete()
    vote(crowd, 4, 0)
    assert crowd.release().voters == 5


def test_crowd_leaves_with_its_minimum_once_its_oldest_vote_has_waited() -> None:
    """Where few answer, what is promised is the minimum, and no label waits for more than that takes."""
    crowd = crowd_of(voters_min=3, target=5)
    for voter in range(3):
        vote(crowd, voter, 0, at_ms=voter)
    vote(crowd, 0, 1, at_ms=HOUR_MS - 1)
    assert not crowd.complete()
    vote(crowd, 0, 2, at_ms=HOUR_MS)
    assert crowd.complete()
    late = crowd_of(voters_min=3, target=5)
    vote(late, 0, 0)
    vote(late, 1, 0, at_ms=2 * HOUR_MS)
    assert not late.complete()
    vote(late, 2, 0, at_ms=2 * HOUR_MS)
    assert late.release().voters == 3, "below the minimum at its wait, it leaves when it reaches it"


def test_one_session_that_gives_most_delays_nobody_by_more_than_the_wait() -> None:
    """Its surplus is suppressed; the others leave, and nobody has more than half."""
    crowd = crowd_of(voters_min=3, target=3, labels_max=20_000)
    for task in range(10_000):
        vote(crowd, voter=0, task=task)
    vote(crowd, 1, 0)
    vote(crowd, 2, 0)
    assert not crowd.complete(), "until its wait is over the others may still become enough"
    vote(crowd, 2, 1, at_ms=HOUR_MS)
    assert crowd.complete()
    release = crowd.release()
    assert (len(release.labels), release.largest_share) == (6, 0.5)
    assert crowd.suppressed[Suppression.OVER_SHARE] == 10_000 - 3


def test_what_is_left_of_a_surplus_does_not_tell_whose_it_is() -> None:
    """Chosen by row_id, the survivors would be the rows with the largest: a cluster that names one session."""
    crowd = crowd_of(voters_min=3, target=3, labels_max=20_000)
    for task in range(10_000):
        vote(crowd, voter=0, task=task)
    for task in range(100):
        vote(crowd, 1, task)
        vote(crowd, 2, task, at_ms=HOUR_MS)
    of_the_busy = {label(0, task).row_id for task in range(10_000)}
    left = [int(one.row_id[:2], 16) for one in crowd.release().labels if one.row_id in of_the_busy]
    assert len(left) == 200
    assert len({at // 32 for at in left}) == 8
    assert 90 < sum(left) / len(left) < 165


def test_no_voter_has_more_than_half_at_the_target() -> None:
    """A crowd in which one session gave most of the labels tells whose they are."""
    crowd = crowd_of(voters_min=2)
    for task in range(3):
        vote(crowd, 0, task)
    vote(crowd, 1, 0)
    vote(crowd, 1, 1)
    assert not crowd.complete()
    vote(crowd, 1, 2)
    assert crowd.release().largest_share == 0.5


def test_without_crowds_each_label_leaves_at_once() -> None:
    """Whoever sets the minimum to 1 has switched crowds off, and no share holds anything back."""
    crowd = crowd_of(voters_min=1)
    vote(crowd, 0, 0)
    assert crowd.complete()
    assert len(crowd.release().labels) == 1


def test_session_that_answers_one_task_ten_thousand_times_votes_once() -> None:
    """A repeated answer replaces itself; it neither fills the memory nor a crowd."""
    crowd = crowd_of(voters_min=2)
    for version in range(10_000):
        vote(crowd, 0, 0, version=version % 7_919)
    assert (crowd.labels, crowd.collapsed) == (1, 9_999)
    assert crowd.bytes_held == VOTE_BYTES + 3
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


def test_labels_of_one_session_can_be_dropped() -> None:
    """A verdict comes late."""
    crowd = crowd_of(voters_min=2)
    vote(crowd, 0, 0)
    vote(crowd, 0, 1)
    crowd.suppress_voter(b"0", Suppression.NOT_HUMAN)
    crowd.suppress_voter(b"9", Suppression.NOT_HUMAN)
    vote(crowd, 1, 0)
    assert not crowd.complete()
    assert crowd.suppressed == {Suppression.NOT_HUMAN: 2}


def test_labels_held_are_bounded_by_suppressing_the_largest_voter() -> None:
    """One public key must not be able to stop the door, and it costs nobody else a label."""
    crowd = crowd_of(voters_min=4, labels_max=100)
    vote(crowd, 1, 0)
    for task in range(500):
        vote(crowd, 0, task)
        assert crowd.labels <= 100
        assert not crowd.complete(), "two sessions hide nobody, however full it is"
    assert crowd.suppressed == {Suppression.CROWD_BOUND: 401}
    for task in range(30):
        vote(crowd, 1, 1 + task)
    assert (crowd.voters, crowd.labels) == (2, 100)
    vote(crowd, 2, 0)
    vote(crowd, 3, 0)
    vote(crowd, 3, 1, at_ms=HOUR_MS)
    assert crowd.complete()
    counted = Counter(
        next(one for one in range(4) if row.row_id == label(one, int(row.task[5:])).row_id)
        for row in crowd.release().labels
    )
    assert (counted[1], counted[2], counted[3]) == (31, 1, 2)
    assert counted[0] <= 34


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
def test_bytes_held_are_bounded_whatever_the_answers_are_made_of(letter: str) -> None:
    """Twenty thousand answers of 32 KB would take 650 MB, and with one wide character four times as much."""
    bytes_max = 1_000_000
    crowd = crowd_of(voters_min=3, labels_max=100_000, bytes_max=bytes_max)
    for voter in (1, 2):
        vote(crowd, voter, 0)
    for task in range(100):
        vote(crowd, 0, task, answer=letter * 32_000)
        assert crowd.bytes_held <= bytes_max
    assert crowd.voters == 3
    assert crowd.suppressed == {Suppression.CROWD_BOUND: 102 - crowd.labels}


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


def test_what_destroyed_keys_leave_of_a_crowd_has_nobody_with_more_than_half() -> None:
    """The share that was checked was that of votes which do not leave."""
    crowd = crowd_of(voters_min=2, target=3)
    for task in range(4):
        vote(crowd, 0, task)
        vote(crowd, 1, task, keyless=True)
    vote(crowd, 2, 0)
    assert crowd.release().largest_share == 0.5
    assert crowd.suppressed == {Suppression.KEY_DESTROYED: 4, Suppression.OVER_SHARE: 3}


@given(steps, rules)
def test_every_release_is_a_crowd(script: list[Step], rule: dict[str, int]) -> None:
    """Whatever comes in whatever order, at the bounds too: enough voters, none with more than half, each vote once."""
    crowd = crowd_of(**rule)
    voter_of = {label(voter, task).row_id: voter for voter in range(7) for task in range(5)}
    for _, release in play(crowd, script):
        votes = Counter(voter_of[one.row_id] for one in release.labels)
        assert len(votes) == release.voters >= rule["voters_min"]
        assert 2 * max(votes.values()) <= len(release.labels) == len({one.row_id for one in release.labels})


@given(steps, rules)
def test_replay_from_the_last_commit_repeats_every_crowd(script: list[Step], rule: dict[str, int]) -> None:
    """A crash between release and commit must not show a watcher two overlapping crowds."""
    whole = play(crowd_of(**rule), script)
    for position, release in whole:
        start = max((other for other, _ in whole if other < position), default=0)
        now_ms = sum(who * MINUTE_MS for what, who, _ in script[:start] if what == "minutes")
        again = play(crowd_of(**rule), script[start:], now_ms)
        assert again[0] == (position - start, release)


@given(steps, rules)
def test_every_vote_has_one_outcome(script: list[Step], rule: dict[str, int]) -> None:
    """Released, held, collapsed or suppressed: what comes in is what can be counted."""
    crowd = crowd_of(**rule)
    released = sum(len(release.labels) for _, release in play(crowd, script))
    votes = sum(what == "vote" for what, _, _ in script)
    assert votes == released + crowd.labels + crowd.collapsed + crowd.suppressed.total()


@given(steps, rules)
def test_counts_follow_the_votes(script: list[Step], rule: dict[str, int]) -> None:
    """The incremental counts decide when a crowd is complete; they must be those of a fresh count."""
    crowd = crowd_of(**{**rule, "voters_min": 50, "target": 50})
    play(crowd, script)
    votes = [one for voter in crowd._voters.values() for one in voter.votes.values()]
    per_voter: defaultdict[bytes, int] = defaultdict(int)
    for one in votes:
        per_voter[one.voter] += 1
    assert crowd.labels == len(votes) <= rule["labels_max"]
    assert crowd.bytes_held == sum(one.size for one in votes) <= rule["bytes_max"]
    assert crowd._most_labels.find()[0] == max(per_voter.values(), default=0)
    assert crowd.oldest_ms == min((one.received_at_ms for one in votes), default=None)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8)), min_size=30, max_size=120),
    st.lists(st.tuples(st.integers(0, 119), st.integers(1, 40)), max_size=6),
    st.integers(2, 4),
    st.integers(0, 3),
)
def test_no_input_of_one_session_changes_when_others_leave_by_more_than_the_wait(
    honest: list[tuple[int, int]], posts: list[tuple[int, int]], voters_min: int, more: int
) -> None:
    """Whatever it posts and when: while enough others answer within each wait, each of their labels leaves in time.

    Nobody is waited for on account of one session, and none of the others' labels is suppressed.
    """
    wait_ms = 20 * MINUTE_MS
    rule = {"voters_min": voters_min, "target": voters_min + more, "wait_ms": wait_ms, "labels_max": 60}
    times = [at * MINUTE_MS for at in range(len(honest))]
    in_each_wait = [{who for who, _ in honest[at : at + 20]} for at in range(len(honest) - 19)]
    assume(all(len(who) >= voters_min for who in in_each_wait))

    def left_at(attacked: bool) -> dict[int, int]:
        crowd, left, own = crowd_of(**rule), {}, {}
        for at, (who, _) in enumerate(honest):
            posted = [many for when, many in posts if attacked and when == at]
            for number in range(sum(posted)):
                vote(crowd, 0, 1_000 * at + number, times[at])
                if crowd.complete():
                    left.update({one.row_id: times[at] for one in crowd.release().labels})
            vote(crowd, who, at, times[at])
            own[label(who, at).row_id] = at
            if crowd.complete():
                left.update({one.row_id: times[at] for one in crowd.release().labels})
        assert attacked or not crowd.suppressed[Suppression.CROWD_BOUND]
        return {own[row]: when for row, when in left.items() if row in own}

    alone, beside = left_at(False), left_at(True)
    for at in range(len(honest) - 21):
        # A surplus of somebody honest may be suppressed with and without the attack.
        if at in alone and at in beside:
            assert abs(alone[at] - beside[at]) <= wait_ms + MINUTE_MS
        if at in beside:
            assert times[at] <= beside[at] <= times[at] + wait_ms + MINUTE_MS


class Steps:
    """Counts what a crowd does to its heaps, voters and votes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        for owner, name in (
            (crowd_module._Largest, "changed"),
            (crowd_module._Voter, "add"),
            (crowd_module._Voter, "remove"),
        ):
            self._count(monkeypatch, owner, name)
        amount = Crowd._labels_of
        size = Crowd._bytes_of
        monkeypatch.setattr(Crowd, "_labels_of", lambda crowd, voter: self._one(amount(crowd, voter)))
        monkeypatch.setattr(Crowd, "_bytes_of", lambda crowd, voter: self._one(size(crowd, voter)))
        every = Crowd._every_vote
        monkeypatch.setattr(Crowd, "_every_vote", lambda crowd: map(self._one, every(crowd)))

    def _one(self, value: object) -> object:
        self.taken += 1
        return value

    def _count(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        original = getattr(owner, name)

        def counted(*args: object) -> object:
            self.taken += 1
            return original(*args)

        monkeypatch.setattr(owner, name, counted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["expiry", "bound", "bytes", "verdicts", "many voters"])
def test_cost_of_a_record_does_not_grow_with_what_is_held(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """At the edge of the hold, at both bounds and at a verdict: counted steps, with 1,000 and with 30,000 held."""
    counted = {}
    for held in (1_000, 30_000):
        with monkeypatch.context() as patched:
            crowd = crowd_of(
                voters_min=PLENTY,
                labels_max=held if kind == "bound" else PLENTY,
                bytes_max=held * (VOTE_BYTES + 3) if kind == "bytes" else PLENTY,
                hold_ms_max=held if kind == "expiry" else PLENTY,
            )
            voters = held if kind == "many voters" else 10
            for number in range(held):
                vote(crowd, number % voters, number, number)
            assert crowd.labels == held
            steps = Steps(patched)
            for number in range(1_000):
                if kind == "verdicts" and number % 100 == 0:
                    crowd.suppress_voter(b"%d" % (20 + number // 100), Suppression.NOT_HUMAN)
                vote(crowd, number % voters, held + number, held + number + 1)
                crowd.complete()
            counted[held] = steps.taken
            assert crowd.labels == held + (0 if kind in ("expiry", "bound", "bytes") else 1_000)
    assert counted[30_000] < 3 * counted[1_000] + 1_000, counted
    assert counted[1_000] < 40_000, counted
