"""A ClickHouse server of today, from the engine that the sink embeds: listeners, users and roles, in the foreground.

python -m testkit.modern_clickhouse CONFIG    CONFIG is config.xml, with config.d beside it; SIGTERM ends it

The wheel chdb-core holds clickhouse-local, which can listen as a server does, and calls it in one function that has no
name in the library. It is found by what it does, never by a written-down address:

    the type's name "DB::LocalServer" ─▶ its type information ─▶ its vtable ─▶ the one function that both writes that
    vtable into an object and calls its destructor: it makes a clickhouse-local, runs it and destroys it

What it is: ClickHouse's own parsers, access control, MergeTree, HTTP and native protocol, of the pinned version. What
it is not: the server's program. There is no interserver port, Keeper or replication, and none of the server's own start
and reload; its first query, which lasts until the end, belongs to the user `default`.

Exit codes: 0 after SIGTERM or SIGINT, 1 where it ended by itself, 3 where the library is not as expected.
"""

import ctypes
import functools
import importlib.machinery
import importlib.util
import mmap
import os
import re
import signal
import struct
import sys
import threading
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeVar
from xml.etree import ElementTree

STOP_SECONDS_MAX = 30.0
UNEXPECTED = 3
X86_64 = 62
_TYPE_NAME = b"N2DB11LocalServerE\0"  # as the Itanium C++ ABI writes DB::LocalServer
_NO_INTERSERVER_PORT = (
    b"Parameter 'interserver_http(s)_port' required for replication is not specified in configuration file.\0"
)
_LOAD_PORT = re.compile(b"\x41\x0f\xb7\x86(....)", re.DOTALL)  # movzx eax, word [r14 + …]
_CREDENTIALS_AT = 9  # words behind the port: after the scheme and the lock of the credentials
_NO_CREDENTIALS = (ctypes.c_char * 256)()  # as an object: two empty strings, and an empty list of further ones
_R_RELATIVE = 8  # R_X86_64_RELATIVE: the loader adds where the library lies
_RELOCATION = struct.Struct("<QQq")  # where, type, addend
_LEA = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]", re.DOTALL)  # lea REGISTER, [rip + …]
_CALL = b"\xe8"

Found = TypeVar("Found")


class UnexpectedLibrary(Exception):
    """The library is not built as this module expects; the text says in what."""


class SharedObject:
    """What of an ELF file says where functions, vtables and strings are. Addresses count from where it is loaded."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if self._bytes[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", self._bytes, 18)[0] != X86_64:
            raise UnexpectedLibrary("the library is not of x86-64 Linux")
        (table,) = struct.unpack_from("<Q", self._bytes, 40)
        size, count, names = struct.unpack_from("<HHH", self._bytes, 58)
        headers = [struct.unpack_from("<IIQQQQ", self._bytes, table + size * i) for i in range(count)]
        name_at = headers[names][4]
        self._sections = {self._text_at(name_at + row[0]): row[3:6] for row in headers}  # address, place, bytes

    def build(self) -> str:
        """What tells this build from others."""
        _, place, length = self._sections.get(".note.gnu.build-id", (0, 0, 0))
        return self._bytes[place + 16 : place + length].hex() or f"{len(self._bytes):x}"

    def strings(self, text: bytes) -> list[int]:
        """Addresses of a zero-terminated string among the constants."""
        address, place, length = self._section(".rodata")
        return [address - place + at for at in self._places(text, place, length)]

    def pointers_to(self, target: int) -> list[int]:
        """Addresses at which the loader writes this one."""
        where = self._relocations(struct.pack("<Qq", _R_RELATIVE, target), 8)
        return [address for address, _ in where]

    def pointer_at(self, address: int) -> int:
        """The address that the loader writes there."""
        found = self._relocations(struct.pack("<QQ", address, _R_RELATIVE), 0)
        if len(found) != 1:
            raise UnexpectedLibrary(f"{len(found)} relocations of one place")
        return found[0][1]

    def word_at(self, address: int) -> int:
        """A constant of 8 bytes beside the vtables."""
        first, place, _ = self._section(".data.rel.ro")
        word: int = struct.unpack_from("<q", self._bytes, place + address - first)[0]
        return word

    def functions_that_take(self, targets: set[int]) -> set[tuple[int, int]]:
        """First address and end of every function that makes one of these addresses."""
        address, place, length = self._section(".text")
        found = set()
        for match in _LEA.finditer(memoryview(self._bytes)[place : place + length - 7]):
            (distance,) = struct.unpack_from("<i", self._bytes, place + match.start() + 3)
            if address + match.start() + 7 + distance in targets:
                found.add(self._function_of(address + match.start()))
        return found

    def calls(self, function: tuple[int, int], target: int) -> bool:
        """Whether there is a call of `target` in the function."""
        address, place, _ = self._section(".text")
        first, end = function
        for at in self._places(_CALL, place + first - address, end - first - 4):
            (distance,) = struct.unpack_from("<i", self._bytes, at + 1)
            if address + at - place + 5 + distance == target:
                return True
        return False

    def code(self, function: tuple[int, int]) -> bytes:
        """A function's bytes."""
        address, place, _ = self._section(".text")
        return self._bytes[place + function[0] - address : place + function[1] - address]

    def _function_of(self, address: int) -> tuple[int, int]:
        number = bisect_right(self._function_starts, address)
        return self._function_starts[number - 1], self._function_starts[number]

    @functools.cached_property
    def _function_starts(self) -> list[int]:
        """From the table that exceptions are unwound by, which lists every function in order."""
        address, place, _ = self._section(".eh_frame_hdr")
        version, _, count_as, table_as = struct.unpack_from("<BBBB", self._bytes, place)
        if (version, count_as, table_as) != (1, 0x03, 0x3B):
            raise UnexpectedLibrary("its table of functions has another encoding")
        (count,) = struct.unpack_from("<I", self._bytes, place + 8)
        table = struct.unpack_from(f"<{2 * count}i", self._bytes, place + 12)
        return [address + start for start in table[::2]]

    def _relocations(self, pattern: bytes, offset: int) -> list[tuple[int, int]]:
        """Where and what, of each relocation that holds `pattern` at this offset."""
        _, place, length = self._section(".rela.dyn")
        found = []
        for at in self._places(pattern, place, length):
            if (at - offset - place) % _RELOCATION.size == 0:
                where, _, what = _RELOCATION.unpack_from(self._bytes, at - offset)
                found.append((where, what))
        return found

    def _places(self, pattern: bytes, place: int, length: int) -> Iterator[int]:
        at = self._bytes.find(pattern, place, place + length)
        while at != -1:
            yield at
            at = self._bytes.find(pattern, at + 1, place + length)

    def _section(self, name: str) -> tuple[int, int, int]:
        if name not in self._sections:
            raise UnexpectedLibrary(f"it has no section {name}")
        address, place, length = self._sections[name]
        return address, place, length

    def _text_at(self, place: int) -> str:
        return self._bytes[place : self._bytes.find(b"\0", place)].decode()


def find_entry(library: SharedObject) -> int:
    """The address of the function that runs a clickhouse-local, given argc and argv.

    Raises:
        UnexpectedLibrary: not exactly one function fits.
    """
    # A type's information is a pointer to its kind, then one to its name; a name may be the end of a longer one.
    types = [pointer - 8 for name in library.strings(_TYPE_NAME) for pointer in library.pointers_to(name)]
    information = _only(types, "types are called DB::LocalServer")
    # A vtable is the distance to the object's begin, the type, then the functions, the destructor first.
    tables = [pointer - 8 for pointer in library.pointers_to(information)]
    vtable = _only([table for table in tables if library.word_at(table) == 0], "primary vtables of DB::LocalServer")
    destructor = library.pointer_at(vtable + 16)
    makers = library.functions_that_take({vtable, vtable + 16})
    return _only(
        [first for first, end in makers if first != destructor and library.calls((first, end), destructor)],
        "functions make, run and destroy a DB::LocalServer",
    )


def tell_interserver_address(library: SharedObject, loaded_at: int, host: str, port: int) -> None:
    """Gives the loaded library what a server reads from its file and clickhouse-local does not: how replicas reach it.

    The one function that fails for want of an address is replaced by one that answers. At its first call, before a
    table has begun to replicate, it also writes the scheme and empty credentials, which lie behind host and port.

    Raises:
        UnexpectedLibrary: not exactly one function fits, or it is not as expected.
    """
    wanted = library.functions_that_take(set(library.strings(_NO_INTERSERVER_PORT)))
    first, end = _only(sorted(wanted), "functions want the port of other replicas")
    loads = _LOAD_PORT.findall(library.code((first, end)))
    if not loads:
        raise UnexpectedLibrary("the port of other replicas is read in another way")
    (port_at,) = struct.unpack("<i", loads[0])
    code = b"\x4c\x8b\x06"  # mov r8, [rsi]
    behind = dict(enumerate(_short_string(b"http"), 1)) | {_CREDENTIALS_AT: ctypes.addressof(_NO_CREDENTIALS)}
    for place, word in behind.items():
        # mov rcx, WORD; mov [r8+…], rcx
        code += b"\x48\xb9" + struct.pack("<Q", word) + b"\x49\x89\x88" + struct.pack("<i", port_at + 8 * place)
    for place, word in enumerate(_short_string(host.encode())):
        code += b"\x48\xb9" + struct.pack("<Q", word) + b"\x48\x89\x4f" + bytes([8 * place])  # … mov [rdi+…], rcx
    # mov word [rdi+24], PORT; mov rax, rdi; ret
    code += b"\x66\xc7\x47\x18" + struct.pack("<H", port) + b"\x48\x89\xf8\xc3"
    if len(code) > end - first:
        raise UnexpectedLibrary("the address of other replicas has no room")
    page = (loaded_at + first) // mmap.PAGESIZE * mmap.PAGESIZE
    length = loaded_at + first + len(code) - page
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(page, length, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) != 0:
        raise UnexpectedLibrary("its code cannot be changed")
    ctypes.memmove(loaded_at + first, code, len(code))
    protect(page, length, mmap.PROT_READ | mmap.PROT_EXEC)


def _short_string(text: bytes) -> tuple[int, int, int]:
    """A string of libc++ that holds its text itself: up to 22 bytes, zeros, its length."""
    words: tuple[int, int, int] = struct.unpack("<3Q", text.ljust(23, b"\0") + bytes([len(text)]))
    return words


def _only(found: list[Found], what: str) -> Found:
    if len(found) != 1:
        raise UnexpectedLibrary(f"{len(found)} {what}, not one")
    return found[0]


def entry_of(path: Path) -> int:
    """As `find_entry`, which takes some seconds; remembered for each build."""
    library = SharedObject(path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unjoin" / "clickhouse-local"
    remembered = cache / library.build()
    try:
        return int(remembered.read_text(), 16)
    except (OSError, ValueError):
        pass
    entry = find_entry(library)
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = cache / f"{library.build()}.{os.getpid()}"
    unfinished.write_text(f"{entry:x}")
    unfinished.replace(remembered)
    return entry


def library_path() -> Path:
    """The pinned wheel's library.

    Raises:
        UnexpectedLibrary: it is not installed for this Python.
    """
    found = importlib.util.find_spec("chdb")  # does not import it
    for folder in (found and found.submodule_search_locations) or ():
        if (path := Path(folder) / "_chdb.abi3.so").exists():
            return path.resolve()
    raise UnexpectedLibrary("chdb-core is not installed")


def _load(path: Path) -> int:
    """Loads the library as a module of Python, which opens no engine yet; gives where it lies in memory."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        ctypes.CDLL(str(path), mode=sys.getdlopenflags() | os.RTLD_DEEPBIND)
        loader = importlib.machinery.ExtensionFileLoader("_chdb", str(path))
        spec = importlib.util.spec_from_file_location("_chdb", path, loader=loader)
        assert spec is not None
        sys.modules["_chdb"] = module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    finally:
        os.chdir(here)
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, _, offset, _, _, *name = line.split(maxsplit=5)
        if name == [str(path)] and int(offset, 16) == 0:
            return int(where.split("-")[0], 16)
    raise UnexpectedLibrary("it is loaded and cannot be found in memory")


def serve(config: Path) -> int:
    """Listens as `config` says until SIGTERM or SIGINT; gives the exit code."""
    path = library_path()
    entry = entry_of(path)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    loaded_at = _load(path)
    run = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(loaded_at + entry)
    settings = ElementTree.parse(config).getroot()
    if port := settings.findtext("interserver_http_port"):
        host, data = settings.findtext("interserver_http_host", ""), settings.findtext("path", "")
        from testkit.replica_parts import serve_parts  # noqa: PLC0415  # the stand-in image has this file alone

        tell_interserver_address(SharedObject(path), loaded_at, host, int(port))
        serve_parts(Path(data), host, int(port))
    # A clickhouse-local ends with its last query: this one reads a pipe to which nothing is ever written.
    until, end = os.pipe()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    query = (
        "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; "
        f"SELECT count() FROM file('/dev/fd/{until}', LineAsString, 'line String') "
        "SETTINGS storage_file_read_method = 'read' FORMAT Null"
    )
    # Its own default logs the text of every query, whatever the configuration says.
    arguments = [b"clickhouse-local", b"--log-level=warning", f"--config-file={config}".encode()]
    arguments.append(b"--query=" + query.encode())
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)
    ended = threading.Event()

    def run_until_the_end() -> None:
        run(len(arguments), ctypes.cast(argv, ctypes.c_void_p))
        ended.set()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=run_until_the_end, daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    if ended.is_set():
        return 1
    os.close(end)
    return 0 if ended.wait(STOP_SECONDS_MAX) else 1


def main() -> NoReturn:
    """Runs the server that the command line names."""
    try:
        status = serve(Path(sys.argv[1]).resolve())
    except UnexpectedLibrary as error:
        print(f"chdb-core's library cannot be run as a server: {error}", file=sys.stderr)
        status = UNEXPECTED
    sys.stderr.flush()
    os._exit(status)  # no destructor of the library runs: it is done already


if __name__ == "__main__":
    main()
