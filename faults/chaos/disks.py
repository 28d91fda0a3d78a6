"""Small file systems of a stack's own, to be filled up without filling anybody else's. Needs root."""

import os
import subprocess
from pathlib import Path

ROOM_BYTES = 1_073_741_824
PAGE_BYTES = 4_096


class SmallDisk:
    """A tmpfs at a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={ROOM_BYTES},mode=700", "chaos", str(self.folder))

    def fill(self) -> None:
        """Shrinks the file system to what it holds: nothing more can be written."""
        room = os.statvfs(self.folder)
        used = (room.f_blocks - room.f_bfree) * room.f_frsize
        self._resize(max(PAGE_BYTES, used))

    def relieve(self) -> None:
        """There is room again."""
        self._resize(ROOM_BYTES)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)

    def _resize(self, size: int) -> None:
        _mount("-o", f"remount,size={size}", str(self.folder))


def can_mount(folder: Path) -> bool:
    """Whether this process may mount anything; tried below a folder."""
    disk = SmallDisk(folder / "mount-probe")
    try:
        disk.mount()
    except (subprocess.CalledProcessError, OSError):
        return False
    disk.unmount()
    disk.folder.rmdir()
    return True


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
