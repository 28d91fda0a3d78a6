"""requirements/*.lock: in step with pyproject.toml, complete, and silent about where packages come from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = {
    "build": PYPROJECT["build-system"]["requires"],
    "run": PYPROJECT["project"]["dependencies"],
    "dev": PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["dev"],
    "names": PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["names"],
    "traces": PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["traces"],
    "quix": PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["quix"],
    "bench": PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["bench"],
}
PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ; [^\\]+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+",
    re.M,
)
NAME = r"[A-Za-z0-9._-]+"
# Why a package is there: another package, our own table, or the lock that this one keeps in step with.
REASON = rf"{NAME}|unjoin \(pyproject\.toml(?:::[a-z.-]+)?\)|-c requirements/(?:run|dev)\.lock"


def _text(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.lock").read_text()


def _versions(lock: str) -> dict[str, str]:
    return {canonicalize_name(match["name"]): match["version"] for match in PINNED.finditer(_text(lock))}


@pytest.mark.parametrize("lock", WANTED)
def test_lock_has_each_dependency_within_its_range(lock: str) -> None:
    """A range that was changed without a new lock installs what nobody asked for; `make lock` mends it."""
    versions = _versions(lock)
    for requirement in map(Requirement, WANTED[lock]):
        if requirement.marker is None or requirement.marker.evaluate():
            version = versions.get(canonicalize_name(requirement.name))
            assert version is not None, requirement.name
            assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("lock", WANTED)
def test_lock_is_nothing_but_versions_with_hashes_and_reasons(lock: str) -> None:
    """No address of a registry, no path of a machine, no option, no package without a hash."""
    rest = PINNED.sub("", _text(lock))
    for line in rest.splitlines():
        assert re.fullmatch(rf"|#.*| +# +(?:via)? *(?:{REASON})?", line), line
    assert not re.search(r"://|/(?:home|root|tmp|opt|usr|work)\b|\.(?:org|com|io|dev|net)\b", _text(lock))
    assert "#    scripts/lock\n" in rest


def test_tests_run_on_the_versions_that_the_image_has() -> None:
    """What was tested is what is shipped."""
    assert _versions("run").items() <= _versions("dev").items()
