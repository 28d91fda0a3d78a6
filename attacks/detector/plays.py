"""People and bots that answer a few tasks: where their hands go, when they answer, what they type. Pure.

A person is a recorded one (Balabit's mouse sessions, with the simulator's typing, since it recorded none) or one of the
simulator's. Every bot answers the tasks of a person, so that only hands and keys tell them apart.
"""

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import msgspec

from unjoin.simulator.motion import SAMPLE_MS, Hands
from unjoin.simulator.sdk_signals import Sample, Stroke

ANSWERS = 5
PAUSE_MS_MAX = 3_000.0
WIDTH, HEIGHT = 1_280, 720


class Turn(msgspec.Struct, frozen=True):
    """One answer: the strokes typed before it, the way to its button, and when it was given; page milliseconds."""

    strokes: tuple[Stroke, ...]
    way: tuple[Sample, ...]
    at: float


class Play(msgspec.Struct, frozen=True):
    """A session of a few answers.

    Attributes:
        kind: who plays: `recorded` and `simulated` are people.
        group: the recording or session that it goes back to; folds do not cut through it.
    """

    kind: str
    group: str
    turns: tuple[Turn, ...]

    @property
    def is_bot(self) -> bool:
        """Whether no person's hand did this here and now."""
        return self.kind not in PEOPLE


PEOPLE = ("recorded", "simulated")


def recorded_plays(folder: Path, rng: Random, answers: int = ANSWERS) -> list[Play]:
    """People's hands: an answer is a click; pauses are cut at `PAUSE_MS_MAX`."""
    hands = Hands(rng)
    plays = []
    for file in sorted(folder.glob("*.csv")):
        turns: list[Turn] = []
        way: list[Sample] = []
        now, before = 0.0, 0.0
        with file.open() as lines:
            for row in csv.DictReader(lines):
                at = 1_000 * float(row["client timestamp"])
                x, y = float(row["x"]), float(row["y"])
                now, before = now + min(max(at - before, 0.0), PAUSE_MS_MAX), at
                if x > 10_000 or y > 10_000:  # the recorder's mark for a place it did not know
                    continue
                way.append(Sample(now, x, y))
                if row["state"] == "Pressed" and len(way) > 4:
                    turns.append(Turn(typed(rng, hands, way[0].t), tuple(way), now))
                    way = []
        for first in range(0, len(turns) - answers + 1, answers):
            plays.append(_from_zero(Play("recorded", file.stem, tuple(turns[first : first + answers]))))
    return plays


def simulated_plays(count: int, rng: Random, answers: int = ANSWERS) -> list[Play]:
    """The simulator's people."""
    hands = Hands(rng)
    plays = []
    for number in range(count):
        now, x, y = 0.0, rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
        turns = []
        for _ in range(answers):
            now += rng.lognormvariate(math.log(1_500), 0.5)
            strokes = typed(rng, hands, now)
            now = strokes[-1].up + 200 if strokes else now
            t, xs, ys = hands.reach(x, y, rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT))
            way = tuple(Sample(now + at, px, py) for at, px, py in zip(t, xs, ys, strict=True))
            now, x, y = way[-1].t + rng.uniform(80, 300), way[-1].x, way[-1].y
            turns.append(Turn(strokes, way, now))
        plays.append(Play("simulated", f"simulated-{number}", tuple(turns)))
    return plays


def typed(rng: Random, hands: Hands, began: float) -> tuple[Stroke, ...]:
    """Three of ten answers are typed, in 8 to 40 strokes."""
    if rng.random() > 0.3:
        return ()
    down, up = hands.typing(rng.randint(8, 40))
    return tuple(Stroke(began + at, began + end) for at, end in zip(down, up, strict=True))


def straight(play: Play, rng: Random) -> Play:
    """A straight line at constant speed, a sample a frame; human typing."""
    return _redrawn("straight lines", play, rng, lambda share: (share, 0.0))


def bezier(play: Play, rng: Random) -> Play:
    """A cubic Bézier curve with eased time and noise of a pixel, as libraries for scrapers draw it."""
    bend = [rng.uniform(-0.25, 0.25) for _ in range(2)]

    def at(share: float) -> tuple[float, float]:
        eased = share * share * (3 - 2 * share)
        along = 3 * (1 - eased) ** 2 * eased * 0.3 + 3 * (1 - eased) * eased**2 * 0.7 + eased**3
        across = 3 * (1 - eased) ** 2 * eased * bend[0] + 3 * (1 - eased) * eased**2 * bend[1]
        return along, across

    return _redrawn("Bézier with noise", play, rng, at, noise=1.0)


def replayed(play: Play, rng: Random, others: Sequence[Play]) -> Play:
    """The ways of another person's recording, turned and scaled to each button, in their own time."""
    other = others[rng.randrange(len(others))]
    turns = []
    for turn, source in zip(play.turns, other.turns, strict=True):
        start, end = turn.way[0], turn.way[-1]
        first, last = source.way[0], source.way[-1]
        across = complex(last.x - first.x, last.y - first.y)
        turned = complex(end.x - start.x, end.y - start.y) / across if abs(across) > 1 else 1 + 0j
        way = []
        for sample in source.way:
            place = complex(start.x, start.y) + complex(sample.x - first.x, sample.y - first.y) * turned
            way.append(Sample(start.t + sample.t - first.t, place.real, place.imag))
        # A replay keeps to the clock of its source, so that the next turn begins when this one is over.
        turns.append(Turn(turn.strokes, tuple(way), way[-1].t + turn.at - end.t))
    return Play("replayed people", other.group, _in_turn(turns))


def constant_rhythm(play: Play, rng: Random) -> Play:
    """A person's hand, and keys every 90 milliseconds, give or take three, each down for 45; every answer is typed."""
    turns = []
    for turn in play.turns:
        began, count = turn.way[0].t, rng.randint(8, 40)
        downs = [began + 90 * key + rng.uniform(-3, 3) for key in range(count)]
        strokes = tuple(Stroke(down, down + 45 + rng.uniform(-2, 2)) for down in downs) if rng.random() < 0.3 else ()
        turns.append(Turn(strokes, turn.way, turn.at))
    if not any(turn.strokes for turn in turns):
        downs = [90.0 * key + rng.uniform(-3, 3) for key in range(20)]
        turns[0] = msgspec.structs.replace(turns[0], strokes=tuple(Stroke(down, down + 45) for down in downs))
    return Play("constant rhythm", play.group, tuple(turns))


def silent(play: Play, rng: Random) -> Play:
    """Answers and nothing else."""
    return Play("labels alone", play.group, tuple(Turn((), (), turn.at) for turn in play.turns))


def bots_of(people: Sequence[Play], rng: Random) -> list[Play]:
    """One of each kind for every person; replays are of recordings where there are any."""
    sources = [play for play in people if play.kind == "recorded"] or list(people)
    makers: list[Callable[[Play, Random], Play]] = [
        straight, bezier, lambda play, rng: replayed(play, rng, sources), constant_rhythm, silent,
    ]  # fmt: skip
    return [make(play, rng) for play in people for make in makers]


def _redrawn(
    kind: str, play: Play, rng: Random, at: Callable[[float], tuple[float, float]], noise: float = 0.0
) -> Play:
    turns = []
    for turn in play.turns:
        start, end = turn.way[0], turn.way[-1]
        over, down = end.x - start.x, end.y - start.y
        steps = max(4, round(rng.uniform(250, 900) / SAMPLE_MS))
        way = []
        for step in range(steps + 1):
            along, across = at(step / steps)
            x = start.x + over * along - down * across + rng.gauss(0, noise)
            y = start.y + down * along + over * across + rng.gauss(0, noise)
            way.append(Sample(start.t + step * SAMPLE_MS, round(x), round(y)))
        turns.append(Turn(turn.strokes, tuple(way), way[-1].t + max(20.0, min(turn.at - end.t, 400.0))))
    return Play(kind, play.group, _in_turn(turns))


def _in_turn(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The same, with no turn that begins before the one before it is over."""
    moved, end = [], 0.0
    for turn in turns:
        late = max(0.0, end - turn.way[0].t)
        way = tuple(sample._replace(t=sample.t + late) for sample in turn.way)
        moved.append(Turn(turn.strokes, way, turn.at + late))
        end = moved[-1].at
    return tuple(moved)


def _from_zero(play: Play) -> Play:
    began = play.turns[0].way[0].t
    turns = tuple(
        Turn(
            tuple(Stroke(stroke.down - began, stroke.up - began) for stroke in turn.strokes),
            tuple(sample._replace(t=sample.t - began) for sample in turn.way),
            turn.at - began,
        )
        for turn in play.turns
    )
    return Play(play.kind, play.group, turns)
