"""Says when the engine begins to write a part: so that a kill can be aimed inside an insert.

The engine writes a part into a folder `tmp_insert_…` and renames it when it is whole. Source: inotify(7).
"""

import ctypes
import os
import select
import struct
import time
from pathlib import Path

IN_CREATE = 0x100
_EVENT = struct.Struct("iIII")
BEGUN = b"tmp_insert_"


class InsertWatch:
    """Watches one table's folder."""

    def __init__(self, clickhouse_dir: Path, table: str) -> None:
        self.folder = (clickhouse_dir / "data" / "unjoin" / table).resolve()
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init()
        if self._descriptor < 0 or libc.inotify_add_watch(self._descriptor, bytes(self.folder), IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), "cannot watch the engine's folder")

    def __enter__(self) -> "InsertWatch":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def wait(self, seconds_max: float) -> bool:
        """Returns as soon as an insert has begun; False where none did in time."""
        deadline = time.monotonic() + seconds_max
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._descriptor], [], [], left)[0]:
                data, at = os.read(self._descriptor, 65_536), 0
                while at < len(data):
                    *_, length = _EVENT.unpack_from(data, at)
                    name = data[at + _EVENT.size : at + _EVENT.size + length]
                    at += _EVENT.size + length
                    if name.startswith(BEGUN):
                        return True
        return False

    def unfinished(self) -> bool:
        """Whether a part was begun and not renamed: of a killed engine, that it died inside an insert."""
        return any(path.name.startswith(BEGUN.decode()) for path in self.folder.iterdir())
