"""Adds to an analytics event what its address and User-Agent tell: browser, system, device, network operator.

The sink does this, so that the collector's hot path does not have to.
"""

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import geoip2.database
import geoip2.errors
import maxminddb
import msgspec
from ua_parser import Parser
from ua_parser.loaders import load_builtins
from ua_parser.regex import Resolver

from schemas.outcomes import UnjoinError

log = logging.getLogger(__name__)

# What is parsed and remembered; a real one is shorter. The engine below takes time in proportion to them: the costliest
# text of this length that a search found took it a millisecond.
USER_AGENT_CHARS_MAX = 512
USER_AGENTS_MAX = 4_096

LOOK_SECONDS = 60.0  # between two looks at whether the file was replaced

IspOf = Callable[[str], str]


class AsnDatabaseError(UnjoinError):
    """The file of network operators cannot be used; the text says why."""


class Agent(msgspec.Struct, frozen=True):
    """What a User-Agent says of itself; a field is empty where it says nothing."""

    browser: str = ""
    os: str = ""
    device: str = ""


# Named, and read at once: ua-parser's default would read its rules at the first row, for a seventh of a second, and
# fall back to Python's own expressions where this engine is not installed.
_PARSER = Parser(Resolver(load_builtins()))


@lru_cache(maxsize=USER_AGENTS_MAX)
def agent_of(user_agent: str) -> Agent:
    """The families that ua-parser's rules name, e.g. Chrome, Android, Pixel 7."""
    found = _PARSER.parse(user_agent)
    return Agent(
        browser=found.user_agent.family if found.user_agent else "",
        os=found.os.family if found.os else "",
        device=found.device.family if found.device else "",
    )


# The columns that `enrichment` fills, in its order.
ADDED = ("browser", "os", "device", "isp")


def enrichment(user_agent: str, ip: str, isp_of: IspOf) -> tuple[str, str, str, str]:
    """The values of `ADDED` for a row of `analytics`."""
    agent = agent_of(user_agent[:USER_AGENT_CHARS_MAX])
    return agent.browser, agent.os, agent.device, isp_of(ip)


def no_isp(_address: str) -> str:
    """The look-up without a database: every network operator is unknown."""
    return ""


class AsnDatabase:
    """A MaxMind-format ASN database in memory; read again once its file was replaced.

    In memory, since a mapped file that is cut short in place ends the process with SIGBUS.

    Args:
        clock: seconds, monotonic.

    Raises:
        AsnDatabaseError: the file cannot be read, or is no such database.
    """

    def __init__(self, path: Path, on_error: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._on_error, self._clock = path, on_error, clock
        self._seen = _identity(path)
        self._reader = _open(path)
        self._looked_at = clock()

    def isp_of(self, address: str) -> str:
        """The network operator of an address; "" for an unknown one, and where the database is broken."""
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            self._look()
        try:
            return self._reader.asn(address).autonomous_system_organization or ""
        except (geoip2.errors.AddressNotFoundError, ValueError):
            return ""
        except Exception:  # of a broken file the libraries raise many kinds, and no row waits for its operator
            self._on_error()
            return ""

    def _look(self) -> None:
        """Opens a file that is new, and keeps the old one where that cannot be read."""
        self._looked_at = self._clock()
        try:
            seen = _identity(self._path)
            if seen != self._seen:
                self._reader = _open(self._path)
                self._seen = seen
                log.info("the ASN database was read anew")
        except AsnDatabaseError as error:
            self._on_error()
            log.warning("%s; the one read before stays", error)


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise AsnDatabaseError(f"UNJOIN_ASN_DATABASE cannot be read: {error.strerror}") from None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _open(path: Path) -> geoip2.database.Reader:
    try:
        reader = geoip2.database.Reader(path, mode=maxminddb.MODE_MEMORY)
    except OSError as error:
        raise AsnDatabaseError(f"UNJOIN_ASN_DATABASE cannot be read: {error.strerror}") from None
    except Exception:  # maxminddb raises several kinds, of a file that is cut short others again
        raise AsnDatabaseError("UNJOIN_ASN_DATABASE is no database in MaxMind's format") from None
    try:
        reader.asn("192.0.2.1")
    except geoip2.errors.AddressNotFoundError:
        pass
    except TypeError:
        kind = reader.metadata().database_type
        raise AsnDatabaseError(f"UNJOIN_ASN_DATABASE is a {kind} database; an ASN database is needed") from None
    except Exception:
        raise AsnDatabaseError("UNJOIN_ASN_DATABASE is broken") from None
    return reader


def isps(database: str, on_error: Callable[[], object] = lambda: None) -> IspOf:
    """A look-up of network operators in a MaxMind-format ASN database; without a path all are unknown.

    Args:
        on_error: called where an operator is unknown because the database is broken.

    Raises:
        AsnDatabaseError: the file cannot be read or is no such database.
    """
    return AsnDatabase(Path(database), on_error).isp_of if database else no_isp
