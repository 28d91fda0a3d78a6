"""docker-compose.yml as it stands, started by docker-compose on the engine of testkit/docker_engine.py.

Beside the file there are an `.env` with passwords and free ports, and what this machine cannot give: where it allows
fewer open files than a service asks for, the service gets those.
"""

import json
import resource
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from testkit.docker_engine import ROOT, Engine
from testkit.processes import wait_for
from unjoin.host.kafka import free_port

FILE = ROOT / "docker-compose.yml"
PROJECT = "unjoin-test"
READERS = ("analyst", "ml", "privacy")
LONG_RUNNING = ("kafka", "clickhouse", "collector", "processor", "sink")
UP_SECONDS_MAX = 240.0
ROWS_SECONDS_MAX = 90.0

Document = dict[str, Any]


class ComposeStack:
    """The stack, one at a time on an engine; nothing runs before `compose("up", …)`.

    Args:
        folder: for the `.env` and what is said beside the file.
        settings: further lines of the `.env`.

    Attributes:
        services: of the file, without those of a profile.
        passwords: by user of ClickHouse.
    """

    def __init__(self, engine: Engine, folder: Path, **settings: str) -> None:
        self.engine, self._folder = engine, folder
        document = yaml.safe_load(FILE.read_text())
        services: dict[str, Document] = document["services"]
        self.services = {name: one for name, one in services.items() if "profiles" not in one}
        self.passwords = {user: secrets.token_hex(24) for user in ("sink", *READERS)}
        ports = {"COLLECTOR_PORT": str(free_port()), "CLICKHOUSE_PORT": str(free_port())}
        self.http = f"http://127.0.0.1:{ports['COLLECTOR_PORT']}"
        self.clickhouse = f"http://127.0.0.1:{ports['CLICKHOUSE_PORT']}/"
        hashes = {user: sha256(self.passwords[user].encode()).hexdigest() for user in READERS}
        self._settings = {
            "CLICKHOUSE_SINK_PASSWORD": self.passwords["sink"],
            **{f"CLICKHOUSE_{user.upper()}_PASSWORD_SHA256": value for user, value in hashes.items()},
            **ports,
        }
        (folder / "limits.yml").write_text(json.dumps(_limits(self.services)))
        self.set(**settings)

    def set(self, **settings: str) -> None:
        """Further lines of the `.env`, from the next command on."""
        self._settings |= settings
        (self._folder / "env").write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))

    def compose(self, *arguments: str) -> str:
        """What a command of docker-compose says.

        Raises:
            AssertionError: it failed.
        """
        done = self.tried(*arguments)
        assert done.returncode == 0, f"docker-compose {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        command = ["docker-compose", "--project-name", PROJECT, "--project-directory", str(ROOT)]
        command += ["--env-file", str(self._folder / "env"), "--file", str(FILE)]
        command += ["--file", str(self._folder / "limits.yml")]
        return subprocess.run(
            [*command, *arguments],
            env=self.engine.environment,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS_MAX,
            check=False,
        )

    def up(self) -> float:
        """Returns once every service is healthy, with the seconds it took. Images are those that are there."""
        began = time.monotonic()
        self.compose("up", "--detach", "--no-build")
        self.wait_healthy()
        return time.monotonic() - began

    def wait_healthy(self, *services: str) -> None:
        """Returns once these services say that they are healthy; none named: all that run for long."""
        for service in services or LONG_RUNNING:
            wait_for(
                lambda service=service: self.health(service) == "healthy",  # type: ignore[misc]
                lambda service=service: f"{service} is not healthy: {self.logs(service)[-2000:]}",  # type: ignore[misc]
                UP_SECONDS_MAX,
            )

    def down(self) -> None:
        """Takes everything away, data as well."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")

    def inspect(self, service: str) -> Document:
        """The service's container, as the engine sees it."""
        labels = {"project": PROJECT, "service": service, "oneoff": "False"}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        identifier = self.engine.docker("ps", "--all", "--quiet", *filters)
        found: list[Document] = json.loads(self.engine.docker("inspect", identifier))
        return found[0]

    def health(self, service: str) -> str:
        """starting, healthy or unhealthy; of a container that does not run, its state."""
        state = self.inspect(service)["State"]
        return str(state["Health"]["Status"] if state["Status"] == "running" else state["Status"])

    def logs(self, *services: str) -> str:
        """What services have said."""
        return self.compose("logs", "--no-color", *services)

    def add_site(self, *arguments: str) -> str:
        """A new key, made as deploy/README.md says."""
        return self.compose("run", "--rm", "collector", "sites", "add", *arguments).split()[-1]

    def volume(self, name: str) -> str:
        """What the engine calls a volume of the file."""
        return f"{PROJECT}_{name}"

    def on_network(self, name: str, program: str, *arguments: str) -> str:
        """What a Python program says in a container that joins one network of the file, and nothing else."""
        image = self.services["collector"]["image"]
        options = ["--rm", "--network", f"{PROJECT}_{name}", "--entrypoint", "/opt/unjoin/bin/python"]
        # Whom the engine does not know nobody knows, without waiting.
        options += ["--dns=127.0.0.1", "--dns-option=timeout:1", "--dns-option=attempts:1"]
        return self.engine.docker("run", *options, image, "-c", program, *arguments)

    def post(self, batch: Document, key: str) -> tuple[int, Document]:
        """Posts one batch; gives status and answer, 0 where there is none."""
        request = urllib.request.Request(
            f"{self.http}/v1/events",
            json.dumps(batch).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError as error:
            return 0, {"error": str(error)}

    def query(self, user: str, sql: str, password: str = "") -> str:
        """What ClickHouse answers a user over the published port, the text of an error as well; "" for none."""
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password or self.passwords[user]}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.clickhouse, sql.encode(), headers), timeout=30
            ) as answer:
                return str(answer.read().decode().strip())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def wait_for_rows(self, table: str, count: int) -> None:
        """Returns once a table has this many rows."""
        wait_for(
            lambda: self.query("privacy", f"SELECT count() FROM {table}") == str(count),
            lambda: f"{table}: {self.query('privacy', f'SELECT count() FROM {table}')} rows, not {count}",
            ROWS_SECONDS_MAX,
        )


def _limits(services: dict[str, Document]) -> Document:
    """What the machine allows of what services ask for."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    less = {"ulimits": {"nofile": {"soft": files, "hard": files}}}
    asks = {name: one.get("ulimits", {}).get("nofile", {}).get("hard", 0) for name, one in services.items()}
    return {"services": {name: less for name, asked in asks.items() if asked > files}}
