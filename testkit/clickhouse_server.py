"""Debian's clickhouse-server (18.16) as a child process on free ports, with everything in one folder."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

READY_SECONDS_MAX = 60.0
PASSWORD = "p@ss:w/rd"  # characters that a URL has to escape

_CONFIG = """<yandex>
  <logger><level>warning</level><log>{folder}/server.log</log><errorlog>{folder}/error.log</errorlog></logger>
  <tcp_port>{port}</tcp_port><http_port>{http_port}</http_port><interserver_http_port>{interserver}</interserver_http_port>
  <interserver_http_host>127.0.0.1</interserver_http_host><listen_host>127.0.0.1</listen_host>
  <path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path><user_files_path>{folder}/files/</user_files_path>
  <users_config>{folder}/users.xml</users_config><default_profile>default</default_profile>
  <default_database>default</default_database><timezone>UTC</timezone><mark_cache_size>5368709120</mark_cache_size>
</yandex>"""
_USERS = """<yandex>
  <profiles><default><max_memory_usage>2000000000</max_memory_usage></default></profiles>
  <users><writer><password>{password}</password><networks><ip>::/0</ip></networks><profile>default</profile>
  <quota>default</quota></writer></users><quotas><default></default></quotas>
</yandex>"""


def binary() -> str | None:
    """The server's program, or None where the package is not installed."""
    return shutil.which("clickhouse-server") or shutil.which("clickhouse-server", path="/usr/sbin:/usr/bin")


class ClickHouseServer:
    """One server; `kill` and `start` go on with the same data and port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, http_port, interserver = (_free_port() for _ in range(3))
        (folder / "config.xml").write_text(
            _CONFIG.format(folder=folder, port=self.port, http_port=http_port, interserver=interserver)
        )
        (folder / "users.xml").write_text(_USERS.format(password=PASSWORD))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's address as a setting names it."""
        return f"clickhouse://writer:p%40ss%3Aw%2Frd@127.0.0.1:{self.port}/unjoin"

    @property
    def pid(self) -> int:
        """Process id of the server that runs or ran last."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Returns once it answers."""
        program = binary()
        assert program
        with (self.folder / "out.log").open("ab") as log:
            command = [program, f"--config-file={self.folder}/config.xml"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._answers():
            assert self._process.poll() is None, f"the server ended: see {self.folder}/error.log and out.log"
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
        """SIGTERM."""
        assert self._process
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.2):
                return True
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
