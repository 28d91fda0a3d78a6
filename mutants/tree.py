"""A copy of the tree, for a mutant to live in and tests to be run in."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mutants.mutant import Mutant, MutantError, mutated

ROOT = Path(__file__).parents[1]
PACKAGES = ("attacks", "bench", "faults", "ingest", "processors", "schemas", "sinks", "testkit", "tests", "unjoin")
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".kafka", ".unjoin", ".containers", ".peers", ".*_cache", ".hypothesis", "__pycache__",
    "*.egg-info", "node_modules",
)  # fmt: skip
SECONDS_MAX = 240.0
TESTS_FAILED = 1
"""pytest's exit code where tests ran and some failed; anything else but 0 is trouble: https://docs.pytest.org"""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a run of tests.

    Attributes:
        failed: node ids, only the first where the run ended there.
        hung: it had to be ended, which no test suite is green with.
    """

    passed: int
    failed: tuple[str, ...]
    seconds: float
    hung: bool = False

    @property
    def red(self) -> bool:
        """Whether somebody would have noticed."""
        return bool(self.failed) or self.hung


class Tree:
    """A copy of the working tree in a folder of its own.

    The package is installed so that Python finds it in the original: every process that is started here gets the copy
    first on its path, and `check` proves that this is what it imports.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        shutil.copytree(ROOT, self.root, ignore=NOT_COPIED, symlinks=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
        self._environment = {
            **kept,
            "PYTHONPATH": str(self.root),
            # A mutant may be as long as what it replaces, and made in the same second: then Python would take the
            # compiled file for a current one.
            "PYTHONDONTWRITEBYTECODE": "1",
            "UNJOIN_KAFKA_HOME": os.environ.get("UNJOIN_KAFKA_HOME", str(ROOT / ".kafka")),
        }

    def check(self) -> None:
        """Imports every package from here and from elsewhere, and looks where it came from.

        Raises:
            MutantError: not from the copy.
        """
        program = (
            f"import {', '.join(PACKAGES)}\nprint(*({', '.join(f'{name}.__file__' for name in PACKAGES)},), sep='\\n')"
        )
        for folder in (self.root, self.root.parent):
            command = [sys.executable, "-c", program]
            done = subprocess.run(
                command, cwd=folder, env=self._environment, capture_output=True, text=True, check=False
            )
            strangers = [file for file in done.stdout.split() if not Path(file).is_relative_to(self.root)]
            if done.returncode != 0 or strangers:
                raise MutantError(f"the copy is not what is imported: {strangers or done.stderr.strip()[-300:]}")

    @contextmanager
    def with_mutant(self, mutant: Mutant) -> Iterator[None]:
        """The copy with one guard broken, whole again afterwards."""
        texts = mutated(mutant, self.root)
        before = {path: path.read_text() for path in texts}
        try:
            for path, text in texts.items():
                path.write_text(text)
            self._compile(texts)
            yield
        finally:
            for path, text in before.items():
                path.write_text(text)
            self._compile(before)

    def _compile(self, files: Iterable[Path]) -> None:
        """Makes anew what is compiled of C among these files.

        Raises:
            MutantError: it could not be made; what was there before would pass for it.
        """
        made = [file.with_suffix(sysconfig.get_config_var("EXT_SUFFIX")) for file in files if file.suffix == ".c"]
        if not made:
            return
        for module in made:
            module.unlink(missing_ok=True)
        build = [sys.executable, "-c", "import setuptools; setuptools.setup()", "build_ext", "--inplace", "--force"]
        done = subprocess.run(build, cwd=self.root, env=self._environment, capture_output=True, text=True, check=False)
        if missing := [module.name for module in made if not module.exists()]:
            raise MutantError(f"{missing} could not be compiled: {done.stderr.strip()[-600:]}")

    def run(self, tests: Sequence[str], *, to_the_end: bool = False, seconds_max: float = SECONDS_MAX) -> Outcome:
        """Runs tests in the copy, up to the first that fails unless told otherwise.

        Raises:
            MutantError: they could not be run.
        """
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *tests]
        process = subprocess.Popen(
            [*command, *(() if to_the_end else ("-x",))],
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            _end_group(process)
            return Outcome(0, (), round(time.monotonic() - began, 1), hung=True)
        if process.returncode not in (0, TESTS_FAILED):
            raise MutantError(f"pytest ended with {process.returncode}: {said.strip()[-600:]}")
        passed = re.search(r"(\d+) passed", said)
        failed = tuple(re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE))
        if process.returncode == TESTS_FAILED and not failed:
            failed = ("?",)
        return Outcome(int(passed[1]) if passed else 0, failed, round(time.monotonic() - began, 1))


def _end_group(process: "subprocess.Popen[str]") -> None:
    """pytest first, so that its fixtures can end what they started; then whatever is left of its group."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
