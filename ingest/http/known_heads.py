"""Heads of requests that were read before.

What the parser, and every check of a head, once said of some lines holds for the next request with these lines as well,
which then needs neither of them. Most lines of a head say nothing to a collector: a proxy's trace, a cookie, what a
browser likes best. They differ from request to request, and a head is known without them.

    POST /v1/events HTTP/1.1 ┐
    Host, Origin, …          ┴▶ the head: says the same each time
    Content-Length           ──▶ where the body ends
    X-Forwarded-For, User-Agent ──▶ read each time
    Transfer-Encoding, Expect, … ──▶ parsed each time
    all others               ──▶ looked at for what may stand in a field, and left out

`_split.c` does so in 0.5 µs for a browser's head behind a proxy, where it was compiled; Python takes 7.
"""

import re
from collections.abc import Callable
from typing import Any, Final

# At the bound what was remembered first is forgotten: 33 MiB with what is read of them, were each as long as may be.
HEADS_MAX: Final = 16_384
# A longer head is parsed each time.
HEAD_BYTES_MAX: Final = 1_024
LENGTH_DIGITS_MAX: Final = 7
HEAD_END: Final = b"\r\n\r\n"
SAYS: Final = frozenset({b"authorization", b"content-type", b"host", b"origin", b"sec-gpc"})
"""What `ingest.request.Head` and the protocol's checks read."""
PARSED: Final = frozenset({b"content-encoding", b"expect", b"proxy-connection", b"transfer-encoding", b"upgrade"})
"""What makes a message another one to the parser, or a body another one to a collector."""

_REQUEST_LINE = re.compile(rb"POST /[!-~]* HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)")  # RFC 9110, 5.5 and 5.6.2
_KEPT = re.compile(rb" (?i:keep-alive)")
_LENGTH = re.compile(rb" ([0-9]{1,%d})" % LENGTH_DIGITS_MAX)
_BARE = re.compile(rb" ([^\t ](?:.*[^\t ])?)")


# One whole request, split: its request line with those of its fields that say something, as they came; where the body
# begins; the values of X-Forwarded-For and User-Agent.
Message = tuple[bytes, int, bytes | None, bytes | None]


def plain_split(data: bytes, head_bytes_max: int) -> Message | None:
    """The message in some bytes; None where they are not exactly one POST of a head that may be known.

    Whatever it splits the parser accepts as one message of HTTP/1.1 with these fields, that keeps its connection.
    Source: RFC 9112, sections 2 to 6.

    Args:
        head_bytes_max: of request line and fields, with the empty line.
    """
    end = data.find(HEAD_END, 0, head_bytes_max)
    line, *fields = data[: max(end, 0)].split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(line):
        return None
    head, once = [line], dict[bytes, bytes]()
    for field in fields:
        match = _FIELD.fullmatch(field)
        if match is None:
            return None
        name, value = match[1].lower(), match[2]
        if name in SAYS:
            head.append(field)
        elif name in PARSED or (name == b"connection" and not _KEPT.fullmatch(value)):
            return None
        elif name in _ONCE:
            found = _ONCE[name].fullmatch(value)
            if found is None or name in once:
                return None
            once[name] = found[1]
    length = once.get(b"content-length")
    if length is None or len(data) != end + len(HEAD_END) + int(length):
        return None
    return b"\r\n".join(head), end + len(HEAD_END), once.get(b"x-forwarded-for"), once.get(b"user-agent")


_ONCE = {b"content-length": _LENGTH, b"x-forwarded-for": _BARE, b"user-agent": _BARE}

fast_split: Callable[[bytes, int], Message | None]
try:
    from ingest.http._split import split as compiled_split
except ImportError:
    fast_split = plain_split
else:
    fast_split = compiled_split


class KnownHeads(dict[bytes, Any]):
    """What was read of heads, `HEADS_MAX` at most."""

    def remember(self, head: bytes, says: object) -> None:
        """Keeps what a head says."""
        if len(head) <= HEAD_BYTES_MAX:
            if len(self) >= HEADS_MAX:
                del self[next(iter(self))]
            self[head] = says
