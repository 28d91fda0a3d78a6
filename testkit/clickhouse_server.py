"""A ClickHouse server as a child process on free ports, with everything in one folder; or one that is there already.

`modern_clickhouse.py` says what the child is, and what it is not. `UNJOIN_TEST_CLICKHOUSE` names a server that the
suites use instead, wherever they need not kill it: its database `unjoin` is theirs to drop.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from sinks.clickhouse.address import address_of
from testkit.modern_clickhouse import UnexpectedLibrary, entry_of, library_path
from unjoin.host.kafka import free_port

ROOT = Path(__file__).parents[1]
DEPLOYED = ROOT / "deploy" / "clickhouse"
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 40.0
PASSWORD = "p@ss:w/rd"  # characters that a URL has to escape
GIVEN = "UNJOIN_TEST_CLICKHOUSE"

_CONFIG = """<clickhouse>
  <logger><level>warning</level><log>{folder}/server.log</log><errorlog>{folder}/error.log</errorlog></logger>
  <tcp_port>{port}</tcp_port><http_port>{http_port}</http_port><listen_host>127.0.0.1</listen_host>
  <path>{folder}/data/</path><user_files_path>{folder}/files/</user_files_path>
  <users_config>{folder}/users.xml</users_config><timezone>UTC</timezone>{more}
</clickhouse>
"""
_USERS = """<clickhouse>
  <profiles><default><max_memory_usage>2000000000</max_memory_usage></default></profiles>
  <quotas><default/></quotas>
  <users>
    <default><password/><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default>
    <writer><password>{password}</password><networks><ip>::/0</ip></networks><profile>default</profile>
      <quota>default</quota></writer>
  </users>
</clickhouse>
"""
# The server's first query is the user `default`'s: where the users are those of deploy/, it may reach no table.
_KEEPER = """<clickhouse><users><default replace="replace">
  <password/><networks><ip>127.0.0.1</ip></networks><quota>unlimited</quota>
  <grants><query>GRANT SYSTEM, CREATE TEMPORARY TABLE ON *.*</query><query>GRANT READ ON FILE</query></grants>
</default></users></clickhouse>
"""


def missing() -> str:
    """Why no server can run here; "" where one can."""
    try:
        entry_of(library_path())
    except UnexpectedLibrary as error:
        return f"the pinned chdb-core cannot be run as a server here: {error}"
    return ""


class AnyServer(Protocol):
    """What a suite needs of a server that it does not kill."""

    url: str
    port: int


class GivenServer:
    """The server that `UNJOIN_TEST_CLICKHOUSE` names.

    Attributes:
        url: as `UNJOIN_CLICKHOUSE_URL` takes it.
    """

    def __init__(self, url: str) -> None:
        self.url, self.port = url, address_of(url).port


class ClickHouseServer:
    """One server; `kill` and `start` go on with the same data and ports.

    Args:
        deployed: whether it has the users, roles and settings of deploy/clickhouse; else one user who may do all.
        environment: beside the process's own; the passwords of the deployed users.
        more: elements for config.xml.
    """

    def __init__(
        self, folder: Path, *, deployed: bool = False, environment: dict[str, str] | None = None, more: str = ""
    ) -> None:
        self.folder, self._environment = folder, environment or {}
        self.port = free_port(2)
        self.http_port = self.port + 1
        self.url = f"clickhouse://writer:p%40ss%3Aw%2Frd@127.0.0.1:{self.port}/unjoin"
        (folder / "config.xml").write_text(
            _CONFIG.format(folder=folder, port=self.port, http_port=self.http_port, more=more)
        )
        (folder / "users.xml").write_text(_USERS.format(password=PASSWORD))
        if deployed:
            for name, source in (("config.d", "server.xml"), ("users.d", "users.xml")):
                (folder / name).mkdir()
                shutil.copyfile(DEPLOYED / source, folder / name / "unjoin.xml")
            (folder / "users.d" / "unjoin_keeper.xml").write_text(_KEEPER)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the server that runs or ran last."""
        assert self._process
        return self._process.pid

    def url_of(self, user: str, password: str) -> str:
        """The server's address for another user."""
        return f"clickhouse://{user}:{password}@127.0.0.1:{self.port}/unjoin"

    def start(self) -> None:
        """Returns once it answers."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
        with (self.folder / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "testkit.modern_clickhouse", str(self.folder / "config.xml")],
                stdout=log, stderr=log, cwd=ROOT, env=kept | self._environment,
            )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._answers():
            assert self._process.poll() is None, f"the server ended: see {self.folder}/out.log and error.log"
            assert time.monotonic() < deadline, f"the server does not answer: see {self.folder}/error.log"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Ends a pause."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM; does nothing where it has ended."""
        assert self._process
        self._process.terminate()
        self._process.wait(STOP_SECONDS_MAX)

    def _answers(self) -> bool:
        try:
            # The HTTP listener starts after the native one.
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/ping", timeout=1) as answer:
                return bool(answer.read() == b"Ok.\n")
        except (OSError, HTTPException):  # before it listens, a connection may reach itself
            return False
