"""What the browser SDK tells of hands and keys, as its `columns.ts` and `strokes.ts` decide it. Pure.

`PLAIN` is every stroke and every rest, which is what pages without reductions would send; it is the positive control
of the attacks, and what the bot detector is compared with.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from unjoin.simulator.rng import Rng

STROKES = 3
"""Of every `key` event that the SDK sends, exactly."""

WINDOW_MS = 20_000.0
HAND_MS, REST_MS = 40.0, 100.0
MOMENT_MS, NEAR_PX = 1_000.0, 64.0


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
    """Tells every thinned sample at once."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def move(self, samples: Sequence[Sample]) -> None:
        """The hand moves."""
        self._samples += samples

    def answer(self, at: float) -> None:
        """An answer is given where the hand is."""

    def take(self, at: float) -> list[Sample]:
        """What is told now, page milliseconds `at`."""
        told, self._samples = thinned(self._samples), []
        return told


class HushedHand:
    """Tells a place once the hand has left it by `NEAR_PX` and `MOMENT_MS`, and none near where it answered."""

    def __init__(self) -> None:
        self._kept: list[Sample] = []
        self._answered: Sample | None = None
        self._last = Sample(-math.inf, 0, 0)

    def move(self, samples: Sequence[Sample]) -> None:
        """The hand moves."""
        fresh = []
        for sample in samples:
            self._last = sample
            if self._answered is not None and _near(sample, self._answered, self._answered.t):
                continue
            self._answered = None
            fresh.append(sample)
        self._kept += thinned(fresh)

    def answer(self, at: float) -> None:
        """An answer is given where the hand is."""
        del self._kept[self._far(at) :]
        self._answered = self._last._replace(t=at)

    def take(self, at: float) -> list[Sample]:
        """What is told now, page milliseconds `at`."""
        far = self._far(at)
        told, self._kept = self._kept[:far], self._kept[far:]
        return told

    def _far(self, at: float) -> int:
        count = len(self._kept)
        while count and _near(self._kept[count - 1], self._last, at):
            count -= 1
        return count


class PlainKeys:
    """Tells every stroke."""

    def __init__(self) -> None:
        self._strokes: list[Stroke] = []

    def type(self, strokes: Sequence[Stroke]) -> None:
        """Keys go down and up."""
        self._strokes += strokes

    def take(self, at: float) -> list[Stroke]:
        """What is told now."""
        told, self._strokes = self._strokes, []
        return told


class SampledKeys:
    """Tells one run of exactly `STROKES` in `WINDOW_MS`, each as likely as any other, however much is typed."""

    def __init__(self, rng: Rng) -> None:
        self._random = rng.random
        self._recent: list[Stroke] = []
        self._chosen: list[Stroke] | None = None
        self._runs = 0
        self._quiet_until = -math.inf

    def type(self, strokes: Sequence[Stroke]) -> None:
        """Keys go down and up."""
        for stroke in strokes:
            if stroke.up < self._quiet_until:
                continue
            self._recent = [*self._recent, stroke][-STROKES:]
            if len(self._recent) == STROKES:
                self._runs += 1
                if self._random() * self._runs < 1:
                    self._chosen = self._recent

    def take(self, at: float) -> list[Stroke]:
        """What is told now; its strokes begin at 0."""
        if self._chosen is None:
            return []
        began = min(stroke.down for stroke in self._chosen)
        told = [Stroke(round(stroke.down - began), round(stroke.up - began)) for stroke in sorted(self._chosen)]
        self._recent, self._chosen, self._runs, self._quiet_until = [], None, 0, at + WINDOW_MS
        return told


def _near(sample: Sample, place: Sample, at: float) -> bool:
    return abs(at - sample.t) < MOMENT_MS or math.hypot(sample.x - place.x, sample.y - place.y) < NEAR_PX
