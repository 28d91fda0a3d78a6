"""Node and the SDK's locked packages, as `scripts/setup test` puts them."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk"
SECONDS_MAX = 120.0


class Node:
    """Runs node and npm in the SDK's folder, or elsewhere."""

    def run(self, *command: str, cwd: Path = SDK) -> str:
        """What it printed; an error shows all of it."""
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def tsc(self, *arguments: str, cwd: Path = SDK) -> str:
        """The pinned TypeScript compiler."""
        return self.run("node", str(SDK / "node_modules" / "typescript" / "lib" / "tsc.js"), *arguments, cwd=cwd)


@pytest.fixture(scope="session")
def node() -> Node:
    """Node with the locked packages, or a skip that says what is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs Node 18 or newer with npm: apt-get install nodejs npm, then scripts/setup sdk")
    if not (SDK / "node_modules" / "esbuild").is_dir():
        pytest.skip("needs the SDK's packages: scripts/setup sdk")
    return Node()
