"""The rooms of the house, and which doors between them exist."""

import ast
from functools import cache
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
PRODUCT = set(MAY_IMPORT)
# What measures and attacks the product shares `testkit`; none of it needs the tests, and the product none of it.
CHECKS_MAY_IMPORT = {
    "testkit": PRODUCT,
    "bench": PRODUCT | {"testkit"},
    "faults": PRODUCT | {"testkit"},
    "examples": set(),
    "attacks": PRODUCT | {"testkit", "examples"},
    "mutants": PRODUCT,
    "tests": PRODUCT | {"testkit", "bench", "faults", "attacks", "mutants", "examples"},
}
# Folders of decisions: everything in them is pure, but for the files that are named with them.
PURE = {
    "schemas": {"kafka_probe.py", "registry.py"},
    "ingest/access": {"sites.py"},
    "ingest/decode": set(),
    "ingest/encode": {"edge_keys.py"},
    "processors/door": set(),
    "processors/masking": set(),
}
# Decisions that live beside the I/O that they decide about.
PURE_FILES = [
    "ingest/errors.py",
    "ingest/http/client_address.py",
    "ingest/http/headers.py",
    "ingest/http/request_line.py",
    "ingest/kafka/congestion.py",
    "ingest/limits.py",
    "ingest/overload/fair_queue.py",
    "ingest/process/shutdown_times.py",
    "ingest/spool/packs.py",
    "ingest/web/docs_page.py",
    "ingest/web/openapi.py",
    "ingest/web/segment_openapi.py",
    "sinks/blocks/avro_container.py",
    "sinks/blocks/native.py",
    "sinks/clickhouse/output_formats.py",
    "sinks/clickhouse/statements.py",
    "sinks/http/output_formats.py",
    "sinks/http/plain_words.py",
    "sinks/http/read_only.py",
    "sinks/kafka/block_planner.py",
    "unjoin/audit/balance.py",
    "unjoin/audit/keys.py",
    "unjoin/audit/matching.py",
    "unjoin/export/signal_views.py",
    "unjoin/kafka_rights.py",
    "unjoin/keys/retention.py",
    "unjoin/playground/door_totals.py",
    "unjoin/playground/edge_totals.py",
    "unjoin/simulator/motion.py",
    "unjoin/simulator/people.py",
    "unjoin/simulator/rng.py",
    "unjoin/simulator/sdk_signals.py",
    "unjoin/simulator/tasks.py",
    "unjoin/simulator/traffic.py",
    "unjoin/simulator/visitors.py",
    "unjoin/subjects/kept.py",
    "unjoin/subjects/search/needles.py",
]
IO_MODULES = {
    "aiohttp", "aiokafka", "asyncio", "chdb", "clickhouse_driver", "faust", "http", "logging", "mode", "os", "pathlib",
    "random", "secrets", "selectors", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uvicorn",
}  # fmt: skip
PURE_MODULES = sorted(
    [
        *PURE_FILES,
        *(
            str(file.relative_to(ROOT))
            for folder, but in PURE.items()
            for file in (ROOT / folder).glob("*.py")
            if file.name not in but
        ),
    ]
)
FILES_A_FOLDER_MAX = 14


@cache
def _modules_imported(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = ".".join(file.relative_to(ROOT).parent.parts) + "." if node.level else ""
            names |= {f"{home}{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def imported_by(file: Path) -> set[str]:
    return {name.split(".")[0] for name in _modules_imported(file)}


@pytest.mark.parametrize("room", [*MAY_IMPORT, *CHECKS_MAY_IMPORT])
def test_no_import_runs_up_or_sideways(room: str) -> None:
    """Only Kafka lies between the edge, the door and the sinks; a shortcut would tie their releases together."""
    may, files = {**MAY_IMPORT, **CHECKS_MAY_IMPORT}[room], list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        if "node_modules" in file.parts:
            continue
        other_rooms = imported_by(file) & ({*MAY_IMPORT, *CHECKS_MAY_IMPORT} - {room})
        assert other_rooms <= may, f"{file.relative_to(ROOT)} imports {other_rooms - may}"


@pytest.mark.parametrize("room", CHECKS_MAY_IMPORT)
def test_no_module_of_the_checks_is_started_by_a_name_that_it_may_not_import(room: str) -> None:
    """`python -m tests.some_process` in a string is an import like any other."""
    forbidden = {*MAY_IMPORT, *CHECKS_MAY_IMPORT} - CHECKS_MAY_IMPORT[room] - {room}
    for file in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                started, dot, module = node.value.partition(".")
                names_module = dot and module.replace(".", "").isidentifier()
                assert not (names_module and started in forbidden), f"{file.relative_to(ROOT)} names {node.value}"


@pytest.mark.parametrize("room", CHECKS_MAY_IMPORT)
def test_no_modules_of_the_checks_import_each_other_in_a_circle(room: str) -> None:
    """Not for their types alone either: what needs each other's types is one module, or lacks a third."""
    modules = {
        file.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): file
        for file in (ROOT / room).rglob("*.py")
        if "node_modules" not in file.parts
    }
    left = {
        module: {
            name
            for found in _modules_imported(file)
            for name in (found, found.rpartition(".")[0])
            if name in modules and name != module
        }
        for module, file in modules.items()
    }
    while ready := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in ready:
            left.pop(module)
    assert not left, f"a circle among {sorted(left)}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_folders_import_each_other_in_a_circle(room: str) -> None:
    """A circle is one folder in two drawers: nobody can read either of them alone."""
    inside = {
        file.relative_to(ROOT).parent.as_posix().replace("/", "."): set[str]() for file in (ROOT / room).rglob("*.py")
    }
    for file in (ROOT / room).rglob("*.py"):
        home = file.relative_to(ROOT).parent.as_posix().replace("/", ".")
        for name in _modules_imported(file):
            folders = [folder for folder in inside if folder != room and name.startswith(f"{folder}.")]
            inside[home] |= {folder for folder in folders if folder != home}
    inside.pop(room)  # its own files compose the folders, and what they share is below them
    while ready := [folder for folder, needs in inside.items() if not needs & inside.keys()]:
        for folder in ready:
            inside.pop(folder)
    assert not inside, f"a circle among {sorted(inside)}"


@pytest.mark.parametrize("module", PURE_MODULES)
def test_pure_module_imports_no_io(module: str) -> None:
    """Decisions are tried by the thousand in tests; a clock or a socket in them would make that impossible."""
    names = {name for name in _modules_imported(ROOT / module) if not name.startswith("urllib.parse.")}
    touched = {name.split(".")[0] for name in names} & IO_MODULES
    assert not touched, f"{module} imports {touched}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_folders_stay_small_enough_to_choose_from(room: str) -> None:
    """Somebody new opens the file that its folder's name promises; among fifty there is no such promise."""
    for folder in {file.parent for file in (ROOT / room).rglob("*.py")}:
        files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert len(files) <= FILES_A_FOLDER_MAX, f"{folder.relative_to(ROOT)} holds {len(files)} modules"


def test_nothing_is_called_after_what_it_is_not() -> None:
    """A file name says what is in it; these say only that nobody decided."""
    vague = {"utils", "helpers", "common", "manager", "misc"}
    names = {file.stem for room in MAY_IMPORT for file in (ROOT / room).rglob("*.py")}
    assert not names & vague
