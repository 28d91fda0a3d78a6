"""A line a check, with the seconds it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Check:
    """One check that is under way; `said` is what came back."""

    def __init__(self) -> None:
        self.said = ""


class Report:
    """Checks in their order. One that fails is told, and the next ones are made all the same."""

    def __init__(self) -> None:
        self._count, self._failures, self._began = 0, 0, time.monotonic()

    @property
    def failed(self) -> bool:
        """Whether any did not hold."""
        return self._failures > 0

    @contextmanager
    def check(self, what: str) -> Iterator[Check]:
        """Holds unless the block raises AssertionError."""
        check, began, word = Check(), time.monotonic(), "ok"
        try:
            yield check
        except AssertionError as error:
            self._failures, word, check.said = self._failures + 1, "FAILED", str(error)
        self._count += 1
        seconds = time.monotonic() - began
        sys.stdout.write(f"| {word:6} | {what} | {check.said} | {seconds:.1f} |\n")
        sys.stdout.flush()

    def print_summary(self) -> None:
        """How many held, and how long all took."""
        held = self._count - self._failures
        sys.stdout.write(f"{held} of {self._count} checks held, in {time.monotonic() - self._began:.0f} s\n")
