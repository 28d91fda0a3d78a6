"""The rooms of the house, and which doors between them exist."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "schemas": set(),
    "ingest": {"schemas"},
    "processors": {"schemas"},
    "sinks": {"schemas"},
    "unjoin": {"schemas", "ingest", "processors", "sinks"},
}
PURE = [
    "schemas/events.py",
    "schemas/outcomes.py",
    "schemas/topics.py",
    "schemas/dead_letters.py",
    "schemas/codec.py",
    "schemas/encoders.py",
    "schemas/lengths.py",
    "ingest/ack_window.py",
    "ingest/admission.py",
    "ingest/docs_page.py",
    "ingest/envelope.py",
    "ingest/fair_queue.py",
    "ingest/headers.py",
    "ingest/judgement.py",
    "ingest/metrics_sum.py",
    "ingest/partitions.py",
    "ingest/door_totals.py",
    "ingest/edge_totals.py",
    "ingest/openapi.py",
    "ingest/rejection.py",
    "ingest/request.py",
    "ingest/records.py",
    "ingest/segment.py",
    "ingest/segment_calls.py",
    "ingest/segment_openapi.py",
    "ingest/spool_packs.py",
    "ingest/voter.py",
    "ingest/client_address.py",
    "processors/deidentify.py",
    "processors/crowd.py",
    "processors/free_text.py",
    "processors/crowd_door.py",
    "processors/records.py",
    "processors/tally.py",
    "processors/door.py",
    "sinks/blocks.py",
    "sinks/container.py",
    "sinks/native_formats.py",
    "sinks/read_only.py",
    "sinks/statements.py",
    "unjoin/audit/balance.py",
    "unjoin/audit/keys.py",
    "unjoin/audit/matching.py",
    "unjoin/key_retention.py",
    "unjoin/simulator/motion.py",
    "unjoin/simulator/people.py",
    "unjoin/simulator/rng.py",
    "unjoin/simulator/tasks.py",
    "unjoin/simulator/traffic.py",
    "unjoin/simulator/visitors.py",
]
IO_MODULES = {
    "aiohttp", "aiokafka", "asyncio", "chdb", "clickhouse_driver", "faust", "http", "logging", "mode", "os", "pathlib",
    "random", "secrets", "selectors", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uvicorn",
}  # fmt: skip

PURE += [f"processors/masking/{file.name}" for file in (ROOT / "processors" / "masking").glob("*.py")]


def imported_by(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_import_runs_up_or_sideways(room: str) -> None:
    """Only Kafka lies between the edge, the door and the sinks; a shortcut would tie their releases together."""
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        other_rooms = imported_by(file) & (set(MAY_IMPORT) - {room})
        assert other_rooms <= MAY_IMPORT[room], f"{file.relative_to(ROOT)} imports {other_rooms - MAY_IMPORT[room]}"


@pytest.mark.parametrize("module", PURE)
def test_pure_module_imports_no_io(module: str) -> None:
    """Decisions are tried by the thousand in tests; a clock or a socket in them would make that impossible."""
    touched = imported_by(ROOT / module) & IO_MODULES
    assert not touched, f"{module} imports {touched}"


def test_nothing_is_called_after_what_it_is_not() -> None:
    """A file name says what is in it; these say only that nobody decided."""
    vague = {"utils", "helpers", "common", "manager", "misc"}
    names = {file.stem for room in MAY_IMPORT for file in (ROOT / room).rglob("*.py")}
    assert not names & vague
