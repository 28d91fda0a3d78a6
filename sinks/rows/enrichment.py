"""Adds to an analytics event what its address and User-Agent tell: browser, system, device, network operator.

The sink does this, so that the collector's hot path does not have to.
"""

from collections.abc import Callable
from functools import lru_cache

import geoip2.database
import geoip2.errors
import msgspec
from ua_parser import Parser
from ua_parser.loaders import load_builtins
from ua_parser.regex import Resolver

# What is parsed and remembered; a real one is shorter. The engine below takes time in proportion to them: the costliest
# text of this length that a search found took it a millisecond.
USER_AGENT_CHARS_MAX = 512
USER_AGENTS_MAX = 4_096

IspOf = Callable[[str], str]


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


def isps(database: str) -> IspOf:
    """A look-up of network operators in a MaxMind-format ASN database; without a path all are unknown.

    It opens the file here, once, before the process gives up its right to open others.

    Raises:
        OSError, maxminddb.InvalidDatabaseError: the file cannot be read or is no such database.
    """
    if not database:
        return no_isp
    reader = geoip2.database.Reader(database)

    def isp_of(address: str) -> str:
        try:
            return reader.asn(address).autonomous_system_organization or ""
        except (geoip2.errors.AddressNotFoundError, ValueError):
            return ""

    return isp_of
