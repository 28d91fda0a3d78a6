"""A Docker engine of the project's own, with the images of scripts/stand_in_images and nothing else.

    python -m testkit.docker_engine IMAGE…    takes images over from podman's store

It keeps all it has in .containers/docker and listens on a socket there; a Docker of the machine is left alone.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testkit.processes import wait_for

ROOT = Path(__file__).parents[1]
CONTAINERS = ROOT / ".containers"
FOLDER = CONTAINERS / "docker"
IDS = FOLDER / "images"  # which images it has, written last
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0


def missing() -> str:
    """Why no stack can be started here; "" where one can."""
    programs = [name for name in ("dockerd", "docker", "docker-compose") if shutil.which(name) is None]
    if programs or os.geteuid() != 0 or not IDS.exists():
        return "no Docker engine with the stand-in images (as root: scripts/stand_in_images)"
    return ""


class Engine:
    """A running engine.

    Attributes:
        environment: what makes `docker` and `docker-compose` speak to it.
    """

    def __init__(self, socket: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("UNJOIN_", "DOCKER_"))}
        self.environment = kept | {"DOCKER_HOST": f"unix://{socket}"}

    def docker(self, *arguments: str) -> str:
        """What a command says.

        Raises:
            AssertionError: it failed.
        """
        done = self.tried(*arguments)
        assert done.returncode == 0, f"docker {' '.join(arguments[:2])}: {done.stderr}"
        return done.stdout.strip()

    def build(self, containerfile: str, image: str) -> None:
        """Makes an image without any context."""
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", image, "-"],
            input=containerfile.encode(),
            env=self.environment | {"DOCKER_BUILDKIT": "0"},
            capture_output=True,
            check=True,
        )

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        return subprocess.run(
            ["docker", *arguments], env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )


@contextmanager
def engine() -> Iterator[Engine]:
    """Runs until the block ends; what it has is there the next time. One at a time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    running = Engine(FOLDER / "socket")
    with (FOLDER / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                *("dockerd", f"--data-root={FOLDER}/data", f"--exec-root={FOLDER}/run", f"--pidfile={FOLDER}/pid"),
                # No bridge of its own: networks are those of the compose file.
                *(f"--host=unix://{FOLDER}/socket", "--bridge=none", "--log-level=warn"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(
            lambda: running.tried("version").returncode == 0,
            f"the engine does not answer: see {FOLDER}/log",
            START_SECONDS_MAX,
            [daemon],
        )
        yield running
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(STOP_SECONDS_MAX)


def take_over(images: list[str]) -> None:
    """Copies images that podman has and the engine has not."""
    listed = ["podman", "image", "inspect", "--format", "{{.Id}}", *images]
    ids = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    if IDS.exists() and IDS.read_text() == ids:
        return
    IDS.unlink(missing_ok=True)
    with (
        engine() as running,
        subprocess.Popen(
            ["podman", "save", "--quiet", "--multi-image-archive", *images], stdout=subprocess.PIPE
        ) as saved,
    ):
        subprocess.run(["docker", "load", "--quiet"], stdin=saved.stdout, env=running.environment, check=True)
        assert saved.wait() == 0
    IDS.write_text(ids)


if __name__ == "__main__":
    take_over(sys.argv[1:])
