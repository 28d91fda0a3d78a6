"""The detector that judges the SDK's reductions, and what they make of hands and keys."""

from random import Random

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from attacks.detector.__main__ import compare
from attacks.detector.features import features, told
from attacks.detector.plays import bots_of, simulated_plays
from unjoin.simulator.motion import Hands
from unjoin.simulator.sdk_signals import (
    MOMENT_MS,
    NEAR_PX,
    STROKES,
    HushedHand,
    Sample,
    SampledKeys,
    Stroke,
    thinned,
)


def strokes_of(keys: int, began: float = 0.0) -> list[Stroke]:
    return [Stroke(began + 100 * key, began + 100 * key + 60) for key in range(keys)]


@pytest.mark.parametrize("keys", [3, 8, 40, 150])
def test_any_length_of_typing_tells_exactly_three_strokes(keys: int) -> None:
    """Their number would be the answer's length."""
    sampled = SampledKeys(Random(1))
    sampled.type(strokes_of(keys))
    assert len(sampled.take(100 * keys)) == STROKES
    sampled.type(strokes_of(keys, 100.0 * keys))
    assert sampled.take(200 * keys) == [] or 100 * keys > 20_000


def test_no_place_near_an_answer_is_told() -> None:
    """Neither the rest on a button nor the way's end to it."""
    hand, hands = HushedHand(), Hands(Random(1))
    t, xs, ys = hands.reach(50, 50, 600, 400)
    way = [Sample(at, x, y) for at, x, y in zip(t, xs, ys, strict=True)]
    hand.move(way)
    at = way[-1].t + 200
    hand.answer(at)
    places = hand.take(at)
    t, xs, ys = hands.reach(way[-1].x, way[-1].y, 100, 600)
    hand.move([Sample(at + 1_500 + later, x, y) for later, x, y in zip(t, xs, ys, strict=True)])
    places += hand.take(at + 10_000)
    assert places
    for place in places:
        assert np.hypot(place.x - way[-1].x, place.y - way[-1].y) >= NEAR_PX
        assert abs(place.t - at) >= MOMENT_MS or place.t < at


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
    assert all(len(points) <= 100 for points in curves.values())


def test_features_of_nothing_are_missing_and_as_many_as_of_everything() -> None:
    """A session that tells nothing is what one kind of bot looks like."""
    play = simulated_plays(1, Random(1))[0]
    full = features(*told(play, Random(1), is_reduced=False))
    assert len(features([], [])) == len(full)
    assert not np.isnan(full).all()
