"""Archives the classes that Kafka loads: with `classes.jsa` beside its jars a node starts with half of the CPU.

`python -m unjoin.host.class_archive KAFKA_HOME` runs a node until it answers, and lets Java write what it has loaded as
it ends. Java does without an archive that is not of the same jars, in the same place, and of its own version. Source:
https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from schemas.kafka_access import KafkaAccess
from unjoin.host.kafka import (
    ARCHIVE,
    KafkaUnavailable,
    child_environment,
    free_port,
    prepare_node,
    wait_until_reachable,
)

SECONDS_MAX = 120.0


def main() -> int:
    """The command. Without an archive nodes start as well, so whatever goes wrong is said, and is no failure."""
    home = Path(sys.argv[1])
    (home / ARCHIVE).unlink(missing_ok=True)
    try:
        _archive(home)
    except (KafkaUnavailable, subprocess.TimeoutExpired) as error:
        print(f"Kafka's classes are not archived, so it starts more slowly: {error}", file=sys.stderr)
    return 0


def _archive(home: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        java, *arguments = prepare_node(home, Path(folder) / "kafka", port)
        command = [java, f"-XX:ArchiveClassesAtExit={home / ARCHIVE}", *arguments]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, env=child_environment(), stdout=quiet, stderr=quiet) as node:
            try:
                asyncio.run(wait_until_reachable(KafkaAccess(f"127.0.0.1:{port}"), SECONDS_MAX))
                node.terminate()
                node.wait(SECONDS_MAX)
            finally:
                node.kill()


if __name__ == "__main__":
    sys.exit(main())
