"""The SDKs that people already have, as their makers publish them; `scripts/setup test` installs them by their lock."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
SECONDS_MAX = 120.0


def package(name: str) -> Path:
    """The folder of an installed package, or a skip that says what is missing."""
    if shutil.which("node") is None:
        pytest.skip("needs Node 18 or newer with npm: apt-get install nodejs npm, then scripts/setup test")
    folder = FOLDER / "node_modules" / name
    if not folder.is_dir():
        pytest.skip("needs the SDKs of tests/segment/package.json: scripts/setup test")
    return folder


def run_calls(sdk: str, host: str, key: str, mark: str, count: int) -> dict[str, Any]:
    """Makes calls with an SDK in a process of its own; what it says of them.

    Returns:
        `calls`, how many it made by type, and `failed`, what the SDK told its callers.
    """
    command = ["node", "calls.mjs", sdk, host, key, mark, str(count)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said
