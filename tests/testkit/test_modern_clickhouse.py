"""What runs a ClickHouse server of the pinned library."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_stand_in_image_needs_nothing_but_the_file(tmp_path: Path) -> None:
    """testkit/containers/clickhouse copies it by itself, to where no package of ours is."""
    shutil.copy(ROOT / "testkit" / "modern_clickhouse.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import modern_clickhouse"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
