"""The attacks themselves: each finds a leak that is there, and none where there is only noise."""

from random import Random

import numpy as np
import pytest

from attacks.linkage import attackers
from attacks.linkage.views import Activity, Crowds, View

LABELS, SESSIONS = 1_200, 12
CHANCE_MAX = 0.2  # of twelve equal sessions, 8 % is chance; the rest is luck that 600 tries do not have


def view_of(*, order_leaks: bool = False, id_leaks: bool = False, times: bool = False) -> View:
    """Labels of twelve equally active sessions, one after the other."""
    rng = np.random.default_rng(1)
    owners = [f"s-{index * SESSIONS // LABELS:02d}" for index in range(LABELS)]
    place = np.arange(LABELS) / LABELS if order_leaks else rng.permutation(LABELS) / LABELS
    noise = rng.integers(0, 256, size=(LABELS, 8)).astype(float)
    names = Random(1)
    pseudonyms = [f"{names.getrandbits(128):032x}" for _ in owners]
    if id_leaks:
        pseudonyms = [f"{int(owner[2:]):02x}" + one[2:] for owner, one in zip(owners, pseudonyms, strict=True)]
        noise[:, 0] = [int(owner[2:]) for owner in owners]
    return View(
        owner=owners,
        task=[f"t-{index}" for index in range(LABELS)],
        pseudonym=pseudonyms,
        at=np.arange(LABELS, dtype=np.float64) * 10 if times else np.full(LABELS, np.nan),
        place=place,
        log=np.zeros(LABELS, dtype=int),
        features=np.column_stack([place, noise]),
        crowd=np.zeros(LABELS, dtype=int),
    )


ACTIVITY = Activity(
    np.arange(LABELS, dtype=np.float64) * 10, [f"s-{index * SESSIONS // LABELS:02d}" for index in range(LABELS)]
)
CROWDS = Crowds([tuple(f"s-{number:02d}" for number in range(SESSIONS))], np.array([0.0]), np.array([LABELS * 10.0]))
TOLD = np.random.default_rng(2).permutation(LABELS) % 2 == 0


def success(view: View, guesses: list[str]) -> float:
    return float(np.mean([view.owner[index] == guesses[index] for index in np.flatnonzero(~TOLD).tolist()]))


def test_time_of_a_label_finds_its_session() -> None:
    """A label that kept its time is next to the signals of whoever gave it."""
    view = view_of(times=True)
    assert success(view, attackers.by_time(view, ACTIVITY)) == 1
    assert success(view, attackers.by_time_among(view, ACTIVITY, CROWDS)) == 1


def test_order_of_labels_finds_their_sessions() -> None:
    """Without any time, the order in which labels lie is a clock."""
    leaky, noisy = view_of(order_leaks=True), view_of()
    for attack in (lambda view: attackers.by_time(view, ACTIVITY), lambda view: attackers.by_neighbour(view, TOLD)):
        assert success(leaky, attack(leaky)) > 0.9
        assert success(noisy, attack(noisy)) < CHANCE_MAX


def test_ids_that_run_together_find_their_sessions() -> None:
    """An id that begins alike for all labels of a session is a pseudonym, whatever the rest of it is."""
    leaky, noisy = view_of(id_leaks=True), view_of()
    for attack in (
        lambda view: attackers.by_pseudonym_neighbour(view, TOLD),
        lambda view: attackers.Forest(view, TOLD, 1).guess(),
    ):
        assert success(leaky, attack(leaky)) > 0.9
        assert success(noisy, attack(noisy)) < CHANCE_MAX


def test_labels_of_one_pseudonym_share_their_best_guess() -> None:
    """What makes a pseudonym worth stealing: one label that is recognised gives away all the others."""
    view = view_of()
    voters = View(
        owner=view.owner, task=view.task, pseudonym=view.owner, at=view.at, place=view.place, log=view.log,
        features=view.features, crowd=view.crowd,
    )  # fmt: skip
    rng = Random(3)
    mostly_wrong = [owner if rng.random() < 0.3 else f"s-{rng.randrange(SESSIONS):02d}" for owner in view.owner]
    assert success(view, attackers.vote_by_pseudonym(view, mostly_wrong)) < 0.5
    assert success(voters, attackers.vote_by_pseudonym(voters, mostly_wrong)) == 1


@pytest.mark.parametrize(("leaks", "lowest", "highest"), [(True, 0.9, 1.0), (False, 0.45, 0.55)])
def test_same_session_is_told_from_a_leak_and_not_from_noise(leaks: bool, lowest: float, highest: float) -> None:
    """Two labels of one session must look no more alike than any two."""
    auc, pairs = attackers.same_session_auc(view_of(id_leaks=leaks), np.random.default_rng(4), 4_000)
    assert pairs == 4_000
    assert lowest <= auc <= highest


def test_nearest_is_the_nearest() -> None:
    """Every attack by time or order stands on it; its edges are where it would go wrong unseen."""
    values = np.array([0.0, 10.0, 20.0])
    assert attackers.nearest(values, np.array([-5.0, 4.0, 5.0, 6.0, 99.0])).tolist() == [0, 0, 0, 1, 2]
    assert attackers.nearest(np.array([7.0]), np.array([1.0, 9.0])).tolist() == [0, 0]
