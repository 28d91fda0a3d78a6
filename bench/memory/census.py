"""What a running Python process holds: its objects by type, both allocators, and the kinds of its pages.

`bench.memory --census` starts the collector with `bench/memory/hook` on its path, which calls `install`; at SIGUSR2 the
process writes a line. Nothing but the standard library is imported, so that the process is the one it is elsewhere; all
files are opened at the start, since a role that confines itself can open none of these later.
"""

import ctypes
import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

FILE = "BENCH_CENSUS"  # the variable that names where the lines go
LARGE_BYTES = 8_192
LARGE_MAX = 40
MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


def install() -> None:
    """Has a copy of the process add a line of JSON to the file at each SIGUSR2, so that nothing of it changes."""
    lines = Path(os.environ[FILE]).open("w")  # noqa: SIM115, for the life of the process
    pages = Path("/proc/self/smaps").open()  # noqa: SIM115

    def write(*_: object) -> None:
        if child := os.fork():
            os.waitpid(child, 0)
            return
        try:
            lines.write(json.dumps(census(pages)) + "\n")
            lines.flush()
        finally:
            os._exit(0)

    signal.signal(signal.SIGUSR2, write)


def census(smaps: TextIO) -> dict[str, Any]:
    """Counts and bytes of this process.

    Returns:
        `pages`: bytes resident, by kind; `malloc`: of glibc (mallinfo2); `blocks`: bytes in Python's own allocator, and
        its arenas; `types`: count and bytes of every type's objects; `large`: the largest ones, with their lengths.
    """
    found: dict[str, Any] = {"pages": pages_of(smaps), "malloc": _mallinfo(), "blocks": _pymalloc()}
    gc.collect()
    found["types"], found["large"] = _objects()
    return found


def pages_of(smaps: TextIO) -> dict[str, int]:
    """Resident bytes: `heap` as `brk` gives it, `anon` as `mmap` does, `file` of code and data, `stack`."""
    sizes: Counter[str] = Counter()
    kind = ""
    smaps.seek(0)
    for line in smaps:
        words = line.split()
        if not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else ""
            kind = {"[heap]": "heap", "[stack]": "stack", "": "anon"}.get(name, "file")
        elif words[0] == "Rss:":
            sizes[kind] += int(words[1]) * 1_024
    return dict(sizes)


def _objects() -> tuple[dict[str, tuple[int, int]], list[tuple[str, int, int]]]:
    """All that the collector of garbage knows, all that modules hold (frozen objects as well), and what is in it."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    large: list[tuple[str, int, int]] = []
    todo: list[Any] = [sys.modules, *gc.get_objects()]
    ours = {id(todo), id(counts), id(sizes), id(large)}
    seen = set(ours)
    ours.add(id(seen))
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        name = f"{type(one).__module__}.{type(one).__qualname__}"
        size = sys.getsizeof(one)
        counts[name] += 1
        sizes[name] += size
        if size >= LARGE_BYTES and id(one) not in ours:
            large.append((name, size, len(one) if hasattr(type(one), "__len__") else 0))
        todo += gc.get_referents(one)
    large.sort(key=lambda found: -found[1])
    return {name: (counts[name], sizes[name]) for name in counts}, large[:LARGE_MAX]


def _mallinfo() -> dict[str, int]:
    """Source: mallinfo(3); of all arenas together."""
    struct = type("Mallinfo2", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in MALLINFO]})
    call = ctypes.CDLL(None).mallinfo2
    call.restype = struct
    told = call()
    return {name: getattr(told, name) for name in MALLINFO}


def _pymalloc() -> dict[str, int]:
    """What Python's allocator says of itself on the standard error stream, which is set aside meanwhile."""
    sys.stderr.flush()
    with os.fdopen(os.memfd_create("said"), "rb") as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            sys._debugmallocstats()
            ctypes.CDLL(None).fflush(None)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        lines = said.read().decode().splitlines()
    found = {}
    for name, words in {"arenas": "# arenas allocated current", "allocated": "# bytes in allocated blocks"}.items():
        (line,) = (line for line in lines if line.startswith(words))
        found[name] = int(line.rpartition("=")[2].replace(",", ""))
    return found
