"""Simulated traffic is valid, repeatable, and looks like people."""

import itertools
import statistics
from collections import Counter, defaultdict
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import BROWSER_CATEGORIES, SERVER_CATEGORIES, AnyEvent
from unjoin.simulator.motion import Hands, minimum_jerk
from unjoin.simulator.tasks import THEMES, mistake, task_name, truth
from unjoin.simulator.traffic import CATEGORIES, HOUR_MS, Plan, Traffic, types_of

NOW_MS = 1_790_000_000_000


def _batches(seed=1, **plan):
    return list(Traffic(Plan(**{"events": 3_000, "start_ms": NOW_MS, **plan}), Random(seed)).batches())


def _events(*args, **plan):
    return [event for batch in _batches(*args, **plan) for event in batch.events]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**64),
    sessions=st.integers(0, 60),
    batch_events=st.integers(1, 500),
    categories=st.sets(st.sampled_from(CATEGORIES), min_size=1),
    bots=st.floats(0, 1),
    start_ms=st.integers(0, 4_000_000_000_000),
)
def test_every_event_is_valid_for_the_collector(seed, sessions, batch_events, categories, bots, start_ms):
    """An invalid one would be rejected, and every comparison of sent with stored would have to explain it."""
    plan = Plan(
        events=400, start_ms=start_ms, sessions=sessions, batch_events=batch_events, categories=tuple(categories),
        bots=bots, verdicts=1.0,
    )  # fmt: skip
    batches = list(Traffic(plan, Random(seed)).batches())
    events = [event for batch in batches for event in batch.events]
    assert len(events) == 400
    assert len({event.id for event in events}) == 400
    assert all(1 <= len(batch.events) <= 500 for batch in batches)
    for batch in batches:
        allowed = BROWSER_CATEGORIES if batch.key == "browser" else SERVER_CATEGORIES
        assert {event.category for event in batch.events} <= allowed & categories
    for event in events:
        encoded = msgspec.json.encode(event)
        assert len(encoded) < 32_768
        assert msgspec.convert(msgspec.json.decode(encoded), AnyEvent) == event
        assert len({len(getattr(event, name)) for name in event.samples}) <= 1
        assert max(0, start_ms - 12 * HOUR_MS) <= event.ts <= start_ms


def test_same_seed_and_time_make_the_same_traffic():
    """A run that fails can be repeated."""
    assert _batches(7) == _batches(7)
    assert _batches(7) != _batches(8)


def test_all_categories_and_types_appear_by_default():
    """One run exercises every table; a type that never appears would never be checked."""
    kinds = Counter(event.__struct_config__.tag for event in _events(events=20_000))
    assert kinds.keys() == types_of(*CATEGORIES)
    assert kinds["pointer"] == max(kinds.values())


def test_ids_are_uuids_of_version_7_in_the_order_of_time():
    """What browsers will send, and what sorts well in a table."""
    for event in _events():
        digits = event.id.replace("-", "")
        assert int(digits[:12], 16) == event.ts
        assert (digits[12], digits[16] in "89ab") == ("7", True)


def test_time_within_a_session_never_runs_back():
    """A session is one person with one clock."""
    seen = defaultdict(int)
    for batch in _batches():
        if batch.key == "browser":
            for event in batch.events:
                assert event.ts >= seen[batch.session]
                seen[batch.session] = event.ts


def test_activity_of_sessions_is_unequal():
    """Attacks on labels gain from busy sessions; equal ones would flatter the door."""
    counts = Counter()
    for batch in _batches(events=20_000, sessions=100):
        counts[batch.session] += len(batch.events)
    ordered = sorted((count for session, count in counts.items() if session != "backend"), reverse=True)
    assert sum(ordered[:20]) > 0.4 * sum(ordered)


@pytest.mark.slow
def test_majority_of_several_sessions_is_the_truth_for_nearly_every_task():
    """Without known truth a consensus view cannot be checked; with perfect workers it checks nothing."""
    votes, answers, right = defaultdict(dict), 0, 0
    for batch in _batches(events=60_000):
        for event in batch.events:
            if hasattr(event, "task"):
                votes[event.task][batch.session] = event.answer
                answers, right = answers + 1, right + (event.answer == truth(event.task))
    assert 0.75 < right / answers < 0.95
    often = {task: Counter(said.values()) for task, said in votes.items() if len(said) >= 3}
    assert len(often) > 0.75 * len(votes)
    agreed = sum(said.most_common(1)[0][0] == truth(task) for task, said in often.items())
    assert agreed / len(often) > 0.95


def test_some_sessions_answer_a_task_again():
    """Distinct votes must differ from accepted labels, or nobody notices a door that counts twice."""
    answers = [(b.session, e.task) for b in _batches(events=20_000) for e in b.events if hasattr(e, "task")]
    assert len(set(answers)) < len(answers)


def test_a_mistake_is_never_the_truth():
    """Accuracy is what the generator says it is."""
    rng = Random(5)
    for kind, number in itertools.product(("image_label", "audio_transcript", "text_answer"), range(200)):
        task = task_name(kind, number)
        assert mistake(task, rng) != truth(task)
        assert THEMES[task.split("-")[0]].kind == kind


def test_bots_are_judged_not_human_and_people_human():
    """The door drops what bots answered; the simulation must know which those are."""
    plan = Plan(events=20_000, start_ms=NOW_MS, sessions=50, bots=0.3, verdicts=1.0)
    traffic = Traffic(plan, Random(3))
    events = [event for batch in traffic.batches() for event in batch.events]
    verdicts = {event.session: event.human for event in events if event.__struct_config__.tag == "verdict"}
    assert len(verdicts) > 40
    assert all(human == (session not in traffic.bots()) for session, human in verdicts.items())


def test_no_bots_unless_asked_for():
    """By default accepted votes equal rows, with nothing to subtract."""
    assert all(event.human for event in _events(verdicts=1.0) if hasattr(event, "human"))


def test_a_reach_speeds_up_and_slows_down():
    """Minimum jerk: a bell of speed, peak 1.875 of the mean; a straight run at even speed is how bots move."""
    way = minimum_jerk(61)
    speed = [after - before for before, after in itertools.pairwise(way)]
    assert (way[0], way[-1]) == (0, pytest.approx(1))
    assert speed.index(max(speed)) in (29, 30)
    assert max(speed) / statistics.mean(speed) == pytest.approx(1.875, rel=0.01)


def test_samples_come_at_about_60_hz_with_jitter():
    """Screens refresh at 60 Hz; gaps of exactly 16 ms each would give a generator away."""
    hands = Hands(Random(2))
    gaps = Counter()
    for distance in range(20, 1_500, 5):
        t, _, _ = hands.reach(10, 10, 10 + distance, 300)
        gaps.update(after - before for before, after in itertools.pairwise(t))
    assert 15 <= statistics.median(gaps.elements()) <= 18
    assert len(gaps) > 5
    assert max(gaps) > 90  # a pause


def test_pointer_arrives_near_where_it_aims():
    """Noise and a bend, not a random walk."""
    hands = Hands(Random(2))
    for _ in range(100):
        _, x, y = hands.reach(100, 100, 700, 400)
        assert abs(x[0] - 100) < 5
        assert abs(x[-1] - 700) < 5
        assert abs(y[-1] - 400) < 5


def test_key_timings_are_log_normal_and_name_no_key():
    """Dwell and flight are all that may leave a keyboard."""
    hands = Hands(Random(2))
    dwells, flights = [], []
    for _ in range(200):
        down, up = hands.typing(20)
        dwells += [after - before for before, after in zip(down, up, strict=True)]
        flights += [after - before for before, after in itertools.pairwise(down)]
    assert 80 < statistics.median(dwells) < 105
    assert statistics.mean(flights) > statistics.median(flights) > 140


def test_a_held_phone_feels_gravity():
    """Accelerometers report about 9.81 m/s² at rest, whichever way a phone is held."""
    _, x, y, z = Hands(Random(2)).acceleration(1_000)
    mean = [statistics.mean(axis) for axis in (x, y, z)]
    assert sum(axis**2 for axis in mean) ** 0.5 == pytest.approx(9.81, abs=0.2)


@pytest.mark.parametrize("categories", [(), ("signals", "secrets")])
def test_categories_that_do_not_exist_are_refused(categories):
    """A typing error must not become a run without that category."""
    with pytest.raises(ValueError, match="categories must be some of"):
        Traffic(Plan(events=1, start_ms=NOW_MS, categories=categories), Random(1))
