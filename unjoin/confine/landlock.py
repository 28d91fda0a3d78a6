"""What a role's process may open: Landlock, a promise to the kernel that cannot be taken back.

Whoever may send SQL to the embedded engine may make it open files, and whoever finds a hole in a collector becomes the
collector. Every layer above this one can have a hole; after `confine`, other roles' keys cannot be opened at all, by
SQL or by Python.

Source: Linux, Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h.
"""

import ctypes
import errno
import importlib.util
import logging
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.outcomes import UnjoinError

log = logging.getLogger(__name__)

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
# The file accesses that each ABI version of the kernel knows, newest first.
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2
_SCOPES_SINCE_ABI = 6
# All that a rule on a file, rather than on a directory, may grant.
_FILE_ACCESS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

# The files of a Linux system that an interpreter and its libraries read. /etc and /proc are listed file by file, so
# that accounts and other processes stay closed.
SYSTEM_READ = (
    *("/usr", "/lib", "/lib64", "/opt", "/nix/store", "/sys"),
    *("/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/localtime"),
    *("/etc/timezone", "/etc/ld.so.cache", "/etc/ssl", "/etc/ca-certificates", "/etc/pki", "/etc/os-release"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version"),
    *("/proc/mounts", "/proc/diskstats", "/proc/net", "/proc/sys", "/proc/filesystems", "/proc/pressure"),
    *("/dev/urandom", "/dev/random", "/dev/zero"),
)
SYSTEM_WRITE = ("/dev/null",)


class SandboxError(UnjoinError):
    """The process cannot be confined as asked; it must not go on."""


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def python_paths(
    packages: Iterable[str] = ("schemas", "ingest", "processors", "sinks", "unjoin"),
) -> tuple[Path, ...]:
    """What Python may still have to read: the interpreter, its libraries, and our packages, each folder by itself.

    Not the folder that holds our packages: in a checkout, the data directory with its keys lies in there too.
    """
    roots = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)}
    for name in packages:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin:
            roots.add(Path(found.origin).parent)
    return tuple(sorted(roots))


def confine(read_paths: Sequence[Path], write_paths: Sequence[Path], closed: Sequence[Path] = ()) -> bool:
    """Lets this process open nothing but these paths, and what Linux and Python need, from now on; nor run a program.

    Call it before a second thread starts (`import chdb` starts some): a thread that exists already is not confined.

    Args:
        read_paths: files and folders, with all below; those that do not exist are skipped.
        write_paths: folders, which must exist.
        closed: paths that must be out of reach afterwards; it is tried.

    Returns:
        False where the kernel has no Landlock, which is logged: the process is as open as before.

    Raises:
        SandboxError: a path to open leads to one to close, a thread is running already, or the kernel refused.
    """
    opened = (*map(Path, (*SYSTEM_READ, *SYSTEM_WRITE)), *python_paths(), *read_paths, *write_paths)
    _check_apart(opened, closed)
    abi = _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION))
    if abi < 1:
        log.warning("this kernel has no Landlock; so a role could open another's keys; run each as a user of its own")
        return False
    if len(os.listdir("/proc/self/task")) > 1:
        raise SandboxError("threads are running already, and would stay unconfined; confine the process first")

    known = (1 << _FS_BITS[min(abi, max(_FS_BITS))]) - 1
    scopes = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL if abi >= _SCOPES_SINCE_ABI else 0
    attributes = _Ruleset(handled_access_fs=known, handled_access_net=0, scoped=scopes)
    size = ctypes.sizeof(attributes) if scopes else ctypes.sizeof(ctypes.c_uint64)
    ruleset = _checked(_syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        reading = (*map(Path, SYSTEM_READ), *python_paths(), *read_paths)
        for path in reading:
            _allow(ruleset, path, (_READ_FILE | _READ_DIR) & known)
        for path in (*map(Path, SYSTEM_WRITE), *write_paths):
            _allow(ruleset, path, known & ~_EXECUTE)
        libc = ctypes.CDLL(None, use_errno=True)
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)
    for path in closed:
        _check_closed(path)
    return True


def _check_apart(opened: Iterable[Path], closed: Iterable[Path]) -> None:
    for shut in closed:
        target = shut.resolve()
        for path in opened:
            if target.is_relative_to(path.resolve()):
                raise SandboxError(f"{shut} lies within {path}, which this role has to read; move the data directory")


def _check_closed(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.EACCES:
            return
        raise
    raise SandboxError(f"{path} can still be opened; the process is not confined")


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _FILE_ACCESS
        rule = _PathBeneath(allowed_access=access, parent_fd=descriptor)
        _checked(
            _syscall(
                _ADD_RULE,
                ctypes.c_int(ruleset),
                ctypes.c_int(_RULE_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint32(0),
            )
        )
    finally:
        os.close(descriptor)


def _syscall(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *arguments))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise SandboxError(f"Landlock refused: {errno.errorcode.get(code, code)}")
    return result
