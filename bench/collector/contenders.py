"""What is measured: the product, what users would write, and the floor of HTTP; each a process of its own."""

import http.client
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from testkit.collect_process import Collect
from unjoin.host.kafka import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX = 30.0
EACH_CHECKED = "every event was checked by itself, and every in-sync replica has the record of each that is accepted"
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
        promise: what its 2xx means.
        stores: it writes to Kafka; a floor does not.
    """

    name: str
    promise = EACH_CHECKED
    stores = True
    port: int

    def missing(self) -> str:
        """What it needs and this machine has not; "" where it can start."""
        return ""

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

    name = "unjoin"
    promise = f"{EACH_CHECKED}, or the synced spool while Kafka is away; labels are sealed to the door"

    def __init__(self, workers: int = 1, name: str = name, **settings: str) -> None:
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
    """A module of `bench.collector.peers`, which needs `package`."""

    def __init__(self, name: str, package: str) -> None:
        self.name, self._package = name, package

    def missing(self) -> str:
        found = importlib.util.find_spec(self._package)
        return "" if found else f"{self._package} is not installed; `scripts/setup bench` installs it"

    def start(self, bootstrap: str, folder: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", f"bench.collector.peers.{self.name}", str(self.port), bootstrap]
        self.process = subprocess.Popen(command, cwd=ROOT)
        until_answered(self.process, self.port)


class Program(Child):
    """A folder of `bench/collector/peers` that is no Python.

    Args:
        command: from the repository's root; {port} and {bootstrap} are filled in, and are variables as well.
        built_with: what `scripts/setup bench` needs to build it.
    """

    def __init__(self, name: str, command: Sequence[str], promise: str, built_with: str) -> None:
        self.name, self.promise = name, promise
        self._command, self._built_with = command, built_with

    def missing(self) -> str:
        if (ROOT / self._command[0]).exists():
            return ""
        return f"not built; `scripts/setup bench` builds it where it finds {self._built_with}"

    def start(self, bootstrap: str, folder: Path) -> None:
        self.port = free_port()
        given = {"port": str(self.port), "bootstrap": bootstrap}
        variables = {name.upper(): value for name, value in given.items()}
        command = [part.format(**given) for part in self._command]
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables)
        until_answered(self.process, self.port)


class Nginx(Child):
    """The floor of HTTP: takes the request, reads the body, answers 204."""

    name = "nginx (HTTP alone)"
    promise = "the body was read"
    stores = False
    _binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")

    def missing(self) -> str:
        return "" if self._binary else "nginx is not installed (Debian: apt-get install nginx)"

    def start(self, bootstrap: str, folder: Path) -> None:
        assert self._binary is not None
        self.port = free_port()
        (folder / "nginx").mkdir(exist_ok=True)
        # The worker changes to another user when started as root.
        os.chmod(folder, 0o755)
        os.chmod(folder / "nginx", 0o777)
        configuration = folder / "nginx" / "nginx.conf"
        configuration.write_text(NGINX.format(folder=folder / "nginx", port=self.port))
        self.process = subprocess.Popen([self._binary, "-c", str(configuration), "-p", str(folder / "nginx")])
        until_answered(self.process, self.port)


def everyone() -> list[Contender]:
    """The product first, the floor last."""
    return [
        Unjoin(),
        Peer("aiohttp_pydantic", "pydantic"),
        Peer("aiohttp_checked", "orjson"),
        Peer("granian_checked", "granian"),
        Program("axum", [".peers/axum/release/collector", "{port}", "{bootstrap}"], EACH_CHECKED, "Rust 1.85 or newer"),
        Program(
            "benthos",
            [".peers/benthos/benthos", "-c", "bench/collector/peers/benthos/config.yaml"],
            "every in-sync replica has the JSON of every event as it came; no key was looked at, and of an event only "
            "its type: where one is unknown the answer is 502, and the others may be stored",
            "Go 1.26 or newer",
        ),
        Nginx(),
    ]


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
