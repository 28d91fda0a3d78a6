"""Makes a round's fault. Each returns when it is over: at once after a kill, at its end where it lasts."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from faults.chaos.environment import Environment
from faults.chaos.insert_watch import InsertWatch
from faults.chaos.parts import end
from faults.chaos.plan import Round
from testkit.fault_proxy import Fault, FaultProxy, never

AIM_SECONDS_MAX = 15.0
AIM_TABLES = ("signals", "analytics", "labels")
INSERT_SECONDS = (0.0, 0.006)
STORM_GROUPS = ("unjoin-sink-signals", "unjoin-sink-analytics", "unjoin-sink-labels")
STORM_TOPICS = {"signals": "events.signals", "analytics": "events.analytics", "labels": "labels.deidentified"}
INSERT_MARK = b"INSERT INTO"
SWALLOW_SECONDS = 0.5


class Injected(msgspec.Struct, frozen=True):
    """What was done.

    Attributes:
        began_at, ended_at: seconds, monotonic.
        note: what only the fault knows, for the report.
    """

    began_at: float
    ended_at: float
    note: str = ""


class Lengths(msgspec.Struct, frozen=True):
    """How long lasting faults last, seconds."""

    stop: float = 30.0
    storm: float = 6.0
    full: float = 5.0
    skew: float = 5.0


class Injector:
    """Makes the faults of one stack."""

    def __init__(self, environment: Environment, lengths: Lengths) -> None:
        self._environment = environment
        self._lengths = lengths

    async def inject(self, one: Round) -> Injected:
        """Does it."""
        chance = one.chance()
        part, fault = one.kind.part, one.kind.fault
        made: dict[str, Callable[[], Awaitable[Injected]]] = {
            "SIGKILL": lambda: asyncio.to_thread(self._signal, part, signal.SIGKILL),
            "SIGTERM": lambda: asyncio.to_thread(self._signal, part, signal.SIGTERM),
            "SIGSTOP": lambda: self._pause(part),
            "storm": lambda: self._sink_storm(chance) if part == "sink" else self._processor_storm(chance),
            "reset": lambda: self._reset(part, chance),
            "lost-replies": lambda: self._lose_replies(part, chance),
            "disk-full": lambda: self._fill(part),
            "ahead": lambda: self._skew(3_600),
            "back": lambda: self._skew(-3_600),
        }
        of_their_own: dict[str, Callable[[], Awaitable[Injected]]] = {
            "engine:SIGKILL": lambda: asyncio.to_thread(self._kill_inside_insert, chance),
            "server:SIGKILL": lambda: asyncio.to_thread(self._kill_server, chance),
            "server:reset": lambda: self._break_insert(chance, swallow=False),
            "server:lost-reply": lambda: self._break_insert(chance, swallow=True),
        }
        return await of_their_own.get(one.kind.name, made.get(fault, self._unknown))()

    async def _unknown(self) -> Injected:
        raise AssertionError("a kind without a way to make it")

    # Signals.

    def _signal(self, part: str, number: signal.Signals) -> Injected:
        pid = self._environment.pid_of(part)
        began = time.monotonic()
        end(pid, number)
        gone = time.monotonic()
        # The drain after a SIGTERM is part of the outage: recovery counts from the signal.
        return Injected(began, began, f"gone after {gone - began:.1f} s" if number == signal.SIGTERM else "")

    async def _pause(self, part: str) -> Injected:
        pid = self._environment.pid_of(part)
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._lengths.stop)
        finally:
            os.kill(pid, signal.SIGCONT)
        return Injected(began, time.monotonic())

    def _kill_inside_insert(self, chance: random.Random) -> Injected:
        table, later = chance.choice(AIM_TABLES), chance.uniform(*INSERT_SECONDS)
        server = self._environment.engine
        pid = self._environment.pid_of("sink")
        kill = partial(end, pid, signal.SIGKILL) if server is None else server.kill
        with InsertWatch(self._environment.clickhouse_dir, table) as watch:
            begun = watch.wait(AIM_SECONDS_MAX)
            time.sleep(later)
            began = time.monotonic()
            kill()
            inside = begun and watch.unfinished()
        if server is not None:
            server.start()
        return Injected(began, began, f"inside an insert into {table}" if inside else f"beside an insert into {table}")

    # The group.

    async def _sink_storm(self, chance: random.Random) -> Injected:
        """Members that join, are given partitions, store nothing and leave."""
        began = time.monotonic()
        members = 0
        while time.monotonic() - began < self._lengths.storm:
            group = chance.choice(STORM_GROUPS)
            await self._visit(group, chance.uniform(0.2, 1.0))
            members += 1
        return Injected(began, time.monotonic(), f"{members} visits")

    async def _visit(self, group: str, seconds: float) -> None:
        visitor = AIOKafkaConsumer(
            STORM_TOPICS[group.rpartition("-")[2]],
            bootstrap_servers=self._environment.bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6_000,
            rebalance_timeout_ms=30_000,
        )
        try:
            async with asyncio.timeout(20):
                await visitor.start()
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    await visitor.getmany(timeout_ms=100)
        except (KafkaError, TimeoutError):
            pass
        finally:
            await visitor.stop()

    async def _processor_storm(self, chance: random.Random) -> Injected:
        """Second processors, real ones, that come, may be given the partition, and go again."""
        began = time.monotonic()
        members = 0
        environment = {**self._environment.stack.environment, "UNJOIN_METRICS_PORT": "0"}
        environment.setdefault("UNJOIN_KAFKA_BOOTSTRAP", self._environment.stack.bootstrap)
        while time.monotonic() - began < self._lengths.storm:
            visitor = await asyncio.to_thread(self._processor, environment)
            await asyncio.sleep(chance.uniform(2.0, 4.0))
            visitor.send_signal(chance.choice((signal.SIGTERM, signal.SIGKILL)))
            await asyncio.to_thread(visitor.wait)
            members += 1
        return Injected(began, time.monotonic(), f"{members} visits")

    def _processor(self, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        with (self._environment.data_dir / "logs" / "storm.log").open("ab") as log:
            return subprocess.Popen(
                [*self._environment.stack.python, "process"], env=environment, stdout=log, stderr=log
            )

    # Connections.

    async def _reset(self, part: str, chance: random.Random) -> Injected:
        proxy, pid = self._kafka_proxy(), self._environment.pid_of(part)
        began, count = time.monotonic(), 0
        for _ in range(chance.randint(1, 4)):
            for connection in proxy.of(pid):
                connection.reset()
                count += 1
            await asyncio.sleep(chance.uniform(0.02, 0.8))
        return Injected(began, time.monotonic(), f"{count} connections reset")

    async def _lose_replies(self, part: str, chance: random.Random) -> Injected:
        """Lets requests through and throws their answers away, then resets the connections."""
        began = time.monotonic()
        connections = self._kafka_proxy().of(self._environment.pid_of(part))
        for connection in connections:
            connection.swallows = True
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        for connection in connections:
            connection.reset()
        return Injected(began, time.monotonic(), f"{len(connections)} connections without replies")

    async def _break_insert(self, chance: random.Random, *, swallow: bool) -> Injected:
        proxy = self._environment.server_proxy
        assert proxy is not None
        share = chance.random()

        def choose(request: bytes) -> Fault | None:
            place = request.find(INSERT_MARK)
            if place < 0:
                return None
            return Fault("swallow") if swallow else Fault("reset", place + int(share * (len(request) - place)))

        found = await asyncio.to_thread(proxy.once(choose).wait, AIM_SECONDS_MAX)
        began = time.monotonic()
        if swallow:
            await asyncio.sleep(SWALLOW_SECONDS)  # the insert ends in that time
            for connection in list(proxy.connections):
                if connection.swallows:
                    connection.reset()
        proxy.choose = never
        return Injected(began, time.monotonic(), "inside an insert" if found else "no insert came")

    def _kill_server(self, chance: random.Random) -> Injected:
        assert self._environment.server is not None
        began = time.monotonic()
        self._environment.server.kill()
        time.sleep(chance.uniform(0.1, 2.0))
        self._environment.server.start()
        return Injected(began, began)

    def _kafka_proxy(self) -> FaultProxy:
        assert self._environment.kafka_proxy is not None
        return self._environment.kafka_proxy

    # The machine.

    async def _fill(self, part: str) -> Injected:
        """The sink's disk; or a collector's spool, and Kafka out of the collector's reach, or the spool would idle."""
        disk, proxy = self._environment.disks[part], self._kafka_proxy()
        collector = self._environment.pid_of("collector")
        began = time.monotonic()
        if part == "spool":
            proxy.refused.add(collector)
            for connection in proxy.of(collector):
                connection.reset()
        await asyncio.to_thread(disk.fill)
        try:
            await asyncio.sleep(self._lengths.full)
        finally:
            await asyncio.to_thread(disk.relieve)
            proxy.refused.discard(collector)
        return Injected(began, time.monotonic())

    async def _skew(self, seconds: int) -> Injected:
        clock = self._environment.clock
        assert clock is not None
        began = time.monotonic()
        clock.set(seconds)
        try:
            await asyncio.sleep(self._lengths.skew)
        finally:
            clock.set(0)
        return Injected(began, time.monotonic())
