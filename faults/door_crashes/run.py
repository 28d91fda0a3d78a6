"""One run: a broker, doors, labels that flow, a fault at every seeded moment, and a look at what came out."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import msgspec

from faults.door_crashes.answers import Answers
from faults.door_crashes.broker import Feed, Offsets, Watch, broker, log_of, released_of
from faults.door_crashes.commits import CommitFindings, commit_findings_of
from faults.door_crashes.crowds import (
    Expected,
    Findings,
    Follow,
    Logged,
    any_order,
    expected_of,
    findings_of,
    one_writer,
    several_writers,
)
from faults.door_crashes.environment import SESSION_S, Environment
from faults.door_crashes.faults import Fault, Moment, schedule
from faults.door_crashes.workers import Worker
from processors.masking.mask import mask
from schemas.events import DeidentifiedLabel
from schemas.topics import DEIDENTIFIED, LABELED_DEAD_LETTERS
from testkit.door_config import crowd_rule
from testkit.seals import seals_of
from unjoin.keys.keyring import Keyring

GROUP = "unjoin-door"
RELEASED_PARTITIONS = 2
CROWD_LABELS_MAX = 160
WATCHDOG_S = 15.0
POST_EVERY_S = 0.012
SETTLE_S_MAX = 120.0


class Report(msgspec.Struct, kw_only=True):
    """What a run was, and what was found.

    Attributes:
        ended_by_watchdog: doors that their watchdog ended, which were started again.
    """

    seed: int
    kills: int
    faults: dict[str, int]
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
    ended_by_watchdog: int
    exit_codes: list[int]
    commits: CommitFindings
    findings: Findings

    @property
    def holds(self) -> bool:
        """Whether nothing was found that must not be."""
        differ = (*self.exit_codes, self.dead_letters_differ, self.commits_differ)
        return self.findings.holds and self.commits.holds and not any(differ)


class Run:
    """A run that is going on.

    Args:
        kafka_home: where Kafka's jars are.
        faults: how often each is done.
        say: told what happens, with how many faults were done.
    """

    def __init__(
        self, *, kafka_home: Path, folder: Path, faults: Mapping[Fault, int], seed: int, processors: int,
        crowd_min: int, crowd_target: int, crowd_wait_ms: int, say: Callable[[str, int], None],
    ) -> None:  # fmt: skip
        self._kafka_home = kafka_home
        self._folder = folder
        self._faults = faults
        self._seed = seed
        self._rng = Random(seed)
        self._processors = processors
        self._crowd_min = crowd_min
        self._rule = {
            "crowd_target": crowd_target, "crowd_wait_ms": crowd_wait_ms, "crowd_labels_max": CROWD_LABELS_MAX
        }  # fmt: skip
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
            node = await open_now.enter_async_context(
                broker(self._kafka_home, state, self._processors, RELEASED_PARTITIONS)
            )
            bootstrap = node.bootstrap
            feed = await open_now.enter_async_context(Feed(bootstrap))
            watch = await open_now.enter_async_context(Watch(bootstrap, RELEASED_PARTITIONS))
            offsets = await open_now.enter_async_context(
                Offsets(bootstrap, GROUP, range(self._processors), RELEASED_PARTITIONS)
            )
            doors = [self._door(number, bootstrap) for number in range(self._processors)]
            for door in doors:
                door.start()
            flowing = asyncio.create_task(self._feed(feed))
            environment = Environment(node, doors, watch, offsets, feed, flowing)
            try:
                planned = schedule(self._faults, self._rng)
                for done, (fault, moment) in enumerate(planned):
                    self._say(f"{fault} {moment}", done)
                    await environment.do(fault, moment, self._rng)
                    self._moments[moment] += 1
                self._dry.set()
                await flowing
                self._say("waiting for the last crowds", len(planned))
                log = await log_of(bootstrap)
                expected = self._expected(log)
                wanted = expected.row_ids
                await environment.until(lambda: _holds(wanted <= watch.row_ids), SETTLE_S_MAX, "the last crowd")
                await environment.until(lambda: _reached(offsets, expected.open_from), SETTLE_S_MAX, "the last commit")
                for door in doors:
                    await environment.until(door.is_ready, SETTLE_S_MAX, "a door")
                for door in doors:
                    await asyncio.to_thread(door.stop)
            finally:
                self._dry.set()
                await asyncio.wait({flowing})
                for door in doors:
                    door.end()
            committed = await offsets.committed()
            letters = await log_of(bootstrap, LABELED_DEAD_LETTERS)
            released: dict[int, list[DeidentifiedLabel]] = {number: [] for number in range(RELEASED_PARTITIONS)}
            for record in await log_of(bootstrap, DEIDENTIFIED):
                released[record.partition].append(released_of(record.value))
        return Report(
            seed=self._seed,
            kills=self._faults.get(Fault.KILL, 0),
            faults={str(fault): number for fault, number in self._faults.items() if number},
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
            ended_by_watchdog=sum(door.ended_by_watchdog for door in doors),
            exit_codes=[code for door in doors for code in door.exit_codes],
            commits=commit_findings_of(offsets.samples, expected, released),
            findings=findings_of(expected, released, self._crowd_min, self._follow()),
        )

    def _follow(self) -> Follow:
        """The order in which released records may have come."""
        if self._faults.get(Fault.BROKER):
            return any_order
        return several_writers if self._processors > 1 or self._faults.get(Fault.PAUSE) else one_writer

    def _door(self, number: int, bootstrap: str) -> Worker:
        config = {
            "bootstrap": bootstrap,
            "epoch_keys_dir": str(self._folder / "keys" / "epoch"),
            "group_id": GROUP,
            "crowd_min": self._crowd_min,
            **self._rule,
            "session_s": SESSION_S,
            "watchdog_s": WATCHDOG_S,
        }
        return Worker(number, config, self._folder)

    async def _feed(self, feed: Feed) -> None:
        seals = seals_of(self._epoch.key_of, self._processors)
        answers = Answers(Random(self._rng.random()), self._edge.key_of, seals)
        while not self._dry.is_set():
            await feed.write(answers.post(time.time_ns() // 1_000_000))
            await asyncio.sleep(POST_EVERY_S)

    def _expected(self, log: list[Logged]) -> Expected:
        return expected_of(log, self._epoch.key_of, mask, crowd_rule(self._crowd_min, **self._rule))


async def _holds(condition: bool) -> bool:
    return condition


async def _reached(offsets: Offsets, wanted: dict[int, int]) -> bool:
    committed = await offsets.committed()
    return all(committed[partition] >= offset for partition, offset in wanted.items())
