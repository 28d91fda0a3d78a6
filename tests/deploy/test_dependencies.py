"""What the code imports is what pyproject.toml declares: a package that another one brings along can go with it."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = [pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
RUN = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
# An extra, and the one file that asks for it, where it is installed.
NAMES = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["optional-dependencies"]["names"]}
OPTIONAL = {name: {"unjoin/person_names.py"} for name in NAMES} | {"opentelemetry": {"unjoin/host/tracing.py"}}
# Of the standard library, since Python 3.14.
NEWER = {"compression"}
# Found by name alone: uvicorn is told to use them.
NOT_IMPORTED = {"httptools", "uvloop"}


def _imported() -> dict[str, set[str]]:
    """The modules from elsewhere that the rooms import: top-level name -> files."""
    found: dict[str, set[str]] = {}
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in (name.split(".")[0] for name in names):
                if name not in sys.stdlib_module_names | NEWER and name not in ROOMS:
                    found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def test_every_imported_package_is_declared() -> None:
    """It works here because a test tool brought it along, and fails in the image."""
    providers = packages_distributions()
    undeclared = {
        name: files
        for name, files in _imported().items()
        if not RUN & {canonicalize_name(provider) for provider in providers.get(name, ())}
        and files != OPTIONAL.get(canonicalize_name(name))
    }
    assert undeclared == {}


def test_every_declared_package_is_used() -> None:
    """What nobody imports is only weight, and one more thing to keep safe."""
    providers = packages_distributions()
    used = {canonicalize_name(provider) for name in _imported() for provider in providers.get(name, ())}
    assert RUN - used - NOT_IMPORTED == set()
