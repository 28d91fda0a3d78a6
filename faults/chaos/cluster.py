"""Three brokers, two collectors, three doors, two sinks and a server: each a process, started again when it dies."""

import asyncio
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from faults.chaos.plan import Scenario
from faults.chaos.rows import dump_server, hold_server_still
from ingest.access.sites import write_development_sites
from testkit.clickhouse_server import ClickHouseServer
from testkit.kafka_cluster import BROKERS, KafkaCluster
from unjoin.host.kafka import free_port
from unjoin.host.supervisor import Part, PartSpec

ROLES = {"collector": ("collect", 2), "processor": ("process", 3), "sink": ("sink", 2)}
READY_SECONDS_MAX = 180.0
COMMAND_SECONDS_MAX = 180.0
KILLED = "signal SIGKILL"


class Cluster:
    """The stack of one scenario.

    Attributes:
        bootstrap, https: addresses of the brokers, and of the collectors.
        kafka: brokers that are controllers, too.
        engine: the server that both sinks write to.
        parts: by role, its processes, each under a supervisor of its own.
        ended: roles that ended without having been killed, and how.
        partitions: of the topics that scale.
    """

    def __init__(self, scenario: Scenario, kafka_home: Path, folder: Path) -> None:
        self.kafka = KafkaCluster(kafka_home, folder / "kafka", controllers=BROKERS)
        self.bootstrap = self.kafka.bootstrap
        (folder / "server").mkdir(parents=True)
        self.engine = ClickHouseServer(folder / "server")
        self.parts: dict[str, list[Part]] = {}
        self.ended: list[str] = []
        self.partitions = 2
        self._folder, self._crowd = folder, str(scenario.crowd_min)
        self._since = ""
        # Notifications come by a socket, whose path may not be long.
        self._run_dir = tempfile.TemporaryDirectory(prefix="chaos-")
        ports = [free_port() for _ in range(ROLES["collector"][1])]
        self.https = [f"http://127.0.0.1:{port}" for port in ports]
        for role, (command, count) in ROLES.items():
            for number in range(count):
                spec = PartSpec(f"{role}-{number + 1}", [sys.executable, "-m", "unjoin", command], {})
                part = Part(spec, folder / "logs", Path(self._run_dir.name), self._hear)
                self.parts.setdefault(role, []).append(part)
        self._ports = dict(zip((part.spec.name for part in self.parts["collector"]), ports, strict=True))

    @property
    def reader_port(self) -> int:
        """Where ClickHouse answers over HTTP."""
        return self.engine.http_port

    async def start(self) -> None:
        """Returns once everything is ready."""
        await asyncio.gather(asyncio.to_thread(self.kafka.start), asyncio.to_thread(self.engine.start))
        await asyncio.to_thread(self._prepare)
        await asyncio.gather(*(self.begin(role) for role in self.parts))

    async def stop(self) -> list[str]:
        """Lets the roles end in good order, and then Kafka; the server goes on, for its rows are read."""
        for role in self.parts:
            await self.end(role)
        await asyncio.to_thread(self.kafka.stop)
        return []

    async def close(self) -> None:
        """Lets go of whatever still stands."""
        with suppress(Exception):
            await self.stop()
        with suppress(Exception):
            await asyncio.to_thread(self.engine.stop)
        self._run_dir.cleanup()

    async def begin(self, role: str) -> None:
        """Starts every process of a role; returns once they are ready."""
        for part in self.parts[role]:
            part.spec.environment.update(self._environment(part.spec.name))
        await asyncio.gather(*(part.start(READY_SECONDS_MAX) for part in self.parts[role]))

    async def end(self, role: str) -> None:
        """Stops every process of a role in good order."""
        await asyncio.gather(*(part.stop() for part in self.parts[role]))

    def mind(self, failures: list[str]) -> None:
        """Notes what halted: nobody but a person would start it again."""
        halted = [line for line in self.ended if "halted" in line]
        self.ended = [line for line in self.ended if line not in halted]
        failures += halted

    def audit(self) -> "subprocess.CompletedProcess[str]":
        """Runs `unjoin audit`, of what came since a topic was made again."""
        spools = [option for part in self.parts["collector"] for option in ("--spool", self._spool_of(part.spec.name))]
        since = ["--since", self._since] if self._since else []
        return self._command("audit", "--format", "json", *spools, *since)

    def make_topics(self, partitions: int = 0, *, again: bool = False) -> None:
        """Makes the topics that are missing, as an operator does.

        Args:
            partitions: from now on, of those that scale; 0 for no change.
            again: one that was there before is made anew; the audit looks at what comes from now on.
        """
        self.partitions = partitions or self.partitions
        if again:
            self._since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        done = self._command("topics")
        assert done.returncode == 0, f"`unjoin topics` failed: {done.stderr[-300:]}"

    def dump(self, file: Path) -> None:
        """As `rows.dump`."""
        dump_server(self.engine.url, file)

    def _prepare(self) -> None:
        write_development_sites(self._folder / "data" / "sites" / "sites.json", self.https)
        self.make_topics()
        hold_server_still(self.engine.url)

    def _hear(self, line: str) -> None:
        if KILLED not in line:
            self.ended.append(line.partition(";")[0])

    def _spool_of(self, name: str) -> str:
        return str(self._folder / "data" / f"spool-{name}")

    def _command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "unjoin", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS_MAX,
        )

    def _environment(self, name: str = "") -> dict[str, str]:
        """Of a process, by its name; of a command where that is empty. All share one folder of keys."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")},
            "UNJOIN_DATA_DIR": str(self._folder / "data"),
            "UNJOIN_KAFKA_BOOTSTRAP": self.bootstrap,
            "UNJOIN_REPLICATION_FACTOR": str(BROKERS),
            "UNJOIN_PARTITIONS": str(self.partitions),
            "UNJOIN_LABELED_PARTITIONS": str(ROLES["processor"][1]),
            "UNJOIN_CLICKHOUSE_URL": self.engine.url,
            "UNJOIN_CROWD_MIN": self._crowd,
            "UNJOIN_CROWD_TARGET": self._crowd,
            "UNJOIN_SIGNALS_TTL_DAYS": "0",
            "UNJOIN_ANALYTICS_TTL_DAYS": "0",
            "PYTHONUNBUFFERED": "1",
        }
        if name in self._ports:
            environment["UNJOIN_HTTP_PORT"] = str(self._ports[name])
            environment["UNJOIN_SPOOL_DIR"] = self._spool_of(name)
        return environment
