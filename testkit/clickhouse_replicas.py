"""Replicas of one ClickHouse, each a server of a test's own, and the ZooKeeper through which they agree.

ClickHouse's own code replicates: `modern_clickhouse.py` and `replica_parts.py` say what it is helped with. What is not
here is the worker that runs statements ON CLUSTER: `Replicas.run` runs them on each replica in turn.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sinks.clickhouse.address import Address, address_of
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.server import Server
from testkit.clickhouse_server import ClickHouseServer
from testkit.clickhouse_server import missing as no_server
from unjoin.host.kafka import free_port

ROOT = Path(__file__).parents[1]
JARS = ROOT / ".zookeeper" / "jars"
CLUSTER = "replicas"
READY_SECONDS_MAX = 60.0
SESSION_MS = 2_000  # after which a replica that was killed counts as gone

# Keeper's sessions carry the server's id, which clickhouse-local has not: each replica has another name for it.
_CONFIG = """
  <auxiliary_zookeepers><{name}>
    <node><host>127.0.0.1</host><port>{keeper}</port></node><session_timeout_ms>{session_ms}</session_timeout_ms>
  </{name}></auxiliary_zookeepers>
  <macros><shard>1</shard><replica>{name}</replica></macros>
  <interserver_http_host>127.0.0.1</interserver_http_host><interserver_http_port>{port}</interserver_http_port>
"""


def missing() -> str:
    """Why no replicas can run here; "" where they can."""
    if not JARS.is_dir():
        return "no ZooKeeper: run `scripts/setup test`"
    return no_server() or ("" if shutil.which("java") else "no java: run `make setup`")


class ZooKeeper:
    """One node on a free port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._log, config = folder / "zookeeper.log", folder / "zoo.cfg"
        config.write_text(
            f"tickTime={SESSION_MS // 4}\ndataDir={folder}/zookeeper\nclientPort={self.port}\n"
            "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=ruok\n"
        )
        main = "org.apache.zookeeper.server.ZooKeeperServerMain"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["java", "-Xmx256m", "-cp", f"{JARS}/*", main, str(config)], stdout=log, stderr=log, env=kept
            )

    def stop(self) -> None:
        """SIGTERM."""
        self._process.terminate()
        self._process.wait()


class Replicas:
    """Replicas r1, r2, … that have the project's tables; `with` ends them.

    Attributes:
        servers: by number from 0.
    """

    def __init__(self, folder: Path, count: int = 3) -> None:
        self._keeper = ZooKeeper(folder)
        self.servers = []
        for number in range(count):
            own = folder / f"r{number + 1}"
            own.mkdir()
            more = _CONFIG.format(name=own.name, keeper=self._keeper.port, session_ms=SESSION_MS, port=free_port())
            self.servers.append(ClickHouseServer(own, more=more))
        self._plain = [Server(address_of(server.url)) for server in self.servers]
        self._first = Server(self.address(0))

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                migrate(self.run, self._select, cluster=CLUSTER)
                break
            except Exception:  # the keeper has not begun to listen
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for engine in (*self._plain, self._first):
            engine.close()
        for server in self.servers:
            server.kill()
        self._keeper.stop()

    def address(self, *numbers: int) -> Address:
        """Of these replicas in this order."""
        first, *others = (self.servers[number].port for number in numbers)
        url = self.servers[0].url.replace(f":{self.servers[0].port}/", f":{first}/")
        made = address_of(url, cluster=CLUSTER)
        return Address(
            host=made.host, port=first, others=tuple((made.host, port) for port in others), cluster=CLUSTER,
            user=made.user, password=made.password,
        )  # fmt: skip

    def ask(self, number: int, sql: str, settings: Mapping[str, Any] | None = None) -> Any:
        """Rows of a statement on one replica, as it is itself: without what the sink asks of replicas."""
        return self._plain[number].run(sql, settings or {})[0]

    def run(self, sql: str) -> object:
        """A statement as the cluster runs it."""
        if f" ON CLUSTER '{CLUSTER}'" not in sql:
            return self._first.run(sql)
        for number in range(len(self.servers)):
            here = sql.replace(f" ON CLUSTER '{CLUSTER}'", "")
            self.ask(number, re.sub(r"'(?=/clickhouse/tables/)", f"'r{number + 1}:", here))
        return None

    def _select(self, sql: str, output_format: str) -> bytes:
        return self._first.select(sql, output_format)
