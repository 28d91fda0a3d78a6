"""Weights of labels: what they tell, and what they help, on votes that can be counted by hand."""

import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.linkage.crowd_shares import Given, answers_of
from attacks.linkage.views import at_rest, watched
from attacks.weights.classifiers import fields_of, recorded, with_fields
from attacks.weights.classifiers import votes_of as votes_of_recording
from attacks.weights.consensus import at_the_door, credit, dawid_skene, plain_majority, weighted_majority
from attacks.weights.frontier import Arrival, frontier
from attacks.weights.leaks import leak, missing, pairs_auc
from attacks.weights.logs import day_of, with_levels, without_failing
from attacks.weights.quality import PRIOR_VOTES, Memory, Source, estimates
from attacks.weights.rules import CROWD_MIN, Rule, drawn, most_of_one, odds_of
from attacks.weights.votes import Floats, Votes, truth_of
from testkit.door_config import crowd_rule


def votes_of(rows: list[tuple[int, int, int]], truth: list[int], crowd: list[int] | None = None) -> Votes:
    """Votes from rows of worker, task and answer."""
    worker, task, answer = (np.array(column) for column in zip(*rows, strict=True))
    return Votes(worker, task, answer, np.array(crowd or [0] * len(rows)), np.array(truth))


def full(workers: int, tasks: int, answer: int = 1) -> Votes:
    """Everybody answers everything, and the same."""
    return votes_of([(worker, task, answer) for worker in range(workers) for task in range(tasks)], [1] * tasks)


def test_a_level_of_ones_own_names_every_label() -> None:
    """Two sessions, each with a level that the other never has: nothing is left to guess."""
    votes = full(2, 10)
    found = leak(votes, np.eye(2)[votes.worker], sees_right=False)
    assert (found.rest, found.watcher, found.rest_share) == (1.0, 1.0, 0.5)
    assert found.pairs == pytest.approx(1.0)


def test_a_level_that_all_have_alike_tells_nothing() -> None:
    """However unequal the levels are, if every session's labels have them as often."""
    votes = full(5, 4)
    found = leak(votes, np.tile([0.3, 0.7], (len(votes), 1)), sees_right=False)
    assert found.rest == pytest.approx(found.rest_share) == pytest.approx(0.2)
    assert found.pairs == pytest.approx(0.5)
    assert found.worst == pytest.approx(0.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), min_size=2, max_size=8))
def test_pairs_are_told_at_least_as_well_as_by_equal_levels(sessions: list[tuple[float, int]]) -> None:
    """Of two levels, equal or not is a test like any other; the best one is no worse, and no worse than a coin."""
    given_ = np.array([[high * count, (1 - high) * count] for high, count in sessions])
    share = given_.sum(axis=1) / given_.sum()
    high = given_[:, 0] / given_.sum(axis=1)
    equal = high[:, None] * high[None, :] + (1 - high)[:, None] * (1 - high)[None, :]
    same = share @ np.diag(equal)
    differ = (share @ equal @ share - share**2 @ np.diag(equal)) / (1 - (share**2).sum())
    assert pairs_auc(given_) >= max(0.5, 0.5 + (same - differ) / 2) - 1e-9


@given(st.integers(2, 4), st.floats(0.05, 5), st.floats(0.01, 0.99))
def test_noise_makes_no_level_likelier_than_its_epsilon_allows(levels: int, epsilon: float, quality: float) -> None:
    """Randomised response: of any two voters, e**epsilon bounds how much likelier a level is for the one."""
    votes = full(2, 1)
    cuts = tuple(np.linspace(0.2, 0.8, levels - 1).tolist())
    rule = Rule(source=Source.GOLD, cuts=cuts, epsilon=epsilon)
    odds = odds_of(rule, votes, np.array([quality, 0.99]))
    assert odds.shape == (2, levels)
    assert odds.sum(axis=1) == pytest.approx([1, 1])
    assert (odds[0] / odds[1]).max() <= math.exp(epsilon) * (1 + 1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 5))
def test_a_level_with_too_few_voters_of_a_crowd_is_merged(quality: list[float], voters_min: int) -> None:
    """Whoever is alone on a level is known by it."""
    votes = full(len(quality), 2)
    rule = Rule(source=Source.GOLD, cuts=(0.25, 0.5, 0.75), voters_min=voters_min)
    level = odds_of(rule, votes, np.array(quality)[votes.worker]).argmax(axis=1)
    held = [len(set(votes.worker[level == one].tolist())) for one in set(level.tolist())]
    assert len(held) == 1 or min(held) >= voters_min


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.sampled_from([0.1, 0.2, 0.3, 1.0]))
def test_nobody_has_more_than_a_share_of_what_is_missing(given_: list[int], share_max: float) -> None:
    """A missing vote is nearly known to be his who has most of them; and as many are missing as may be."""
    counts = np.array(given_)
    most = most_of_one(counts, share_max)
    kept = np.minimum(counts, most)
    assert most <= share_max * kept.sum() + 1e-6
    if most < counts.max():
        more = np.minimum(counts, most + 1)
        assert more.max() > share_max * more.sum()


@pytest.mark.parametrize(("workers", "missing_voters"), [(CROWD_MIN, 0), (CROWD_MIN + 3, 3), (40, 10)])
def test_a_crowd_keeps_its_voters_whoever_fails(workers: int, missing_voters: int) -> None:
    """Whoever sets the gold tasks may make everybody fail but one: the others still hide that one."""
    votes = full(workers, 3)
    rule = Rule(source=Source.GOLD, cuts=(0.7,), suppressed=1.0, failing_max=0.25)
    odds = odds_of(rule, votes, np.where(votes.worker == 0, 0.99, 0.1))
    stays = set(votes.worker[drawn(odds, np.random.default_rng(1)) == 0].tolist())
    assert len(stays) == workers - missing_voters >= CROWD_MIN
    assert 0 in stays
    assert missing(votes, odds)[0] == pytest.approx(missing_voters / workers)


@pytest.mark.parametrize("source", Source)
def test_what_is_learned_after_a_crowd_has_left_changes_nothing_of_it(source: Source) -> None:
    """A crowd is a function of the log up to it; a replay would otherwise release it differently."""
    rows = [(worker, task, (worker + task) % 2) for worker in range(4) for task in range(6)]
    truth, crowd = [1, 0, 1, 1, 0, 0], [task // 3 for _, task, _ in rows]
    is_gold = np.array([True, False, False, True, True, False])
    votes = votes_of(rows, truth, crowd)
    other = votes_of([(w, t, a if c == 0 else 0) for (w, t, a), c in zip(rows, crowd, strict=True)], truth, crowd)
    first = votes.crowd == 0
    assert estimates(votes, is_gold, source)[first] == pytest.approx(estimates(other, is_gold, source)[first])
    assert estimates(votes, is_gold, source, Memory.CROWD)[first] == pytest.approx(
        estimates(votes, is_gold, source, Memory.DAY)[first]
    )


def test_a_voter_of_whom_little_is_known_is_taken_to_be_like_the_others() -> None:
    """One gold answer, wrong, is not yet a bad voter."""
    rows = [(0, 0, 0), *((1, task, 1) for task in range(9))]
    found = estimates(votes_of(rows, [1] * 9), np.ones(9, dtype=bool), Source.GOLD)
    assert found[0] == pytest.approx(PRIOR_VOTES * 0.9 / (1 + PRIOR_VOTES))
    assert found[1] == pytest.approx((9 + PRIOR_VOTES * 0.9) / (9 + PRIOR_VOTES))


def test_agreement_leaves_the_voters_own_answer_out() -> None:
    """Else everybody would agree with themselves; a task that only one answered says nothing of them."""
    rows = [(0, 0, 1), (1, 0, 1), (2, 0, 0), (0, 1, 0)]
    found = estimates(votes_of(rows, [1, 0]), np.zeros(2, dtype=bool), Source.AGREEMENT)
    # Of voters 0 and 1 the others disagree, so only voter 2 is judged.
    assert found.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_one_good_voter_outweighs_two_that_gold_says_are_worse() -> None:
    """What weights are for."""
    gold = [(0, task, 1) for task in range(10)] + [(1, task, task % 2) for task in range(10)]
    rows = [*gold, *((2, task, task % 2) for task in range(10)), (0, 10, 1), (1, 10, 0), (2, 10, 0)]
    votes = votes_of(rows, [1] * 11)
    is_gold = np.arange(11) < 10
    level = np.where(votes.worker == 0, 1, 0)
    assert credit(plain_majority(votes), votes.truth)[10] == 0
    assert credit(weighted_majority(votes, level, is_gold), votes.truth)[10] == 1


@pytest.mark.parametrize(
    ("scores", "expected"), [([0.0, 2.0], 1.0), ([1.0, 1.0], 0.5), ([0.0, 0.0], 0.5), ([2.0, 1.0], 0.0)]
)
def test_a_tie_counts_as_it_would_by_lot(scores: list[float], expected: float) -> None:
    """A rule that leaves no vote must not profit from which answer comes first."""
    assert credit(np.array([scores]), np.array([1])).tolist() == [expected]


def test_dawid_skene_with_ids_finds_the_spammers_and_without_ids_cannot() -> None:
    """Three of eight who draw by lot, and five who are right nine times of ten."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 400)
    right = np.array([0.9] * 5 + [0.3] * 3)
    rows = [
        (worker, task, int(truth[task] if rng.random() < right[worker] else 1 - truth[task]))
        for worker in range(8)
        for task in range(400)
    ]
    votes = votes_of(rows, truth.tolist())

    def accuracy(scores: Floats) -> float:
        return float(credit(scores, votes.truth).mean())

    assert accuracy(dawid_skene(votes, votes.worker)) > accuracy(plain_majority(votes)) + 0.01
    assert accuracy(dawid_skene(votes, np.zeros_like(votes.worker))) <= accuracy(plain_majority(votes))


def test_whoever_sets_the_gold_tasks_reads_one_voters_answers_from_what_the_door_says() -> None:
    """He makes everybody else look no better than a coin: then the answer that wins is always that voter's."""
    rng = np.random.default_rng(1)
    rows = [(worker, task, int(rng.integers(0, 2))) for worker in range(7) for task in range(50)]
    votes = votes_of(rows, [0] * 50)
    scores, _ = at_the_door(votes, np.where(votes.worker == 0, 0.99, 0.5))
    assert scores.argmax(axis=1).tolist() == votes.answer[votes.worker == 0].tolist()


def test_the_door_says_nothing_of_a_task_whose_majority_stands() -> None:
    """Most labels leave as they do now."""
    votes = votes_of([(0, 0, 1), (1, 0, 1), (2, 0, 0), (0, 1, 1), (1, 1, 0), (2, 1, 0)], [1, 1])
    scores, said = at_the_door(votes, np.array([0.95, 0.5, 0.6, 0.95, 0.5, 0.6]))
    assert scores.tolist() == [[1.0, 2.0], [2.0, 2.5]]
    assert said.argmax(axis=1).tolist() == [0, 0, 0, 1, 2, 2]


def test_the_classifiers_get_each_labels_own_level() -> None:
    """A level beside another label would hide the link, and the attack would prove nothing."""
    answers = [Given(f"t-{task}", f"w-{worker}", str((worker + task) % 2)) for worker in range(25) for task in range(8)]
    recording = recorded(answers, Random(1), 20)
    votes = votes_of_recording(recording, answers, {f"t-{task}": "1" for task in range(8)})
    rule = Rule(source=Source.AGREEMENT, cuts=(0.4, 0.5))
    fields = fields_of(votes, rule, 0.5, np.random.default_rng(1))
    levels = odds_of(rule, votes, estimates(votes, np.zeros(8, dtype=bool), rule.source)).argmax(axis=1)
    assert len(set(levels.tolist())) > 1
    assert [fields[name][0] for name in votes.names] == levels.tolist()
    for view in (at_rest(recording), watched(recording)):
        some = list(fields)[::2]
        left = with_fields(view, {name: fields[name] for name in some})
        assert sorted(zip(left.owner, left.task, strict=True)) == sorted(some)
        for name, row in zip(zip(left.owner, left.task, strict=True), left.features.tolist(), strict=True):
            assert tuple(row[-2:]) == fields[name]


def test_who_holds_every_log_gains_by_levels_and_nothing_by_knowing_who_is_left_out() -> None:
    """The bar is the largest share of what left, and a point."""
    day = day_of(1, hours=0.5, sessions_an_hour=600, crowd_target=30)
    odds = np.eye(4)
    attacker = with_levels(day, odds, np.full(4, 0.25), np.random.default_rng(1))
    blind, seeing = (attacker.by_everything(sees_level=sees) for sees in (False, True))
    assert seeing.found.lower > blind.found.upper
    left = without_failing(day, 0.25, np.random.default_rng(1)).by_everything(sees_level=True)
    assert left.found.tries < blind.found.tries
    assert not left.leaks


@pytest.mark.datasets
def test_no_weight_of_real_answers_is_both_safe_and_useful(datasets: Path) -> None:
    """What docs/weights.md says: levels help and link; noise that hides them leaves nothing of the help."""
    folder = datasets / "crowd_labels"
    exact = Rule(source=Source.GOLD, cuts=(0.7,))
    tried = [exact, Rule(source=Source.GOLD, cuts=(0.7,), epsilon=0.25)]
    figures = frontier(
        answers_of(folder / "bluebirds_answers.csv"),
        truth_of(folder / "bluebirds_truth.csv"),
        Arrival(crowd_rule(CROWD_MIN, crowd_target=200), 4.0),
        runs=3,
        seed=1,
        tried=tried,
    )
    found = {one.name: one for one in figures}
    levels, noisy = found[exact.name], found[tried[1].name]
    assert levels.is_useful
    assert not levels.is_safe
    assert noisy.is_safe
    assert not noisy.is_useful
