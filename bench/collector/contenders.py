"""What is measured: the product, what users would write, and the floor of HTTP; each a process of its own."""

import http.client
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

from testkit.collect_process import Collect
from unjoin.host.kafka import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX = 30.0
PEERS = ("aiohttp_pydantic", "aiohttp_checked")
# One worker, as all the others are; the body is read to its end before the answer.
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; keepalive_requests 1000000000; client_max_body_size 4m;
  proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}
}}
"""


class Contender(ABC):
    """A server that takes the requests of a mix.

    Attributes:
        name: as the results call it.
        stores: it writes to Kafka; a floor does not.
    """

    name: str
    stores = True
    port: int

    @abstractmethod
    def start(self, bootstrap: str, folder: Path) -> None:
        """Returns once it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Ends it."""

    @property
    @abstractmethod
    def pids(self) -> list[int]:
        """The processes whose CPU counts."""


class Unjoin(Contender):
    """The product, as `unjoin collect` starts it.

    Args:
        settings: beside those that the bench needs.
    """

    def __init__(self, workers: int = 1, name: str = "unjoin", **settings: str) -> None:
        self.name = name
        self._settings = {"UNJOIN_COLLECT_WORKERS": str(workers), **settings}

    def start(self, bootstrap: str, folder: Path) -> None:
        self._collect = Collect(folder / self.name.replace(" ", "-"), bootstrap, **self._settings)
        self.prepare(self._collect.data_dir / "sites" / "sites.json")
        self._collect.start()
        self.port = self._collect.port

    def prepare(self, sites_file: Path) -> None:
        """Changes the file of sites before the start."""

    def stop(self) -> None:
        code, _ = self._collect.stop()
        assert code == 0, "the collector did not end well"

    @property
    def pids(self) -> list[int]:
        return family(self._collect.pid)


class Child(Contender):
    """One that is a process of ours.

    Attributes:
        process: set by `start`.
    """

    process: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(READY_SECONDS_MAX)

    @property
    def pids(self) -> list[int]:
        return family(self.process.pid)


class Peer(Child):
    """A module of `bench.collector.peers`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, bootstrap: str, folder: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", f"bench.collector.peers.{self.name}", str(self.port), bootstrap]
        self.process = subprocess.Popen(command, cwd=ROOT)
        until_answered(self.process, self.port)


class Nginx(Child):
    """The floor of HTTP: takes the request, reads the body, answers 204."""

    name = "nginx (HTTP alone)"
    stores = False

    def start(self, bootstrap: str, folder: Path) -> None:
        binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if binary is None:
            raise SystemExit("nginx is not installed: apt install nginx-light, or leave it out with --without nginx")
        self.port = free_port()
        (folder / "nginx").mkdir(exist_ok=True)
        # The worker changes to another user when started as root.
        os.chmod(folder, 0o755)
        os.chmod(folder / "nginx", 0o777)
        configuration = folder / "nginx" / "nginx.conf"
        configuration.write_text(NGINX.format(folder=folder / "nginx", port=self.port))
        self.process = subprocess.Popen([binary, "-c", str(configuration), "-p", str(folder / "nginx")])
        until_answered(self.process, self.port)


def family(pid: int) -> list[int]:
    """A process and those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in family(int(child)))]


def until_answered(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Returns once the port answers HTTP."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS_MAX)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        except ConnectionError:
            if process.poll() is not None:
                raise SystemExit(f"{process.args!r} ended at once") from None
            if time.monotonic() > deadline:
                raise SystemExit(f"{process.args!r} does not answer") from None
            time.sleep(0.05)
        finally:
            connection.close()
