"""The time of a stack's roles, set by libfaketime: wall clock only, the monotonic one goes on as it is.

All roles are moved at once, as on a machine of theirs; Kafka keeps the true time, for a Java machine does not start
under libfaketime within a minute. The file that says by how much lies where a confined role may read: in the folder of
the interpreter.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

_LIBRARY = "faketime/libfaketimeMT.so.1"


class FakeClock:
    """One stack's clock."""

    def __init__(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="chaos-clock-", dir=sys.prefix, delete=False) as file:
            self._file = Path(file.name)
        self.offset_seconds = 0
        self.set(0)

    def environment(self) -> dict[str, str]:
        """Environment variables that make a process read this clock."""
        library = library_path()
        assert library is not None
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def set(self, offset_seconds: int) -> None:
        """Processes notice within a second."""
        self.offset_seconds = offset_seconds
        other = self._file.with_suffix(".new")
        other.write_text(f"{offset_seconds:+d}s\n")
        other.replace(self._file)

    def close(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._file.unlink()


def library_path() -> Path | None:
    """Path of the library of Debian's package `faketime`; None where it is not installed."""
    return next((path for root in ("/usr/lib", "/usr/lib64") for path in Path(root).glob(f"**/{_LIBRARY}")), None)
