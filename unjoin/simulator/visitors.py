"""One simulated session: a person on a device who looks at pages, answers tasks and moves while doing so. Pure."""

import math
from bisect import bisect
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

from schemas.events import (
    Accelerometer,
    AnyEvent,
    AudioTranscript,
    Gyroscope,
    ImageLabel,
    Key,
    PageView,
    Pointer,
    Scroll,
    TextAnswer,
    Touch,
    Usage,
)
from unjoin.simulator.motion import Hands
from unjoin.simulator.people import Device, one
from unjoin.simulator.rng import Rng
from unjoin.simulator.sdk_signals import STROKES
from unjoin.simulator.tasks import mistake, task_name, truth

# Milliseconds between two events of a session, by and large.
STEP_MS = 900.0

# What one visit consists of, as event types, and how often it is played. Keys are a desktop's, sensors a phone's.
DESKTOP = (
    (3, ("page_view", "pointer", "scroll", "pointer", "scroll")),
    (2, ("pointer", "usage", "pointer")),
    (4, ("pointer", "pointer", "image_label")),
    (2, ("pointer", "key", "key", "pointer", "text_answer")),
    (1, ("pointer", "key", "key", "key", "audio_transcript")),
)
PHONE = (
    (3, ("page_view", "touch", "scroll", "accelerometer", "gyroscope", "touch")),
    (2, ("touch", "usage", "touch")),
    (4, ("touch", "gyroscope", "touch", "image_label")),
    (1, ("touch", "accelerometer", "touch", "text_answer")),
    (1, ("touch", "touch", "audio_transcript")),
)

_TASK_SHARES = {"image_label": 0.6, "text_answer": 0.25, "audio_transcript": 0.15}
_AGAIN_SHARE = 0.02
_BOT_ACCURACY = 0.3
_EDGE_PX = 12
_ORIGIN = "https://www.unjoin.example"
_PATHS = ("/", "/pricing", "/docs", "/docs/quickstart", "/dashboard", "/dashboard/keys", "/blog/fair-work", "/signup")
_REFERRERS = ("", "", "https://search.example/?q=captcha", "https://news.example/item/4711", _ORIGIN + "/")
_PLANS = ("free", "team", "scale")
_ACTIONS = ("copy_key", "open_docs", "run_query", "invite", "toggle_theme")


class Scripts:
    """Sequences of event types to draw from, by weight; empty and false where nothing is wanted of them."""

    def __init__(self, weighted: Sequence[tuple[int, tuple[str, ...]]], types: frozenset[str]) -> None:
        kept = [(weight, tuple(kind for kind in script if kind in types)) for weight, script in weighted]
        self._scripts = [script for _, script in kept if script]
        self._totals = list(accumulate(weight for weight, script in kept if script))

    def __bool__(self) -> bool:
        return bool(self._scripts)

    def share(self, types: Collection[str]) -> float:
        """How many of the events, in the long run, are of these types; 0 to 1."""
        weights = [last - first for first, last in zip([0, *self._totals], self._totals, strict=False)]
        counted = zip(weights, self._scripts, strict=True)
        of_types = sum(weight * sum(kind in types for kind in script) for weight, script in counted)
        return of_types / sum(weight * len(script) for weight, script in zip(weights, self._scripts, strict=True))

    def draw(self, rng: Rng) -> tuple[str, ...]:
        """One of them."""
        return self._scripts[bisect(self._totals, rng.random() * self._totals[-1])]


def event_id(ts: int, rng: Rng) -> str:
    """A UUIDv7 (RFC 9562): 48 bits of time, then random ones."""
    bits = rng.getrandbits(74)
    text = f"{ts << 80 | 7 << 76 | bits >> 62 << 64 | 1 << 63 | bits & (1 << 62) - 1:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class TaskPool:
    """The tasks of one run: so many that each is answered by several sessions.

    Args:
        tasks: how many in all; pictures get the most, as they are answered the most.
    """

    def __init__(self, tasks: int) -> None:
        self.tasks_of = {kind: max(3, round(tasks * share)) for kind, share in _TASK_SHARES.items()}
        # Step widths that pass every task of a kind before any comes a second time.
        steps = (1, 7, 11, 13, 17, 19, 23, 29)
        self.strides = [step for step in steps if all(math.gcd(step, tasks) == 1 for tasks in self.tasks_of.values())]


class Visitor:
    """A session: where its hand is, what it has answered, what time it is there.

    Args:
        hands: drawn from, shared by all sessions.
        clock: Unix milliseconds when it begins; no event is later than `end_ms`.
        pace: 1 for people's own; below 1 for sessions whose time must be pressed into a day.
        bot: answers almost at chance.
    """

    def __init__(
        self, rng: Rng, hands: Hands, device: Device, scripts: Scripts, pool: TaskPool,
        *, clock: float, end_ms: int, pace: float, bot: bool,
    ) -> None:  # fmt: skip
        self.session = f"s-{rng.getrandbits(64):016x}"
        self.device = device
        self.bot = bot
        self.seen = False
        self._rng, self._random, self._hands = rng, rng.random, hands
        self._scripts = scripts
        self._script: Iterator[str] = iter(())
        self._clock, self._end_ms, self._step_ms = clock, end_ms, STEP_MS * pace
        self._pool = pool
        self._places = {kind: int(rng.random() * tasks) for kind, tasks in pool.tasks_of.items()}
        self._stride = pool.strides[int(rng.random() * len(pool.strides))]
        # Accuracy is skewed as among paid workers: most are good, some careless.
        self._accuracy = _BOT_ACCURACY if bot else min(0.99, rng.betavariate(9, 1.4))
        self._x, self._y, self._scrolled = device.width / 2, device.height / 2, 0.0

    @property
    def now_ms(self) -> int:
        """Unix milliseconds, by this session's clock."""
        return min(int(self._clock), self._end_ms)

    def step(self) -> AnyEvent:
        """The next thing it does. Mostly soon, now and then after a pause for thought."""
        kind = next(self._script, None)
        if kind is None:
            self._script = iter(self._scripts.draw(self._rng))
            kind = next(self._script)
        self._clock -= math.log(1 - self._random()) * self._step_ms
        ts = self.now_ms
        made: AnyEvent = getattr(self, f"_{kind}")(event_id(ts, self._rng), ts)
        return made

    def _aim(self) -> tuple[float, float, float, float]:
        """Where the hand is and where it goes next; it is there afterwards."""
        x, y = self._x, self._y
        self._x = _EDGE_PX + self._random() * (self.device.width - 2 * _EDGE_PX)
        self._y = _EDGE_PX + self._random() * (self.device.height - 2 * _EDGE_PX)
        return x, y, self._x, self._y

    def _pointer(self, id_: str, ts: int) -> AnyEvent:
        t, x, y = self._hands.reach(*self._aim())
        return Pointer(id=id_, ts=ts, t=t, x=x, y=y)

    def _touch(self, id_: str, ts: int) -> AnyEvent:
        t, x, y, force = self._hands.swipe(*self._aim())
        return Touch(id=id_, ts=ts, t=t, x=x, y=y, force=force)

    def _scroll(self, id_: str, ts: int) -> AnyEvent:
        before = self._scrolled
        self._scrolled = max(0.0, before + (self._random() - 0.25) * 1_600)
        t, x, y = self._hands.scroll(before, self._scrolled)
        return Scroll(id=id_, ts=ts, t=t, x=x, y=y)

    def _key(self, id_: str, ts: int) -> AnyEvent:
        down, up = self._hands.typing(STROKES)
        return Key(id=id_, ts=ts, t_down=down, t_up=up)

    def _gyroscope(self, id_: str, ts: int) -> AnyEvent:
        t, x, y, z = self._hands.rotation(12 + int(self._random() * 36))
        return Gyroscope(id=id_, ts=ts, t=t, x=x, y=y, z=z)

    def _accelerometer(self, id_: str, ts: int) -> AnyEvent:
        t, x, y, z = self._hands.acceleration(12 + int(self._random() * 36))
        return Accelerometer(id=id_, ts=ts, t=t, x=x, y=y, z=z)

    def _page_view(self, id_: str, ts: int) -> AnyEvent:
        properties = {"plan": one(self._rng, _PLANS), "width": self.device.width}
        url, referrer = _ORIGIN + one(self._rng, _PATHS), one(self._rng, _REFERRERS)
        return PageView(id=id_, ts=ts, url=url, referrer=referrer, properties=properties)

    def _usage(self, id_: str, ts: int) -> AnyEvent:
        properties = {"action": one(self._rng, _ACTIONS), "duration_ms": int(self._random() * 4_000)}
        return Usage(id=id_, ts=ts, url=_ORIGIN + one(self._rng, _PATHS), properties=properties)

    def _answer(self, kind: str) -> tuple[str, str]:
        """The next task of this session, seldom the last one once more, and what it says."""
        if self._random() >= _AGAIN_SHARE:
            self._places[kind] = (self._places[kind] + self._stride) % self._pool.tasks_of[kind]
        task = task_name(kind, self._places[kind])
        return task, truth(task) if self._random() < self._accuracy else mistake(task, self._rng)

    def _image_label(self, id_: str, ts: int) -> AnyEvent:
        task, answer = self._answer("image_label")
        return ImageLabel(id=id_, ts=ts, task=task, answer=answer)

    def _audio_transcript(self, id_: str, ts: int) -> AnyEvent:
        task, answer = self._answer("audio_transcript")
        return AudioTranscript(id=id_, ts=ts, task=task, answer=answer)

    def _text_answer(self, id_: str, ts: int) -> AnyEvent:
        task, answer = self._answer("text_answer")
        return TextAnswer(id=id_, ts=ts, task=task, answer=answer)
