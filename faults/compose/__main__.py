"""Starts docker-compose.yml and asks of it what its documentation promises: a line a check, with the seconds it took.

    make compose-test    or, as root: scripts/stand_in_images && .venv/bin/python -m faults.compose

docs/compose.md says what the images are that it runs, and what they cannot show.
"""

import sys
import tempfile
from pathlib import Path

from faults.compose import access, confinement, networks, outside_broker, restarts, starting, stopping, upgrade
from faults.compose.report import Report
from faults.compose.traffic import Traffic
from testkit.compose_stack import ComposeStack
from testkit.docker_engine import engine, missing


def main() -> int:
    if reason := missing():
        sys.stderr.write(f"{reason}\n")
        return 2
    report = Report()
    with engine() as running, tempfile.TemporaryDirectory(prefix="unjoin-compose-") as folder:
        # A crowd of one, so that a label leaves the door at once.
        stack = ComposeStack(running, Path(folder), UNJOIN_CROWD_MIN="1", UNJOIN_CROWD_TARGET="1")
        stack.down()
        try:
            starting.run(stack, report)
            traffic = Traffic(stack)
            starting.rows(traffic, report)
            access.run(stack, report)
            confinement.run(stack, report)
            networks.run(stack, report)
            restarts.run(stack, traffic, report)
            stopping.logs(stack, traffic, report)
            upgrade.run(stack, traffic, report)
            stopping.run(stack, traffic, report)
            outside_broker.run(stack, report)
        finally:
            (Path(tempfile.gettempdir()) / "unjoin-compose.log").write_text(stack.logs())
            stack.down()
    report.print_summary()
    return int(report.failed)


if __name__ == "__main__":
    sys.exit(main())
