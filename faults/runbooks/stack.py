"""A stack that runbooks are tried on: it counts the commands, and knows when its books balance."""

import json
import re
import time
from pathlib import Path

from testkit.kafka_node import KafkaNode
from testkit.processes import wait_for
from testkit.running_stack import RunningStack

EVENTS = 3_000
SECONDS_MAX = 120.0


class DrilledStack(RunningStack):
    """`unjoin up` of a drill, on a broker that runs before and after it.

    Attributes:
        node: the broker.
        commands: how many were tried; what makes load is none.
        audits: how many ended with difference 0.
    """

    def __init__(self, kafka_home: Path, data_dir: Path, **settings: str) -> None:
        super().__init__(kafka_home, data_dir, **settings)
        (data_dir / "broker").mkdir(parents=True)
        self.node = KafkaNode(kafka_home, data_dir / "broker")
        self.environment["UNJOIN_KAFKA_BOOTSTRAP"] = self.node.bootstrap
        self.commands = self.audits = 0

    @property
    def bootstrap(self) -> str:
        return self.node.bootstrap

    def ok(self, *arguments: str) -> str:
        """What `unjoin ARGUMENTS` prints, which has to succeed."""
        self.commands += 1
        return self._succeeded(*arguments)

    def load(self) -> None:
        """Some thousand events of every category, acknowledged."""
        self._succeeded("simulate", "--events", str(EVENTS), "--seed", str(time.monotonic_ns() % 1_000_000))

    def audited(self, *options: str) -> None:
        """Difference 0, once what is on its way has arrived and the door has told its totals."""
        end = time.monotonic() + 2 * SECONDS_MAX
        while (done := self.command("audit", "--format", "json", *options)).returncode or _on_the_way(done.stdout):
            assert time.monotonic() < end, done.stdout + done.stderr
            time.sleep(1)
        self.commands, self.audits = self.commands + 1, self.audits + 1

    def stored(self) -> int:
        """Rows of events and of released labels."""
        return sum(self.count(f"SELECT count() FROM {table} FINAL") for table in ("signals", "analytics", "labels"))

    def wait_until_said(self, text: str) -> None:
        """Returns once `unjoin up` has said this."""
        wait_for(lambda: text in self.said, f"`unjoin up` does not say {text!r}", SECONDS_MAX)

    @property
    def tally(self) -> str:
        """What was tried."""
        return f"{self.commands} commands, {self.audits} audits with difference 0"

    @property
    def said(self) -> str:
        """All that `unjoin up` has said since its last start."""
        return (self.data_dir / "up.log").read_text()

    @property
    def ended(self) -> set[str]:
        """Parts that have ended by themselves since then."""
        return set(re.findall(r"^(\w+) (?:halted|died)", self.said, re.M))

    def _succeeded(self, *arguments: str) -> str:
        done = self.command(*arguments)
        assert done.returncode == 0, f"`unjoin {' '.join(arguments)}`: {done.stderr[-500:]}{done.stdout[-500:]}"
        return done.stdout


def _on_the_way(audit: str) -> int:
    return sum(line["held"] for line in json.loads(audit)["lines"] if line["name"] != "labeled")
