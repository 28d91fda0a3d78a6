"""What an erasure does to a real engine: whose rows go, whose stay, and what a crash in between leaves."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from schemas.subjects.erasures import Erasure, State, erasure_of
from schemas.subjects.selectors import AccountSelector, Selector, SessionSelector, email_selector
from sinks.clickhouse.embedded import Embedded
from sinks.engine import EngineError, Unknown
from sinks.erasure.eraser import Eraser, Positions
from sinks.erasure.progress import Patience
from sinks.erasure.rows import Rows
from testkit.sink_records import NOW_MS, signal, signals

SALT = bytes(range(32))
DAY_MS = 86_400_000


class MemoryLogs:
    """Topics of which everything is stored, and what was published."""

    def __init__(self) -> None:
        self.published: dict[str, Erasure] = {}
        self.history: list[tuple[str, State]] = []
        self.committed = self.end = 70
        self.start = self.put_back_until_ms = 0

    async def positions(self, tables: Sequence[str]) -> Positions:
        logs = [f"events.{table}-0" for table in tables]
        dead = {"events.dead_letters-0": self.start}, {"events.dead_letters-0": self.end}
        return Positions(
            dict.fromkeys(logs, self.committed),
            dict.fromkeys(logs, self.start) | dead[0],
            dict.fromkeys(logs, self.end) | dead[1],
            self.put_back_until_ms,
        )

    async def publish(self, erasures: Sequence[Erasure]) -> None:
        self.published |= {one.id: one for one in erasures}
        self.history += [(one.id, one.state) for one in erasures]


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


async def inline(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class Run:
    """An eraser that can be started again, on one engine and one topic."""

    def __init__(self, engine: Embedded) -> None:
        self.engine, self.logs, self.clock = engine, MemoryLogs(), Clock()
        self.patience = Patience(engine_s=0, clocks_s=0, brokers_s=90, refuse_days=30)
        self.select: Callable[[str], bytes] = engine.select
        self.start()

    def start(self) -> None:
        """As after a crash: all that is known is what was published."""
        rows = Rows(lambda sql: self.select(sql))  # noqa: PLW0108  # a test replaces it
        self.eraser = Eraser(rows, self.logs, self.patience, self.clock, inline)
        self.eraser.requests = dict(self.logs.published)

    def ask(self, *selectors: Selector) -> list[str]:
        made = [
            erasure_of(one, id=f"{number:016x}", reference="T-1", salt=SALT, now_ms=self.clock.now_ms)
            for number, one in enumerate(selectors, len(self.logs.published))
        ]
        self.logs.published |= {one.id: one for one in made}
        self.eraser.requests = dict(self.logs.published)
        return [one.id for one in made]

    def rounds(self, state: State, seconds: int = 1) -> None:
        """Rounds until every request is in that state."""
        for _ in range(60):
            if all(one.state is state for one in self.logs.published.values()):
                return
            asyncio.run(self.eraser.round())
            self.clock.now_ms += seconds * 1_000
        raise AssertionError([one.state for one in self.logs.published.values()])


@pytest.fixture(name="run")
def _run(engine: Embedded) -> Run:
    engine.select("TRUNCATE TABLE unjoin.erasures", "Null")
    for table in (
        "signals",
        "analytics",
        "personal",
        "labelers",
    ):  # in 26.9 a minute passes before the first is deleted
        engine.select(f"ALTER TABLE unjoin.{table} MODIFY SETTING old_parts_lifetime = 0", "Null")
    return Run(engine)


def rows(engine: Embedded, what: str) -> Any:
    return [msgspec.json.decode(line) for line in engine.select(what).splitlines()]


def count(engine: Embedded, table: str, where: str = "1") -> int:
    (row,) = rows(engine, f"SELECT toInt32(count()) AS n FROM unjoin.{table} WHERE {where} SETTINGS final = 0")
    return int(row["n"])


def test_rows_of_whoever_asked_are_gone_and_no_others(run: Run) -> None:
    """Of every table and every copy, and each neighbour stays as it is, byte for byte."""
    engine = run.engine
    engine.insert(signals([signal(number) for number in range(200)]))
    engine.insert(signals([signal(number) for number in range(100)]))  # sent twice, and not yet merged
    others = "session != 's-7'"
    before = rows(engine, f"SELECT sum(sipHash64(*)) AS hash FROM unjoin.signals WHERE {others} SETTINGS final = 0")
    mine = count(engine, "signals", "session = 's-7'")
    people = "('dev', 'acme', 'Ann@Acme.test'), ('shop', 'acme', 'bob@b.test'), ('dev', 'bolt', 'ann@acme.test')"
    engine.select(
        "INSERT INTO unjoin.personal (event_id, site, account, email) SELECT p.1 || p.2 || p.3, p.1, p.2, p.3 "
        f"FROM (SELECT arrayJoin([{people}]) AS p)"
    )
    engine.select("INSERT INTO unjoin.labelers (event_id, email) SELECT 'l', 'ANN@acme.test'")
    session, email = run.ask(SessionSelector("dev", "s-7"), email_selector("ann@ACME.test"))
    run.rounds(State.PARTS_CLEAN)
    assert count(engine, "signals", "session = 's-7'") == 0
    assert before == rows(
        engine, f"SELECT sum(sipHash64(*)) AS hash FROM unjoin.signals WHERE {others} SETTINGS final = 0"
    )
    assert rows(engine, "SELECT email FROM unjoin.personal") == [{"email": "bob@b.test"}]
    assert count(engine, "labelers") == 0
    assert run.logs.published[session].deleted == {"signals": mine, "analytics": 0}
    assert run.logs.published[email].deleted == {"personal": 2, "labelers": 1}
    run.ask(AccountSelector("acme"))
    run.rounds(State.PARTS_CLEAN)
    assert count(engine, "personal") == 0


def test_request_is_done_only_once_its_topics_are_past(run: Run) -> None:
    """Each state waits for what it says; after all of them the person's digest is forgotten."""
    run.engine.insert(signals([signal(7)]))
    run.logs.committed = 69
    (one,) = run.ask(SessionSelector("dev", "s-7"))

    def state() -> State:
        for _ in range(4):
            asyncio.run(run.eraser.round())
        return run.logs.published[one].state

    assert state() is State.ACCEPTED
    assert "sinks have still to store" in run.logs.published[one].waits_for
    run.logs.committed = 70
    run.rounds(State.PARTS_CLEAN)
    assert state() is State.PARTS_CLEAN
    assert (
        "retention of events.analytics-0, events.dead_letters-0, events.signals-0" in run.logs.published[one].waits_for
    )
    run.logs.start = 70
    assert state() is State.TOPICS_PAST
    run.clock.now_ms += 90_000
    assert state() is State.DONE
    run.clock.now_ms += 30 * DAY_MS
    assert state() is State.FORGOTTEN
    assert (run.logs.published[one].digest, run.logs.published[one].salt) == ("", "")
    noted = rows(run.engine, "SELECT id, reference, kind, state, deleted FROM unjoin.erasures FINAL")
    assert (
        noted
        == [
            {
                "id": one,
                "reference": "T-1",
                "kind": "session",
                "state": "forgotten",
                "deleted": {"signals": "1", "analytics": "0"},
            }
        ]
        or noted[0]["state"] == "forgotten"
    )


def test_rows_that_come_back_are_deleted_again_and_the_state_begins_anew(run: Run) -> None:
    """A spool that was down, a rewind, a restored backup: whatever brings them, they do not stay."""
    (one,) = run.ask(SessionSelector("dev", "s-7"))
    run.rounds(State.PARTS_CLEAN)
    run.logs.start = 70
    run.rounds(State.DONE, seconds=90)
    run.engine.insert(signals([signal(number) for number in range(20)]))
    run.logs.end = run.logs.committed = 99
    asyncio.run(run.eraser.round())
    assert run.logs.published[one].state is State.ACCEPTED
    run.rounds(State.PARTS_CLEAN)
    assert count(run.engine, "signals") == 19
    assert run.logs.published[one].deleted["signals"] == 1
    assert run.logs.published[one].ends["events.signals-0"] == 99


@pytest.mark.parametrize("state", [State.ACCEPTED, State.PARTS_CLEAN, State.TOPICS_PAST])
def test_request_waits_for_what_is_put_back_behind_its_ends(run: Run, state: State) -> None:
    """A replay writes their garbage once more, and a sink sets it aside once more, behind what was waited for."""
    (one,) = run.ask(SessionSelector("dev", "s-7"))
    if state is State.ACCEPTED:
        run.logs.committed = 69
        asyncio.run(run.eraser.round())
        assert run.logs.published[one].ends["events.dead_letters-0"] == 70
    else:
        run.rounds(State.PARTS_CLEAN)
        run.logs.start = 70
        if state is State.TOPICS_PAST:
            run.rounds(State.TOPICS_PAST)
    run.logs.put_back_until_ms = run.clock.now_ms + 60_000
    run.start()  # whoever takes over learns of it as well
    for seconds in (0, 90 - 31):  # also after the brokers' time
        run.clock.now_ms += seconds * 1_000
        asyncio.run(run.eraser.round())
        assert run.logs.published[one].state is State.ACCEPTED
        assert run.logs.published[one].waits_for == "a replay or a rewind, which may still put records back"
    run.logs.end, run.logs.committed = 80, 75  # the sink has not passed what was put back
    run.clock.now_ms += 2_000
    asyncio.run(run.eraser.round())
    assert "sinks have still to store" in run.logs.published[one].waits_for
    run.logs.end, run.logs.committed = 81, 80  # now it has, and what it set aside lies behind
    run.rounds(State.PARTS_CLEAN)
    assert run.logs.published[one].ends["events.dead_letters-0"] == 81
    asyncio.run(run.eraser.round())
    assert "retention of events.analytics-0, events.dead_letters-0" in run.logs.published[one].waits_for
    run.logs.start = 81
    run.rounds(State.DONE, seconds=90)
    run.logs.put_back_until_ms += 1  # of what is done nothing is left that could be put back
    asyncio.run(run.eraser.round())
    assert run.logs.published[one].state is State.DONE


class Breaking:
    """Runs statements and publishes, until one that holds a text fails, once: before it has an effect, or after."""

    def __init__(self, run: Run, text: str, *, after: bool) -> None:
        self._engine, self._publish = run.engine, run.logs.publish
        self._text, self._after, self.broke = text, after, False

    def _breaks(self, said: str) -> bool:
        breaks = not self.broke and self._text in said
        self.broke |= breaks
        return breaks

    def select(self, sql: str) -> bytes:
        breaks = self._breaks(sql)
        if breaks and not self._after:
            raise Unknown("away")
        answer = self._engine.select(sql)
        if breaks:
            raise Unknown("away")
        return answer

    async def publish(self, erasures: Sequence[Erasure]) -> None:
        breaks = self._breaks(f"publish {max(one.state for one in erasures)}")
        if not breaks or self._after:
            await self._publish(erasures)
        if breaks:
            raise Unknown("away")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "text", ["SELECT lower", "publish accepted", "ALTER", "system.mutations", "publish rows_deleted", "INSERT"]
)
def test_every_crash_leads_to_the_same_end(run: Run, text: str, after: bool) -> None:
    """Wherever the process or the engine goes away, the next sink goes on from what was published."""
    run.engine.insert(signals([signal(number) for number in range(100)]))
    ids = run.ask(SessionSelector("dev", "s-7"), SessionSelector("dev", "s-8"))
    breaking = Breaking(run, text, after=after)
    run.select = breaking.select
    run.logs.publish = breaking.publish  # type: ignore[method-assign]
    with pytest.raises(EngineError):
        run.rounds(State.ROWS_DELETED)
    run.start()
    run.rounds(State.ROWS_DELETED)
    assert count(run.engine, "signals") == 96
    assert [run.logs.published[one].deleted["signals"] for one in ids] == [2, 2]


def test_a_thousand_are_deleted_by_one_mutation(run: Run) -> None:
    """Every mutation rewrites the table, so that one by one a thousand requests would take a day."""
    run.engine.insert(signals([signal(number, session=f"s-{number}") for number in range(1_200)]))
    before = len(rows(run.engine, "SELECT command FROM system.mutations WHERE table = 'signals'"))
    run.ask(*(SessionSelector("dev", f"s-{number}") for number in range(1_000)))
    run.rounds(State.PARTS_CLEAN)
    assert count(run.engine, "signals") == 200
    commands = rows(run.engine, "SELECT command FROM system.mutations WHERE table = 'signals'")
    assert len(commands) == before + 1
