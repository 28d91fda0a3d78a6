"""One run: a broker, one or two doors, labels that flow, a kill at every seeded moment, and a look at what came out."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from random import Random

import msgspec

from bench.door_crashes.answers import Answers
from bench.door_crashes.broker import Feed, Offsets, Watch, broker, log_of, released_of
from bench.door_crashes.crowds import Expected, Findings, Logged, expected_of, findings_of
from processors.free_text import mask
from schemas.events import DeidentifiedLabel
from schemas.outcomes import UnjoinError
from schemas.topics import DEIDENTIFIED, LABELED_DEAD_LETTERS
from unjoin.keyring import Keyring

GROUP = "unjoin-door"
RELEASED_PARTITIONS = 2
CROWD_LABELS_MAX = 160
SESSION_S = 1.5
POST_EVERY_S = 0.012
MOMENT_S_MAX = 60.0
SETTLE_S_MAX = 120.0
STOP_S_MAX = 30.0


class CrashError(UnjoinError):
    """The run did not get to its end; the text says what it waited for."""


class Moment(StrEnum):
    """When a door is killed."""

    STARTING = "while it starts"
    WORKING = "at any time while it works"
    RELEASING = "as a release arrives"
    COMMITTING = "as a commit arrives"


class Report(msgspec.Struct, kw_only=True):
    """What a run was, and what was found."""

    seed: int
    kills: int
    processors: int
    crowd_min: int
    moments: dict[str, int]
    seconds: float
    records: int
    labels: int
    held: int
    suppressed: dict[str, int]
    dead_letters_differ: int
    commits_differ: int
    exit_codes: list[int]
    findings: Findings

    @property
    def holds(self) -> bool:
        """Whether nothing was found that must not be."""
        return self.findings.holds and not any((*self.exit_codes, self.dead_letters_differ, self.commits_differ))


class _Door:
    """One processor and those that come after it."""

    def __init__(self, number: int, config: dict[str, object], log_dir: Path) -> None:
        self._config = {**config, "data_dir": str(log_dir / f"door-{number}")}
        self._log = log_dir / f"door-{number}.log"
        self._log_bytes = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._log_bytes = log.tell()
            command = [sys.executable, "-m", "bench.door_crashes.door", json.dumps(self._config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    async def is_ready(self) -> bool:
        return b"READY" in self._log.read_bytes()[self._log_bytes :]

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(STOP_S_MAX)

    def die(self) -> None:
        """SIGKILL.

        Raises:
            CrashError: it had ended on its own.
        """
        assert self.process is not None
        if self.process.poll() is not None:
            raise CrashError(f"a door ended on its own, with {self.process.returncode}: see {self._log}")
        self.process.kill()
        self.process.wait()


class Run:
    """A run that is going on.

    Args:
        kafka_home: where Kafka's jars are.
        say: told what happens, with how many kills were done.
    """

    def __init__(
        self, *, kafka_home: Path, folder: Path, kills: int, seed: int, processors: int, crowd_min: int,
        say: Callable[[str, int], None],
    ) -> None:  # fmt: skip
        self._kafka_home = kafka_home
        self._folder = folder
        self._kills = kills
        self._seed = seed
        self._rng = Random(seed)
        self._processors = processors
        self._crowd_min = crowd_min
        self._say = say
        self._edge, self._epoch = (Keyring(folder / "keys" / role) for role in ("edge", "epoch"))
        self._moments: Counter[Moment] = Counter()
        self._dry = asyncio.Event()

    async def report(self) -> Report:
        """Does it.

        Raises:
            CrashError: a door ended on its own, or did not get on with it.
        """
        began = time.monotonic()
        async with AsyncExitStack() as open_now:
            self._say("starting a broker", 0)
            state = self._folder / "kafka"
            bootstrap = await open_now.enter_async_context(
                broker(self._kafka_home, state, self._processors, RELEASED_PARTITIONS)
            )
            feed = await open_now.enter_async_context(Feed(bootstrap))
            watch = await open_now.enter_async_context(Watch(bootstrap, RELEASED_PARTITIONS))
            offsets = await open_now.enter_async_context(Offsets(bootstrap, GROUP, range(self._processors)))
            doors = [self._door(number, bootstrap) for number in range(self._processors)]
            for door in doors:
                door.start()
            flowing = asyncio.create_task(self._feed(feed))
            try:
                for done in range(self._kills):
                    await self._kill_one(doors, watch, offsets, done)
                self._dry.set()
                await flowing
                self._say("waiting for the last crowds", self._kills)
                log = await log_of(bootstrap)
                expected = self._expected(log)
                wanted = expected.row_ids
                await _until(lambda: _holds(wanted <= watch.row_ids), SETTLE_S_MAX, "the last crowd")
                await _until(lambda: _reached(offsets, expected.open_from), SETTLE_S_MAX, "the last commit")
                for door in doors:
                    await _until(door.is_ready, SETTLE_S_MAX, "a door")
                exit_codes = [await asyncio.to_thread(door.end, signal.SIGTERM) for door in doors]
            finally:
                self._dry.set()
                await asyncio.wait({flowing})
                for door in doors:
                    door.end(signal.SIGKILL)
            committed = await offsets.committed()
            letters = await log_of(bootstrap, LABELED_DEAD_LETTERS)
            released: dict[int, list[DeidentifiedLabel]] = {number: [] for number in range(RELEASED_PARTITIONS)}
            for record in await log_of(bootstrap, DEIDENTIFIED):
                released[record.partition].append(released_of(record.value))
        return Report(
            seed=self._seed,
            kills=self._kills,
            processors=self._processors,
            crowd_min=self._crowd_min,
            moments={str(moment): number for moment, number in sorted(self._moments.items())},
            seconds=round(time.monotonic() - began, 1),
            records=len(log),
            labels=expected.labels,
            held=expected.held,
            suppressed={str(why): number for why, number in expected.suppressed.items()},
            dead_letters_differ=len({letter.value for letter in letters} ^ expected.undecodable),
            commits_differ=sum(committed[number] != offset for number, offset in expected.open_from.items()),
            exit_codes=exit_codes,
            findings=findings_of(expected, released, self._crowd_min),
        )

    def _door(self, number: int, bootstrap: str) -> _Door:
        config = {
            "bootstrap": bootstrap,
            "epoch_keys_dir": str(self._folder / "keys" / "epoch"),
            "group_id": GROUP,
            "crowd_min": self._crowd_min,
            "crowd_labels_max": CROWD_LABELS_MAX,
            "session_s": SESSION_S,
        }
        return _Door(number, config, self._folder)

    async def _feed(self, feed: Feed) -> None:
        answers = Answers(Random(self._rng.random()), self._edge.key_of)
        while not self._dry.is_set():
            await feed.write(answers.post(time.time_ns() // 1_000_000))
            await asyncio.sleep(POST_EVERY_S)

    async def _kill_one(self, doors: list[_Door], watch: Watch, offsets: Offsets, done: int) -> None:
        door = self._rng.choice(doors)
        moment = self._rng.choices(list(Moment), weights=(1, 2, 4, 2))[0]
        after_s = self._rng.random()
        self._say(f"kill {done + 1}: {moment}", done)
        if moment is not Moment.STARTING:
            committed = await offsets.committed()
            await _until(lambda: _moved(offsets, committed), MOMENT_S_MAX, "progress")
            watch.came.clear()
        match moment:
            case Moment.STARTING | Moment.WORKING:
                await asyncio.sleep(after_s)
            case Moment.RELEASING:
                await asyncio.wait_for(watch.came.wait(), MOMENT_S_MAX)
                await asyncio.sleep(after_s**4 * 0.05)
            case Moment.COMMITTING:
                committed = await offsets.committed()
                await _until(lambda: _moved(offsets, committed), MOMENT_S_MAX, "a commit")
                await asyncio.sleep(after_s * 0.02)
        door.die()
        self._moments[moment] += 1
        door.start()

    def _expected(self, log: list[Logged]) -> Expected:
        return expected_of(log, self._epoch.key_of, mask, crowd_min=self._crowd_min, labels_max=CROWD_LABELS_MAX)


async def _holds(condition: bool) -> bool:
    return condition


async def _moved(offsets: Offsets, before: dict[int, int]) -> bool:
    return await offsets.committed() != before


async def _reached(offsets: Offsets, wanted: dict[int, int]) -> bool:
    committed = await offsets.committed()
    return all(committed[partition] >= offset for partition, offset in wanted.items())


async def _until(condition: Callable[[], Awaitable[bool]], seconds_max: float, what: str) -> None:
    """Returns once it is true.

    Raises:
        CrashError: not in time.
    """
    deadline = time.monotonic() + seconds_max
    while not await condition():
        if time.monotonic() > deadline:
            raise CrashError(f"not within {seconds_max:.0f} s: {what}")
        await asyncio.sleep(0.01)
