"""How hands move: pointer paths, scroll bursts, swipes, key timings and a held phone, from a seeded generator. Pure.

Shapes are drawn once into pools and then scaled and shifted, so that an event costs microseconds.
Every method returns equal, freshly made lists; times are whole milliseconds from the event's own time.

Sources: minimum jerk, Flash and Hogan 1985; corrective sub-movements, Meyer et al. 1988; movement time, Fitts 1954;
log-normal dwell and flight times, Montalvão et al. 2015.
"""

import math
from itertools import accumulate
from typing import NamedTuple

from unjoin.simulator.rng import Rng

SAMPLE_MS = 1000 / 60
GRAVITY = 9.81

_SHORTEST, _LONGEST, _STEP = 8, 64, 4
_SHAPES_A_LENGTH = 12
_POOL = 4_096
_TRACES = 8


class Shape(NamedTuple):
    """One movement, scaled to distance 1: `n` samples each.

    Attributes:
        t: milliseconds, strictly rising from 0.
        along: share of the way made, about 0 to about 1.
        across: sideways, in shares of the distance.
        force: a finger's, 0 to 1.
    """

    t: list[float]
    along: list[float]
    across: list[float]
    force: list[float]


class Trace(NamedTuple):
    """What a phone's sensors read while somebody holds it: three axes of `_POOL` samples."""

    x: list[float]
    y: list[float]
    z: list[float]


def minimum_jerk(samples: int) -> list[float]:
    """The share of the way made at each of `samples` equal steps, 0 to 1: the smoothest reach there is."""
    last = max(1, samples - 1)
    steps = [index / last for index in range(samples)]
    return [10 * at**3 - 15 * at**4 + 6 * at**5 for at in steps]


class Hands:
    """Draws movements; the same `rng` in the same state gives the same ones."""

    def __init__(self, rng: Rng) -> None:
        self._random = rng.random
        lengths = range(_SHORTEST, _LONGEST + 1, _STEP)
        self._reaches = [[_reach(rng, n) for _ in range(_SHAPES_A_LENGTH)] for n in lengths]
        self._flings = [_fling(rng, n) for n in lengths for _ in range(_SHAPES_A_LENGTH // 2)]
        self._noise = [rng.gauss(0, 0.6) for _ in range(_POOL)]
        self._flights = [rng.lognormvariate(math.log(165), 0.45) for _ in range(_POOL)]
        self._dwells = [rng.lognormvariate(math.log(92), 0.28) for _ in range(_POOL)]
        self._rotations = [_trace(rng, (0.0, 0.0, 0.0), 2.4) for _ in range(_TRACES)]
        self._accelerations = [_trace(rng, _down(rng), 0.12) for _ in range(_TRACES)]

    def reach(self, x: float, y: float, to_x: float, to_y: float) -> tuple[list[float], list[float], list[float]]:
        """A pointer's way between two places: t, x, y; longer ways take more samples."""
        shape = self._shape(x, y, to_x, to_y)
        return (shape.t[:], *self._path(shape, x, y, to_x, to_y))

    def swipe(
        self, x: float, y: float, to_x: float, to_y: float
    ) -> tuple[list[float], list[float], list[float], list[float]]:
        """A finger's way between two places: t, x, y, force."""
        shape = self._shape(x, y, to_x, to_y)
        return (shape.t[:], *self._path(shape, x, y, to_x, to_y), shape.force[:])

    def scroll(self, y: float, to_y: float) -> tuple[list[float], list[float], list[float]]:
        """A burst of the wheel that runs out: t, x, y, never above the top."""
        shape = self._flings[int(self._random() * len(self._flings))]
        way = to_y - y
        return shape.t[:], [0] * len(shape.t), [max(0, int(y + way * share)) for share in shape.along]

    def typing(self, keys: int) -> tuple[list[float], list[float]]:
        """When `keys` keys went down and up, never which: t_down, t_up."""
        first = self._offset(keys)
        down: list[float] = [0, *map(int, accumulate(self._flights[first : first + keys - 1]))]
        first = self._offset(keys)
        up: list[float] = [int(at + dwell) for at, dwell in zip(down, self._dwells[first : first + keys], strict=True)]
        return down, up

    def rotation(self, samples: int) -> tuple[list[float], list[float], list[float], list[float]]:
        """Rotation rates of a held phone: t, and x, y, z in degrees a second."""
        return self._sensor(self._rotations, samples)

    def acceleration(self, samples: int) -> tuple[list[float], list[float], list[float], list[float]]:
        """Accelerations of a held phone, gravity included: t, and x, y, z in metres a second squared."""
        return self._sensor(self._accelerations, samples)

    def _shape(self, x: float, y: float, to_x: float, to_y: float) -> Shape:
        distance = math.hypot(to_x - x, to_y - y)
        seconds = 0.12 + 0.11 * math.log2(distance / 20 + 1)
        length = min(max(int(seconds * 1000 / SAMPLE_MS), _SHORTEST), _LONGEST)
        shapes = self._reaches[(length - _SHORTEST) // _STEP]
        return shapes[int(self._random() * _SHAPES_A_LENGTH)]

    def _path(self, shape: Shape, x: float, y: float, to_x: float, to_y: float) -> tuple[list[float], list[float]]:
        over, down = to_x - x, to_y - y
        first = self._offset(len(shape.t))
        noise = self._noise[first : first + len(shape.t)]
        points = list(zip(shape.along, shape.across, noise, strict=True))
        xs: list[float] = [int(x + over * along - down * across + error) for along, across, error in points]
        ys: list[float] = [int(y + down * along + over * across - error) for along, across, error in points]
        return xs, ys

    def _sensor(self, traces: list[Trace], samples: int) -> tuple[list[float], list[float], list[float], list[float]]:
        trace = traces[int(self._random() * _TRACES)]
        first = self._offset(samples)
        last = first + samples
        t: list[float] = [int(index * SAMPLE_MS) for index in range(samples)]
        return t, trace.x[first:last], trace.y[first:last], trace.z[first:last]

    def _offset(self, samples: int) -> int:
        return int(self._random() * (_POOL - samples))


def _times(rng: Rng, samples: int) -> list[float]:
    """About 60 Hz: jitter, now and then a lost frame, and in every sixth movement a pause."""
    gaps = [max(1.0, rng.gauss(SAMPLE_MS, 1.1)) * (2 if rng.random() < 0.03 else 1) for _ in range(samples - 1)]
    if samples > 3 and rng.random() < 1 / 6:
        gaps[rng.randrange(samples // 2, samples - 1)] += rng.uniform(90, 420)
    return [0, *map(int, accumulate(gaps))]


def _reach(rng: Rng, samples: int) -> Shape:
    """A first reach that lands a little off, and more often than not a second one that corrects it."""
    along = minimum_jerk(samples)
    if samples >= 12 and rng.random() < 0.65:
        landed = rng.uniform(0.84, 1.09)
        first = round(samples * rng.uniform(0.68, 0.8))
        second = samples - round(first * 0.9)  # it begins before the first has ended
        along = [landed * share for share in minimum_jerk(first)] + [landed] * (samples - first)
        correction = [0.0] * (samples - second) + minimum_jerk(second)
        along = [share + (1 - landed) * late for share, late in zip(along, correction, strict=True)]
    bend = rng.gauss(0, 0.05)
    across = [bend * math.sin(math.pi * index / (samples - 1)) for index in range(samples)]
    press, peak = rng.uniform(0.15, 0.3), rng.uniform(0.2, 0.5)
    force = [round(press + peak * abs(math.sin(math.pi * index / (samples - 1))) ** 0.7, 3) for index in range(samples)]
    return Shape(_times(rng, samples), along, across, force)


def _fling(rng: Rng, samples: int) -> Shape:
    """Fast at first, then slower and slower."""
    decay = rng.uniform(3, 6) / samples
    end = 1 - math.exp(-decay * (samples - 1))
    along = [(1 - math.exp(-decay * index)) / end for index in range(samples)]
    return Shape(_times(rng, samples), along, [0.0] * samples, [0.0] * samples)


def _down(rng: Rng) -> tuple[float, float, float]:
    """Gravity in the frame of a phone that is held tilted towards a face."""
    tilt, roll = rng.uniform(0.4, 1.2), rng.gauss(0, 0.15)
    return (
        GRAVITY * math.sin(roll),
        GRAVITY * math.sin(tilt) * math.cos(roll),
        GRAVITY * math.cos(tilt) * math.cos(roll),
    )


def _trace(rng: Rng, rest: tuple[float, float, float], scale: float) -> Trace:
    """Physiological tremor at 8 to 12 Hz over slow sway and sensor noise, about `rest`."""
    axes = []
    for level in rest:
        tremor, sway = rng.uniform(8, 12), rng.uniform(0.2, 0.6)
        phase, drift = rng.uniform(0, math.tau), rng.uniform(0, math.tau)
        seconds = [index * SAMPLE_MS / 1000 for index in range(_POOL)]
        axes.append(
            [
                round(
                    level
                    + scale * 0.4 * math.sin(math.tau * tremor * at + phase)
                    + scale * math.sin(math.tau * sway * at + drift)
                    + rng.gauss(0, scale * 0.3),
                    3,
                )
                for at in seconds
            ]
        )
    return Trace(*axes)
