"""What a detector computes of a session's signals, as they are stored; missing where nothing was told. Pure."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from attacks.detector.plays import Play
from unjoin.simulator.rng import Rng
from unjoin.simulator.sdk_signals import (
    SIGNALS_MS,
    PiecedHand,
    PlainHand,
    PlainKeys,
    Sample,
    SampledKeys,
    Stroke,
)

MOVEMENT_GAP_MS = 250.0
PAGE_END_MS = 5_000.0
QUANTILES = (0.1, 0.5, 0.9)


def told(play: Play, rng: Rng, *, is_reduced: bool) -> tuple[list[Sample], list[list[Stroke]]]:
    """What a page sends of a play: places in the order of time, and strokes an event."""
    hand = PiecedHand(rng) if is_reduced else PlainHand()
    keys = SampledKeys(rng) if is_reduced else PlainKeys()
    places: list[Sample] = []
    strokes: list[list[Stroke]] = []

    def send(at: float) -> None:
        # Reduced, an event's places begin at 0: what lies between two events is told by the events' own times.
        places.extend(sample._replace(t=sample.t + at) for sample in hand.take())
        strokes.append(keys.take())

    due = rng.random() * SIGNALS_MS
    for turn in play.turns:
        keys.type(turn.strokes)
        for sample in turn.way:
            while is_reduced and sample.t >= due:
                send(due)
                due += SIGNALS_MS
            hand.move([sample])
        if not is_reduced:
            send(0.0)
    send(play.turns[-1].at + PAGE_END_MS if is_reduced else 0.0)
    return places, [event for event in strokes if event]


def features(places: Sequence[Sample], strokes: Sequence[Sequence[Stroke]]) -> NDArray[np.float64]:
    """Speeds, pauses and bends of the hand; dwells and flights of keys."""
    return np.array([*_hand(places), *_keys(strokes)])


def _hand(places: Sequence[Sample]) -> list[float]:
    if len(places) < 4:
        return [float(len(places)), *[math.nan] * (8 * len(QUANTILES) + 6)]
    t, x, y = np.array(places).T
    gaps = np.diff(t)
    steps = np.hypot(np.diff(x), np.diff(y))
    moving = (gaps > 0) & (gaps < MOVEMENT_GAP_MS)
    speed = np.divide(steps, gaps, out=np.zeros_like(steps), where=gaps > 0)
    turn = np.abs(np.angle(np.exp(1j * np.diff(np.arctan2(np.diff(y), np.diff(x))))))
    both = moving[:-1] & moving[1:]
    change = np.abs(np.diff(speed))
    cuts = np.flatnonzero(~moving) + 1
    straight, uneven, peaks, spreads = [], [], [], []
    for path in np.split(np.arange(len(t)), cuts):
        if len(path) < 4:
            continue
        length = steps[path[:-1]].sum()
        if length < 10:
            continue
        own = speed[path[:-1]]
        straight.append(math.hypot(x[path[-1]] - x[path[0]], y[path[-1]] - y[path[0]]) / length)
        uneven.append(own.std() / max(own.mean(), 1e-6))
        peaks.append(own.argmax() / len(own))
        spreads.append(gaps[path[:-1]].std())
    return [
        float(len(places)),
        float(len(straight)),
        float(moving.mean()),
        float(np.mean(x == np.round(x))),
        float(np.mean(steps == 0)),
        float(gaps[moving].std()) if moving.any() else math.nan,
        float(np.mean(turn[both] < 0.02)) if both.any() else math.nan,
        *(value for column in (gaps[moving], speed[moving], turn[both], change[both]) for value in _quantiles(column)),
        *(value for column in (straight, uneven, peaks, spreads) for value in _quantiles(column)),
    ]


def _keys(strokes: Sequence[Sequence[Stroke]]) -> list[float]:
    dwells = [stroke.up - stroke.down for event in strokes for stroke in event]
    flights = [after.down - before.down for event in strokes for before, after in pairwise(event)]
    if not dwells or not flights:
        return [float(len(dwells)), *[math.nan] * (2 * len(QUANTILES) + 4)]
    return [
        float(len(dwells)),
        *_quantiles(dwells),
        *_quantiles(flights),
        float(np.std(dwells)),
        float(np.std(flights)),
        float(np.std(flights) / max(np.mean(flights), 1e-6)),
        float(np.std(dwells) / max(np.mean(dwells), 1e-6)),
    ]


def _quantiles(values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.quantile(values, QUANTILES)] if len(values) else [math.nan] * len(QUANTILES)
