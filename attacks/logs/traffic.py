"""Sessions as pages make them: a hand that goes to a button and rests there, answers typed with every stroke. Pure.

Of what the hands do, `Telling` decides what the page sends, everything or what the SDK's reductions leave, and with
which requests: with each answer, as where every answer ends its page, or at times of their own.
"""

import bisect
import math
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import Any

import msgspec

from attacks.linkage.traffic import ANSWERS
from ingest.limits import KEY_STROKES_MAX
from unjoin.simulator.motion import Hands
from unjoin.simulator.sdk_signals import (
    SIGNALS_MS,
    PiecedHand,
    PlainHand,
    PlainKeys,
    Sample,
    SampledKeys,
    Stroke,
)

HOUR_MS = 3_600_000
TYPED_SHARE = 0.3
REFLEX_MS = 150.0
THINK_MS = 2_500.0  # median before an answer
LABEL_MS = 1_000.0  # until the SDK sends an answer
STAY_MS_MAX = 10_000.0  # after the last answer, until the page ends
FIELD, SUBMIT = (700.0, 320.0), (700.0, 420.0)
BUTTONS = {answer: (220.0 + 190 * place, 610.0) for place, answer in enumerate(ANSWERS)}
BUTTON_PX = 18.0  # how far from its middle a hand lands, as a standard deviation
WORDS = (
    "the", "a", "dog", "horse", "waits", "outside", "beside", "an", "old", "grey", "barn", "and", "looks", "left",
    "while", "two", "children", "play", "near", "water", "somebody", "sings", "in", "rain", "slowly", "yesterday",
)  # fmt: skip


class Telling(StrEnum):
    """What a page sends of its hands and keys."""

    PLAIN = "every stroke, every rest"
    APART = "every stroke and rest, in requests of their own"
    PAGED = "as the SDK reduces them, and every answer ends its page"
    REDUCED = "as the SDK reduces them"


class Post(msgspec.Struct, frozen=True):
    """One batch: an answer, signals, or both.

    Attributes:
        at_ms: of the day's virtual clock.
        task, kind, answer: empty without one.
        tells: whether it has signals.
        strokes: told with it.
        hand: told with it, page milliseconds.
        number: of the batch within its session, which makes its event ids unique.
    """

    session: str
    at_ms: float
    task: str
    kind: str
    answer: str
    strokes: tuple[Stroke, ...]
    hand: tuple[Sample, ...]
    number: int
    tells: bool = True

    def batch(self, now_ms: int) -> dict[str, Any]:
        """The body to post, stamped with now."""
        # More strokes than the edge takes in an event go in as many events as that needs: the attacker adds them up.
        events: list[dict[str, Any]] = []
        stamp = {"ts": now_ms}
        if self.hand:
            began = self.hand[0].t
            events.append(
                {
                    "id": f"m-{self.session}-{self.number}", "type": "pointer", **stamp,
                    "t": [round(sample.t - began) for sample in self.hand],
                    "x": [round(sample.x) for sample in self.hand],
                    "y": [round(sample.y) for sample in self.hand],
                }
            )  # fmt: skip
        for first in range(0, len(self.strokes), KEY_STROKES_MAX):
            some = self.strokes[first : first + KEY_STROKES_MAX]
            events.append(
                {
                    "id": f"k-{self.session}-{self.number}-{first}", "type": "key", **stamp,
                    "t_down": [round(stroke.down - some[0].down) for stroke in some],
                    "t_up": [round(stroke.up - some[0].down) for stroke in some],
                }
            )  # fmt: skip
        if self.tells:  # a page that scrolls is there even where its hand tells nothing: the attacker gets every time
            events.append(
                {"id": f"v-{self.session}-{self.number}", "type": "scroll", **stamp, "t": [0], "x": [0], "y": [0]}
            )
        if self.task:
            events.append(
                {
                    "id": f"a-{self.session}-{self.number}", "type": self.kind, **stamp,
                    "task": self.task, "answer": self.answer,
                }
            )  # fmt: skip
        return {"sent_at": now_ms, "session": self.session, "events": events}


def posts_of_day(
    rng: Random, telling: Telling, *, sessions: int, answers: float, span_ms: float, tasks: int, prefix: str = "s"
) -> list[Post]:
    """What `sessions` post, in the order of time.

    Args:
        answers: of a session on average; log-normal, so that the busiest gives several times the median.
        span_ms: the sessions begin within it, uniformly.
        tasks: in the common pool, drawn at random; at least as many as the busiest answers.
    """
    hands = Hands(rng)
    scale = answers / math.exp(0.8**2 / 2)
    made: list[Post] = []
    for number in range(sessions):
        wanted = min(tasks, max(1, round(scale * rng.lognormvariate(0, 0.8))))
        made += _session(rng, hands, telling, f"{prefix}-{number:05d}", wanted, rng.random() * span_ms, tasks)
    return sorted(made, key=lambda post: post.at_ms)


class _Page:
    """One session's page: what it sends of a hand, of keys and of answers, and when; page milliseconds."""

    def __init__(self, rng: Random, telling: Telling, session: str, began_ms: float) -> None:
        is_plain = telling in (Telling.PLAIN, Telling.APART)
        self._hand = PlainHand() if is_plain else PiecedHand(rng)
        self._keys = PlainKeys() if is_plain else SampledKeys(rng)
        self._session, self._began_ms = session, began_ms
        self._is_apart = telling in (Telling.REDUCED, Telling.APART)
        self._due = rng.random() * SIGNALS_MS if self._is_apart else math.inf
        self.posts: list[Post] = []

    def move(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            self.wait(sample.t)
            self._hand.move([sample])

    def type(self, strokes: Sequence[Stroke]) -> None:
        for stroke in strokes:
            self.wait(stroke.up)
            self._keys.type([stroke])

    def answer(self, at: float, task: str, kind: str, answer: str) -> None:
        self.wait(at)
        if self._is_apart:
            self._post(at + LABEL_MS, task, kind, answer, tells=False)
        else:
            self._post(at, task, kind, answer)

    def end(self, at: float) -> None:
        """What is left leaves with the page."""
        if self._is_apart:
            self.wait(at)
            self._post(at)

    def wait(self, at: float) -> None:
        """Sends signals whenever they are due."""
        while self._due < at:
            self._post(self._due)
            self._due += SIGNALS_MS

    def _post(self, at: float, task: str = "", kind: str = "", answer: str = "", *, tells: bool = True) -> None:
        strokes = tuple(self._keys.take()) if tells else ()
        hand = tuple(self._hand.take()) if tells else ()
        self.posts.append(
            Post(self._session, self._began_ms + at, task, kind, answer, strokes, hand, len(self.posts), tells)
        )


def _session(
    rng: Random, hands: Hands, telling: Telling, session: str, wanted: int, began_ms: float, tasks: int
) -> list[Post]:
    page = _Page(rng, telling, session, began_ms)
    now, x, y = 0.0, rng.uniform(100, 1_200), rng.uniform(100, 700)
    for task in rng.sample(range(tasks), wanted):
        now += rng.lognormvariate(math.log(THINK_MS), 0.5)
        typed = (task * 2_654_435_761 % 1_000) < 1_000 * TYPED_SHARE
        if typed:
            answer, kind = _sentence(rng, task), ("text_answer", "audio_transcript")[task % 2]
            now, x, y = _move(rng, hands, page, now, (x, y), FIELD, 30.0)
            strokes = _typed(rng, hands, answer, now + REFLEX_MS)
            page.type(strokes)
            now = strokes[-1].up
            target, spread = SUBMIT, BUTTON_PX
        else:
            kind = "image_label"
            answer = ANSWERS[task % len(ANSWERS)] if rng.random() < 0.9 else rng.choice(ANSWERS)
            target, spread = BUTTONS[answer], BUTTON_PX
        now, x, y = _move(rng, hands, page, now + REFLEX_MS, (x, y), target, spread)
        now += REFLEX_MS
        page.answer(now, f"task-{task:06d}", kind, answer)
    page.end(now + rng.uniform(LABEL_MS, STAY_MS_MAX))
    return page.posts


def _move(
    rng: Random,
    hands: Hands,
    page: _Page,
    now: float,
    start: tuple[float, float],
    target: tuple[float, float],
    spread: float,
) -> tuple[float, float, float]:
    """The time and the place after the way."""
    x, y = target[0] + rng.gauss(0, spread), target[1] + rng.gauss(0, spread / 2)
    t, xs, ys = hands.reach(*start, x, y)
    samples = [Sample(now + at, px, py) for at, px, py in zip(t, xs, ys, strict=True)]
    page.move([*samples, Sample(now + t[-1] + 16, x, y)])
    return now + t[-1] + 16, x, y


def _typed(rng: Random, hands: Hands, answer: str, began: float) -> list[Stroke]:
    """A stroke a letter, one more a capital, two more a slip."""
    slips = sum(rng.random() < 0.02 for _ in answer)
    count = len(answer) + sum(letter.isupper() for letter in answer) + 2 * slips
    down, up = hands.typing(max(1, count))
    return [Stroke(began + at, began + end) for at, end in zip(down, up, strict=True)]


_CUMULATIVE = [0.05, 0.2, 0.45, 0.7, 0.85, 0.95, 1.0]


def _sentence(rng: Random, task: int) -> str:
    """Mostly the task's truth, as somebody hears it: one to seven words."""
    truth = Random(task)
    words = [truth.choice(WORDS) for _ in range(1 + bisect.bisect(_CUMULATIVE, truth.random()))]
    if rng.random() < 0.3:
        words[rng.randrange(len(words))] = rng.choice(WORDS)
    if rng.random() < 0.1:
        words.append(rng.choice(WORDS))
    return " ".join(words)
