"""scripts/: what a fresh machine runs first."""

import os
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPILED = sorted(source for module in PROJECT["tool"]["setuptools"]["ext-modules"] for source in module["sources"])
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.read_bytes().startswith(b"#!/usr/bin/env bash"))


def _setup(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", str(root / "scripts" / "setup"), *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What setup reads, beside a folder `bin` that is the only one on the path."""
    for name in ("scripts", "requirements", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", *COMPILED, "unjoin/host/class_archive.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cat", "cut", "dirname", "id", "sha256sum", "sed", "head"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    return tmp_path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    """Unquoted, unset and unchecked are the ways in which shell scripts fail late."""
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program is not None, "shellcheck is in the dev extra"
    done = subprocess.run([program, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_setup_without_python_says_in_one_sentence_what_to_install(checkout: Path) -> None:
    """The first thing that a user of a bare machine meets."""
    done = _setup(checkout, "run", PATH=str(checkout / "bin"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Python 3.11 or newer is missing" in line


def test_setup_takes_the_python_that_is_built_for_speed(checkout: Path) -> None:
    """pyenv's comes first on a developer's path, and the same work costs it up to 1.4 times the CPU."""
    for folder, answer in (("pyenv", 1), ("distribution", 0)):
        program = checkout / folder / "python3.11"
        program.parent.mkdir()
        program.write_text(
            "#!/bin/bash\n"
            f'case "$*" in *ensurepip*) exit {answer} ;; --version) echo "{folder}" ;; *venv*) exit 1 ;; esac\n'
        )
        program.chmod(0o755)
    path = os.pathsep.join(str(checkout / name) for name in ("pyenv", "distribution", "bin"))
    assert "making .venv with distribution\n" in _setup(checkout, "run", PATH=path).stdout
    alone = os.pathsep.join(str(checkout / name) for name in ("pyenv", "bin"))
    assert "making .venv with pyenv\n" in _setup(checkout, "run", PATH=alone).stdout
    assert (
        "making .venv with pyenv\n" in _setup(checkout, "run", PATH=path, PYTHON=f"{checkout}/pyenv/python3.11").stdout
    )


@pytest.mark.parametrize(
    ("java", "sentence"),
    [
        (None, "Kafka needs Java 17 or newer; install it"),
        ('echo "openjdk version \\"11.0.2\\"" >&2', "Kafka needs Java 17 or newer; install it"),
        ('echo "openjdk version \\"21\\" 2023-09-19" >&2', "Kafka's jars come by Maven; install it"),
    ],
)
def test_setup_without_java_or_maven_says_what_to_install_or_where_to_point(
    checkout: Path, java: str | None, sentence: str
) -> None:
    """Kafka can be elsewhere: whoever has a broker needs neither."""
    _pretend_installed(checkout)
    if java is not None:
        program = checkout / "bin" / "java"
        program.write_text(f"#!/bin/bash\n{java}\n")
        program.chmod(0o755)
    done = _setup(checkout, "run", PATH=str(checkout / "bin"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert sentence in line
    assert "UNJOIN_KAFKA_BOOTSTRAP" in line
    elsewhere = _setup(checkout, "run", PATH=str(checkout / "bin"), UNJOIN_KAFKA_BOOTSTRAP="broker:9092")
    assert elsewhere.returncode == 0, elsewhere.stderr


def test_setup_wants_to_know_what_for() -> None:
    """Without an argument it does nothing, and says so."""
    done = _setup(ROOT)
    assert done.returncode == 1
    assert "scripts/setup run, test, bench or sdk" in done.stderr


def test_jars_are_pinned_by_hash() -> None:
    """Maven pins the versions of two artifacts; the sums pin all that come with them."""
    names = [line.split()[1] for line in (ROOT / "deploy" / "kafka" / "jars.sha256").read_text().splitlines()]
    pom = ET.parse(ROOT / "deploy" / "kafka" / "pom.xml")
    for dependency in pom.iterfind(".//{*}dependency"):
        assert f"{dependency.findtext('{*}artifactId')}-{dependency.findtext('{*}version')}.jar" in names
    assert names == sorted(names)


def _pretend_installed(checkout: Path) -> None:
    """A virtual environment with the stamp of a finished installation."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    files = ["pyproject.toml", *COMPILED, "requirements/build.lock", "requirements/run.lock"]
    content = b"".join((checkout / name).read_bytes() for name in files)
    digest = subprocess.run(["sha256sum"], input=content, capture_output=True, check=True).stdout.split()[0].decode()
    (checkout / ".venv" / "setup.stamp").write_text(f"run {digest}")
