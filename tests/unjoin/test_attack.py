"""`unjoin attack`: from a checkout it runs what lies there, elsewhere it says where that is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("ingest", "processors", "schemas", "sinks", "unjoin")


def attack(home: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command whose packages lie in `home`, as somebody who stands in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(home), "COLUMNS": "200"}
    command = [sys.executable, "-m", "unjoin", "attack", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_attack_is_found_in_a_checkout_from_any_folder(tmp_path: Path) -> None:
    """The attacks are no part of the package; whoever has a checkout need not stand in it."""
    ran = attack(ROOT, tmp_path, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "--recording" in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("before", [(), ("--",)])
def test_exit_code_and_error_of_the_attack_are_the_commands(tmp_path: Path, before: tuple[str, ...]) -> None:
    """A script that asks `unjoin attack` whether labels can be joined must not be told yes by mistake."""
    ran = attack(ROOT, tmp_path, *before, "--recording", "no-such-day")
    assert ran.returncode == 1
    assert "is not a recorded day" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_attack_without_a_checkout_says_where_it_is(tmp_path: Path) -> None:
    """Whoever installed the package alone gets a sentence to act on, no missing module."""
    for package in PRODUCT:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    ran = attack(tmp_path, tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "the attacks are part of a checkout: clone the repository" in ran.stderr
    assert "Traceback" not in ran.stderr
