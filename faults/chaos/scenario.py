"""One scenario: a stack, load that never stops, a fault a round, and the comparison after each and at the end."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import ClientError

from faults.chaos.cluster import Cluster
from faults.chaos.cluster_faults import ClusterInjector
from faults.chaos.comparison import Comparison, missing_of
from faults.chaos.environment import Environment
from faults.chaos.faults import Injector, Lengths
from faults.chaos.freshness import Freshness, Seen, percentile
from faults.chaos.ledger import Ledger
from faults.chaos.load import Load
from faults.chaos.log import LogTail
from faults.chaos.plan import CLUSTER, Round, Scenario
from faults.chaos.reader import Away, Reader
from faults.chaos.results import RoundResult, Run
from faults.chaos.rows import counts_of, physical_sql, seen_twice_sql

WARM_SECONDS = 4.0
NORMAL_SECONDS = (3.0, 10.0)
RECOVER_SECONDS_MAX = 120.0
STORED_SECONDS_MAX = 120.0
END_TO_END_SECONDS = 60.0
POLL_SECONDS = 0.3
CLOSING_SESSIONS = 10


class ScenarioRun:
    """One scenario of a run.

    Args:
        say: receives a line a round.

    Attributes:
        started: its stack was ready once.
    """

    def __init__(
        self, scenario: Scenario, run: Run, folder: Path, kafka_home: Path, say: Callable[[str], None]
    ) -> None:
        self.started = False
        self._scenario, self._run, self._say = scenario, run, say
        self._folder = folder
        stack = Cluster if scenario.environment == CLUSTER else Environment
        self._environment: Cluster | Environment = stack(scenario, kafka_home, folder)
        self._ledger = Ledger()
        self._results: list[RoundResult] = []
        self._began: list[float] = []
        self._server: dict[str, int] = {}
        self._comparison = Comparison(run, self._ledger)

    async def execute(self) -> None:
        """Runs every round and adds what was found to the run."""
        began = time.monotonic()
        try:
            await self._environment.start()
            self.started = True
            self._say(f"ready after {time.monotonic() - began:.1f} s")
            await self._rounds()
        finally:
            await self._environment.close()

    async def _rounds(self) -> None:
        environment, run = self._environment, self._run
        self._log = await asyncio.to_thread(LogTail, environment.bootstrap)
        self._injector = self._injector_of(environment)
        self._load = load = Load(environment.https, self._ledger, run.rate)
        async with Reader(environment.reader_port) as self._reader:
            self._fresh = Freshness(self._reader)
            looking = asyncio.create_task(self._fresh.run(self._ledger.batches))
            posting = asyncio.create_task(load.run())
            try:
                self._normal = await self._warm()
                run.normal_seconds.append(round(self._normal, 2))
                for one in self._scenario.rounds:
                    await self._round(one)
                self._ledger.round = 0
                ended = time.monotonic()
                load.stop()
                await asyncio.wait_for(posting, RECOVER_SECONDS_MAX)
                await self._settled()
            finally:
                for task in (looking, posting):
                    task.cancel()
                await asyncio.gather(looking, posting, return_exceptions=True)
        await asyncio.to_thread(self._log.read_on)
        if isinstance(environment, Environment) and environment.server is not None:
            self._server = dict(await asyncio.to_thread(environment.server_rows))
        await asyncio.to_thread(self._audit)
        run.failures += [f"{one} after scenario {self._scenario.environment}" for one in await environment.stop()]
        if isinstance(environment, Cluster):
            run.restarts += environment.ended
        await self._final()
        self._say(f"settled, audited, stopped and compared in {time.monotonic() - ended:.1f} s")
        for status, count in load.statuses.items():
            run.statuses[status] = run.statuses.get(status, 0) + count
        self._log.close()

    def _injector_of(self, environment: Cluster | Environment) -> ClusterInjector | Injector:
        if isinstance(environment, Cluster):
            return ClusterInjector(environment, self._log)
        return Injector(environment, Lengths(stop=self._run.stop_seconds))

    def _audit(self) -> None:
        """Runs `unjoin audit` before the stack stops, and notes what it says."""
        name = f"{self._scenario.environment}, crowds of {self._scenario.crowd_min}"
        done = self._environment.audit()
        said = msgspec.json.decode(done.stdout)["difference"] if done.returncode in (0, 1) else "it could not tell"
        self._run.audits.append(f"{name}: difference {said}")
        if done.returncode:
            (self._folder / "audit.txt").write_text(done.stdout + done.stderr)
            self._run.failures.append(f"`unjoin audit` ended with {done.returncode} after {name}")

    async def _warm(self) -> float:
        """Load without a fault; gives what normal is."""
        until = time.monotonic() + WARM_SECONDS
        deadline = until + RECOVER_SECONDS_MAX
        while time.monotonic() < until or self._fresh.recovered(0, RECOVER_SECONDS_MAX) is None:
            assert time.monotonic() < deadline, f"nothing that is posted becomes visible: {dict(self._load.statuses)}"
            await asyncio.sleep(POLL_SECONDS)
        usual = percentile([one.seconds for one in self._fresh.seen], 95) or 0.0
        return min(max(2 * usual, NORMAL_SECONDS[0]), NORMAL_SECONDS[1])

    async def _round(self, one: Round) -> None:
        self._ledger.round = one.number
        result = RoundResult(
            seed=one.seed,
            number=one.number,
            part=one.kind.part,
            fault=one.kind.fault,
            environment=self._scenario.environment,
            crowd_min=self._scenario.crowd_min,
        )
        self._results.append(result)
        round_began = time.monotonic()
        await asyncio.sleep(one.moment_s)
        injected = await self._injector.inject(one)
        self._began.append(injected.began_at)
        result.note = injected.note
        recovered = await self._recovered(injected.ended_at)
        if recovered is None:
            self._run.failures.append(f"round {one.number}: not recovered within {RECOVER_SECONDS_MAX:.0f} s")
        else:
            result.seconds_to_recover = round(max(0.0, recovered.visible_at - injected.ended_at), 2)
            result.last_table = recovered.table
        missing = await self._compared(recovered.visible_at if recovered else time.monotonic())
        if one.kind.part == "clock":
            result.note = f"{self._off_by_half_an_hour(one.number):,} records stamped off"
        result.seconds = round(time.monotonic() - round_began, 1)
        fresh = percentile(self._fresh.seconds_between(injected.began_at, time.monotonic()), 95)
        self._say(self._line(one, result, missing, fresh))

    def _line(self, one: Round, result: RoundResult, missing: int, fresh: float | None) -> str:
        recovered = (
            "not recovered"
            if result.seconds_to_recover is None
            else f"{result.seconds_to_recover:5.1f} s {result.last_table:9}"
        )
        found = sum(finding.round == one.number for finding in self._run.findings)
        return (
            f"round {one.number:3}  {one.kind.name:24} {recovered}  p95 {fresh or 0:5.1f} s"
            f"  behind {missing}  doubled {found}  took {result.seconds:4.1f} s  {result.note}"
        )

    async def _recovered(self, since: float) -> Seen | None:
        deadline = time.monotonic() + RECOVER_SECONDS_MAX
        while (found := self._fresh.recovered(since, self._normal)) is None:
            if time.monotonic() > deadline:
                return None
            self._environment.mind(self._run.failures)
            await asyncio.sleep(POLL_SECONDS)
        return found

    async def _compared(self, moment: float) -> int:
        """Waits until all that was acknowledged by then is stored, and looks for doubles; gives what is still missing.

        What is missing here may only be late: whether it is lost, the end of the scenario says.
        """
        deadline = time.monotonic() + STORED_SECONDS_MAX
        while True:
            batches = self._ledger.acknowledged_before(moment)
            rounds = sorted({batch.round for batch in batches})
            if not rounds:
                return 0
            with suppress(Away):
                lines = await self._reader.lines(physical_sql(rounds), final=False)
                twice = await self._reader.lines(seen_twice_sql(rounds), final=True)
                counts = counts_of(lines)
                whole = [batch for batch in batches if not missing_of(batch, counts)]
                self._ledger.verified(whole)
                if len(whole) == len(batches):
                    await asyncio.to_thread(self._log.read_on)
                    self._comparison.note_doubles(self._log, counts, twice)
                    return 0
            if time.monotonic() > deadline:
                return len(self._ledger.acknowledged_before(moment))
            await asyncio.sleep(POLL_SECONDS)

    def _off_by_half_an_hour(self, number: int) -> int:
        """Records of a round that bear another time than ours: that the clock was moved at all."""
        now_ms = time.time() * 1_000
        copies = (
            int(copy)
            for event, found in self._log.records["signals"].items()
            if event.startswith(f"r{number}.")
            for copy in found
        )
        return sum(abs(copy - now_ms) > 1_800_000 for copy in copies)

    async def _settled(self) -> None:
        """Waits until everything acknowledged is stored, with labels enough for what waits for a crowd to leave."""
        deadline = time.monotonic() + STORED_SECONDS_MAX
        async with aiohttp.ClientSession() as client:
            while self._ledger.acknowledged_before(time.monotonic()):
                with suppress(ClientError, TimeoutError):
                    await self._load.close_crowds(client, CLOSING_SESSIONS)
                await self._compared_once()
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(1.0)
        if isinstance(self._environment, Environment) and self._environment.server is not None:
            await self._server_settled(self._environment, deadline)

    async def _compared_once(self) -> None:
        batches = self._ledger.acknowledged_before(time.monotonic())
        with suppress(Away):
            counts = counts_of(
                await self._reader.lines(physical_sql(sorted({batch.round for batch in batches})), final=False)
            )
            self._ledger.verified(batch for batch in batches if not missing_of(batch, counts))

    async def _server_settled(self, environment: Environment, deadline: float) -> None:
        wanted = {
            one for batch in self._ledger.batches if batch.acknowledged_at for one in batch.ids.get("signals", ())
        }
        while time.monotonic() < deadline + STORED_SECONDS_MAX:
            environment.mind(self._run.failures)
            found = dict(await asyncio.to_thread(environment.server_rows))
            if wanted <= found.keys():
                return
            await asyncio.sleep(1.0)

    async def _final(self) -> None:
        """The whole ledger and the whole log against every physical row, with the stack down."""
        file = self._folder / "rows.tsv"
        await asyncio.to_thread(self._environment.dump, file)
        with file.open() as lines:
            self._run.merged_parts += int(next(lines))
            counts = counts_of(lines)
        self._comparison.note_doubles(self._log, counts)
        self._comparison.note_lost(self._log, counts)
        if self._server:
            self._run.server_rows += sum(self._server.values())
            self._comparison.note_server(self._log, self._server)
        self._comparison.add_up(self._results, counts)
        ends = [*self._began[1:], time.monotonic()]
        for result, began, end in zip(self._results, self._began, ends, strict=True):
            times = self._fresh.seconds_between(began, min(end, began + END_TO_END_SECONDS))
            result.end_to_end_s = [round(seconds, 1) for seconds in times]
        self._run.rounds += self._results
        self._run.records += self._log.count
        self._run.physical_rows += sum(
            count for table in counts.values() for copies in table.values() for count in copies.values()
        )
