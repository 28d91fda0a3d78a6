"""Heads of requests that were read before: a client that keeps its connection sends the same bytes again and again.

Only Content-Length differs, so a head is known by all its bytes but those digits. What the parser, and every check of a
head, once said of these bytes holds for the next request as well, which then needs neither of them.
"""

from typing import Any, NamedTuple

# A longer head is parsed each time.
HEAD_BYTES_MAX = 2_048
LENGTH_DIGITS_MAX = 7
# At the bound what was remembered first is forgotten: at most 8 MiB of heads.
HEADS_MAX = 4_096
_LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")


class Framed(NamedTuple):
    """One whole message, split.

    Attributes:
        template: the head without the digits of its Content-Length.
        body_at: where the body begins.
    """

    template: bytes
    body_at: int


def framed(data: bytes) -> Framed | None:
    """Splits bytes that are one request, with a Content-Length and nothing behind its body; None for others.

    Two heads of one template differ in the digits alone, since the first Content-Length of a template is where they
    were. Source: RFC 9112, section 6.3.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if end < 0:
        return None
    at = data.find(_LENGTHS[0], 0, end)
    if at < 0:
        at = data.find(_LENGTHS[1], 0, end)
        if at < 0:
            return None
    at += len(_LENGTHS[0])
    stop = data.find(b"\r", at, end + 1)
    digits = data[at:stop]
    if not digits.isdigit() or len(digits) > LENGTH_DIGITS_MAX or len(data) != end + 4 + int(digits):
        return None
    return Framed(data[:at] + data[stop:end], end + 4)


class KnownHeads:
    """What was read of heads, by template; `HEADS_MAX` at most."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Any] = {}

    def get(self, template: bytes) -> Any | None:
        """What was remembered of a head; None for one that was not read before, or is forgotten."""
        return self._heads.get(template)

    def remember(self, template: bytes, head: object) -> None:
        """Keeps what a head says."""
        if len(self._heads) >= HEADS_MAX:
            del self._heads[next(iter(self._heads))]
        self._heads[template] = head
