"""What the browser SDK tells of hands and keys, as its `columns.ts` and `strokes.ts` decide it. Pure.

`Plain…` is every stroke and every rest, which is what pages without reductions would send; it is the positive control
of the attacks, and what the bot detector is compared with.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from unjoin.simulator.rng import Rng

STROKES = 3
"""Of every `key` event that the SDK sends, exactly."""

SIGNALS_MS = 20_000.0
"""Between two requests with signals; which no answer moves, and no answer is in."""

HAND_MS, REST_MS = 40.0, 100.0
PLACES, PIECES, BETWEEN_MS = 8, 4, 1_000.0


class Sample(NamedTuple):
    """Where a hand is: page milliseconds, and pixels."""

    t: float
    x: float
    y: float


class Stroke(NamedTuple):
    """One key's way down and up, page milliseconds."""

    down: float
    up: float


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most one sample in `HAND_MS`, and always the one before a rest; none that repeats its place."""
    kept: list[Sample] = []
    passed: Sample | None = None

    def keep(sample: Sample) -> None:
        if not kept or sample[1:] != kept[-1][1:]:
            kept.append(sample)

    for sample in samples:
        if passed is not None and sample.t - passed.t >= REST_MS:
            keep(passed)
            passed = None
        if not kept or sample.t - kept[-1].t >= HAND_MS:
            keep(sample)
            passed = None
        else:
            passed = sample
    if passed is not None:
        keep(passed)
    return kept


class PlainHand:
    """Tells every thinned sample, in whole pixels."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def move(self, samples: Sequence[Sample]) -> None:
        """The hand moves."""
        self._samples += [Sample(t, round(x), round(y)) for t, x, y in samples]

    def take(self) -> list[Sample]:
        """What is told now."""
        told, self._samples = thinned(self._samples), []
        return told


class PiecedHand:
    """Tells at most `PIECES` of at most `PLACES`, drawn, ordered, turned and scaled at random, each from 0, 0."""

    def __init__(self, rng: Rng) -> None:
        self._random = rng.random
        self._pieces: list[list[Sample]] = []
        self._seen = 0
        self._piece: list[Sample] = []
        self._kept = Sample(-math.inf, math.nan, math.nan)
        self._passed: Sample | None = None
        self._last = 0.0

    def move(self, samples: Sequence[Sample]) -> None:
        """The hand moves."""
        for t, x, y in samples:
            if t - self._last >= REST_MS:
                self._cut()
            self._last = t
            sample = Sample(t, round(x), round(y))
            if t - self._kept.t >= HAND_MS:
                self._keep(sample)
            else:
                self._passed = sample

    def take(self) -> list[Sample]:
        """What is told now; it begins at 0."""
        self._cut()
        told: list[Sample] = []
        began = 0.0
        for piece in self._pieces:
            turn, size = self._random() * math.tau, 4 ** (self._random() - 0.5)
            along, across = size * math.cos(turn), size * math.sin(turn)
            first = piece[0]
            for t, x, y in piece:
                right, down = x - first.x, y - first.y
                place = round(right * along - down * across), round(right * across + down * along)
                told.append(Sample(round(began + t - first.t), *place))
            began = told[-1].t + BETWEEN_MS
        self._pieces, self._seen = [], 0
        return told

    def _keep(self, sample: Sample) -> None:
        if sample[1:] != self._kept[1:]:
            self._kept = sample
            self._piece.append(sample)
        self._passed = None
        if len(self._piece) == PLACES:
            self._cut()

    def _cut(self) -> None:
        if self._passed is not None:
            self._keep(self._passed)
        piece, self._piece = self._piece, []
        if len(piece) < 2:
            return
        self._seen += 1
        place = int(self._random() * self._seen)
        if self._seen <= PIECES:
            self._pieces.append(self._pieces[place] if place < len(self._pieces) else piece)
        if place < PIECES:
            self._pieces[place] = piece


class PlainKeys:
    """Tells every stroke."""

    def __init__(self) -> None:
        self._strokes: list[Stroke] = []

    def type(self, strokes: Sequence[Stroke]) -> None:
        """Keys go down and up."""
        self._strokes += strokes

    def take(self) -> list[Stroke]:
        """What is told now."""
        told, self._strokes = self._strokes, []
        return told


class SampledKeys:
    """Tells one run of exactly `STROKES`, each as likely as any other, however much was typed."""

    def __init__(self, rng: Rng) -> None:
        self._random = rng.random
        self._recent: list[Stroke] = []
        self._chosen: list[Stroke] | None = None
        self._runs = 0

    def type(self, strokes: Sequence[Stroke]) -> None:
        """Keys go down and up."""
        for stroke in strokes:
            self._recent = [*self._recent, stroke][-STROKES:]
            if len(self._recent) == STROKES:
                self._runs += 1
                if self._random() * self._runs < 1:
                    self._chosen = self._recent

    def take(self) -> list[Stroke]:
        """What is told now; its strokes begin at 0."""
        if self._chosen is None:
            return []
        began = min(stroke.down for stroke in self._chosen)
        told = [Stroke(round(stroke.down - began), round(stroke.up - began)) for stroke in sorted(self._chosen)]
        self._recent, self._chosen, self._runs = [], None, 0
        return told
