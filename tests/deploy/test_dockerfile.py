"""The image's recipe, held to its promises without an engine."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from tests.deploy.compose import ROOT, document, environment
from unjoin.settings import settings_of

TEXT = (ROOT / "Dockerfile").read_text()
STEPS = [
    re.split(r"\s+", line, maxsplit=1)
    for line in re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line.strip()
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = [pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]


def _arguments(instruction: str) -> list[str]:
    return [argument for name, argument in STEPS if name == instruction]


def test_hadolint_finds_nothing() -> None:
    """The linter knows the mistakes that others made."""
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_base_is_one_exact_slim_python_that_the_lock_was_made_for() -> None:
    """A lock holds wheels of one Python version; another one would find none, or compile."""
    bases = {argument.split()[0] for argument in _arguments("FROM")}
    assert len(bases) == 1
    match = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-bookworm", bases.pop())
    assert match is not None
    assert f"with Python {match[1]}\n" in (ROOT / "requirements" / "run.lock").read_text()


def test_last_stage_runs_as_a_user_without_name_in_the_host() -> None:
    """A numeric user other than 0 is what an orchestrator can check; compose names the same."""
    user = _arguments("USER")[-1]
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", user)
    services = document(environment())["services"]
    assert {services[name]["user"] for name in ("collector", "processor", "sink", "topics")} == {user}


def test_last_stage_has_nothing_that_builds_or_installs() -> None:
    """A compiler or pip in a running container serves whoever broke in."""
    last = TEXT[TEXT.rindex("\nFROM ") :]
    assert "apt-get" not in last
    assert "pip uninstall" in last
    assert "pip install" not in last
    assert "build.lock" not in last


def test_image_is_not_made_without_a_compiled_part() -> None:
    """setuptools leaves out what it cannot compile, and nothing but the speed would show it."""
    names = {part["name"] for part in PROJECT["tool"]["setuptools"]["ext-modules"]}
    (imported,) = re.findall(r'/opt/unjoin/bin/python -I -c "import ([^"]+)"', TEXT)
    assert set(imported.split(", ")) == names


def test_packages_come_with_hashes_and_as_wheels() -> None:
    """Nothing is installed that the lock does not name, and nothing runs a setup script."""
    installs = [step for run in _arguments("RUN") for step in run.split("&&") if "pip install" in step]
    assert len(installs) == 3
    for step in installs:
        assert "--require-hashes --only-binary :all:" in step or "--no-deps --no-index" in step


def test_entry_point_is_the_command_itself() -> None:
    """Exec form: signals reach `unjoin`, not a shell that swallows them."""
    assert json.loads(_arguments("ENTRYPOINT")[0]) == ["/opt/unjoin/bin/unjoin"]
    assert json.loads(_arguments("CMD")[0]) == ["--help"]


def test_image_has_the_folders_that_volumes_are_mounted_on() -> None:
    """A new volume takes owner and mode from the image; where it has none, it is root's."""
    (environment_line,) = _arguments("ENV")[-1:]
    data_dir = dict(item.split("=", 1) for item in environment_line.split())["UNJOIN_DATA_DIR"]
    settings = settings_of({"UNJOIN_DATA_DIR": data_dir})
    made = next(run for run in _arguments("RUN") if "install --directory" in run)
    assert "--owner unjoin --group unjoin --mode 700" in made
    folders = set(made.partition("--mode 700")[2].split())
    assert {str(path) for path in (settings.data_dir, settings.edge_keys_dir, settings.epoch_keys_dir)} <= folders
    services = document(environment())["services"]
    targets = {volume.split(":")[1] for role in ("collector", "processor") for volume in services[role]["volumes"]}
    assert targets <= folders


def test_every_package_is_copied_and_nothing_else() -> None:
    """A room that is missing from the image shows only when a role starts; state and keys must never get in."""
    sources = {
        source for argument in _arguments("COPY") if "--from" not in argument for source in argument.split()[:-1]
    }
    files = {"pyproject.toml", "README.md", "LICENSE", "requirements/build.lock", "requirements/run.lock"}
    assert sources == set(ROOMS) | files
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == sources


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    """A schema or migration that is not packaged is missing only where the package is installed: in the image."""
    setuptools = pytest.importorskip("setuptools")
    if Version(setuptools.__version__) < Version("77"):
        pytest.skip("setuptools is older than requirements/build.lock (scripts/setup test)")
    source = tmp_path / "source"
    source.mkdir()
    for name in ROOMS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", *options, str(source)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    have = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()}
    assert packed == {name for name in have if "__pycache__" not in name}
