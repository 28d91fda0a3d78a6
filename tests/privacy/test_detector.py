"""The detector that judges the SDK's reductions, and what they make of hands and keys."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from attacks.detector.__main__ import compare
from attacks.detector.features import features, told
from attacks.detector.plays import bots_of, simulated_plays
from unjoin.simulator.motion import Hands
from unjoin.simulator.sdk_signals import (
    BETWEEN_MS,
    PIECES,
    PLACES,
    STROKES,
    PiecedHand,
    Sample,
    SampledKeys,
    Stroke,
    thinned,
)


def strokes_of(keys: int) -> list[Stroke]:
    return [Stroke(100 * key, 100 * key + 60) for key in range(keys)]


@pytest.mark.parametrize("keys", [3, 8, 40, 150])
def test_any_length_of_typing_tells_exactly_three_strokes(keys: int) -> None:
    """Their number would be the answer's length."""
    sampled = SampledKeys(Random(1))
    sampled.type(strokes_of(keys))
    assert len(sampled.take()) == STROKES
    assert sampled.take() == []


def test_a_hand_tells_a_few_movements_and_neither_where_nor_when_they_were() -> None:
    """Buttons are places, and answers are moments."""
    rng = Random(1)
    hand, hands = PiecedHand(rng), Hands(rng)
    now = 5_000.0
    for _ in range(12):
        t, xs, ys = hands.reach(50, 50, 600, 400)
        hand.move([Sample(now + at, x, y) for at, x, y in zip(t, xs, ys, strict=True)])
        now += t[-1] + 4_000
    told = hand.take()
    begins = [0, *(n for n in range(1, len(told)) if told[n].t - told[n - 1].t >= BETWEEN_MS), len(told)]
    assert len(begins) - 1 == PIECES
    for begin, end in pairwise(begins):
        assert told[begin][1:] == (0, 0)
        assert end - begin <= PLACES
        assert begin == 0 or told[begin].t - told[begin - 1].t == BETWEEN_MS
    assert hand.take() == []


def test_the_place_before_a_rest_is_kept_when_samples_are_thinned() -> None:
    """Where a movement ended is what people and machines do differently."""
    samples = [Sample(0, 0, 0), Sample(16, 5, 0), Sample(32, 9, 0), Sample(400, 30, 0)]
    assert thinned(samples) == [samples[0], samples[2], samples[3]]


@pytest.mark.slow
def test_detector_tells_people_from_every_kind_of_bot_that_shows_itself() -> None:
    """A detector that is blind before the reductions could lose nothing by them."""
    rng = Random(1)
    people = simulated_plays(24, rng)
    with threadpool_limits(1):
        compared, curves = compare([*people, *bots_of(people, rng)], 1, rounds=15)
    by_bot = {one.bot: one for one in compared}
    assert len(by_bot) == 6
    for bot in ("straight lines", "Bézier with noise", "labels alone"):
        assert by_bot[bot].before > 0.9, bot
        assert by_bot[bot].after > 0.9, bot
    assert all(len(points) <= 100 for points in curves.values())


def test_features_of_nothing_are_missing_and_as_many_as_of_everything() -> None:
    """A session that tells nothing is what one kind of bot looks like."""
    play = simulated_plays(1, Random(1))[0]
    full = features(*told(play, Random(1), is_reduced=False))
    assert len(features([], [])) == len(full)
    assert not np.isnan(full).all()
