"""The door withstands the attacks, and they find out when one of its protections is switched off.

In process and with few labels, so that it is quick; `unjoin attack` does it on the whole pipeline, at full size.
"""

from functools import cache
from random import Random

import pytest

from attacks.linkage.evaluation import Report, evaluate
from attacks.linkage.in_process import Weakness, record_in_process
from attacks.linkage.recording import Recording
from attacks.linkage.report import failures
from attacks.linkage.traffic import closing_posts, day_of_posts

ANSWERS, TASKS = 4_000, 8_000


@cache
def recorded(weakness: Weakness) -> Recording:
    rng = Random(1)
    posts = day_of_posts(rng, sessions=100, answers=ANSWERS, tasks=TASKS) + closing_posts(40, 4)
    return record_in_process(posts, rng, weakness)


@cache
def attacked(weakness: Weakness) -> Report:
    return evaluate(recorded(weakness), pairs=4_000, trees=30, rounds=30)


def leaks_of(report: Report) -> set[str]:
    """Attacks whose success is above the bar by more than luck: even the lower 99 % bound is."""
    leaking = {f"{one.adversary}, {one.attack}" for one in report.results if one.after.lower > one.bar}
    return leaking | ({"same session"} if report.pairs.after > 0.6 else set())


@pytest.mark.slow
def test_no_attack_joins_what_left_the_door() -> None:
    """The promise. With 2,000 tries, a leak must be larger than at full size to be seen."""
    report = attacked(Weakness.NONE)
    assert report.crowds.as_the_rule_says
    assert report.crowds.members >= 20
    assert not leaks_of(report)


@pytest.mark.slow
def test_every_attack_succeeds_before_the_door() -> None:
    """The positive control: an attack that is blind there proves nothing."""
    report = attacked(Weakness.NONE)
    assert all(one.sees for one in report.results)
    assert report.pairs.sees


@pytest.mark.slow
def test_order_of_arrival_is_found_out() -> None:
    """Sorting by a keyed hash is what keeps a watcher from counting its way back."""
    report = attacked(Weakness.ARRIVAL_ORDER)
    assert {"watcher, order of release", "watcher, classifier of members"} <= leaks_of(report)
    assert not report.crowds.as_the_rule_says


@pytest.mark.slow
def test_row_id_without_the_task_is_found_out() -> None:
    """A hash of the voter alone, however strong its key, is a pseudonym: one told label gives away the rest."""
    found = leaks_of(attacked(Weakness.VOTER_ROW_ID))
    assert {"at rest, adjacency of row_id", "at rest, classifier, every field", "same session"} <= found


@pytest.mark.slow
def test_crowd_of_one_is_found_out() -> None:
    """Who leaves alone is whoever was there."""
    report = attacked(Weakness.NO_CROWD)
    assert leaks_of(report) & {"watcher, time of release", "watcher, classifier of members"}
    assert not report.crowds.as_the_rule_says


@pytest.mark.slow
@pytest.mark.parametrize("weakness", [one for one in Weakness if one is not Weakness.NONE])
def test_report_names_what_leaks(weakness: Weakness) -> None:
    """Whoever runs the attacks must learn which one succeeded, and that the run failed."""
    report = attacked(weakness)
    assert not report.holds
    assert {one.partition(":")[0] for one in failures(report)} >= leaks_of(report)
