"""The attacks as a process of their own: they open an engine's folder, and a process can have one only."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def attack(kafka_home: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs `python -m attacks.linkage` with a pipeline of its own."""
    environment = {**os.environ, "UNJOIN_KAFKA_HOME": str(kafka_home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "attacks.linkage", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
