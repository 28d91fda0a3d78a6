"""The states of earlier versions that are kept here, each made by `tests/upgrade/make_state.py`."""

import json
from pathlib import Path

import msgspec

from testkit.sink_records import FakeRecord

STATES = Path(__file__).parent / "states"


class State(msgspec.Struct, frozen=True):
    """What one version left.

    Attributes:
        records: what lies on Kafka, of every topic.
        commits: the metadata of commits, by who says what.
    """

    folder: Path
    records: list[FakeRecord]
    commits: dict[str, str]

    @classmethod
    def of(cls, version: str) -> "State":
        """The state of a version that is kept."""
        told = json.loads((STATES / version / "kafka.json").read_text())
        records = [
            FakeRecord(
                topic=one["topic"],
                partition=one["partition"],
                value=bytes.fromhex(one["value"]),
                headers=[(name, bytes.fromhex(value)) for name, value in one["headers"]],
            )
            for one in told["records"]
        ]
        return cls(STATES / version, records, told["commits"])


def versions() -> list[str]:
    """Those that are kept."""
    return sorted(folder.name for folder in STATES.iterdir())
