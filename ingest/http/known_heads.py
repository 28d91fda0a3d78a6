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
        length_at: where those digits were.
        body_at: where the body begins.
    """

    template: bytes
    length_at: int
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
    return Framed(data[:at] + data[stop:end], at, end + 4)


class KnownHead:
    """A head that was read before.

    Attributes:
        says: what was read.
    """

    __slots__ = ("_before", "_behind", "says")

    def __init__(self, message: Framed, says: object) -> None:
        at = message.length_at
        self._before, self._behind = message.template[:at], message.template[at:] + b"\r\n\r\n"
        self.says: Any = says

    def body_at(self, data: bytes) -> int:
        """Where the body begins, if `framed` would find a message with this head; else 0. A third of its cost."""
        if not data.startswith(self._before):
            return 0
        at, behind = len(self._before), self._behind
        stop = data.find(b"\r", at, at + LENGTH_DIGITS_MAX + 1)
        digits = data[at:stop]
        if not (digits.isdigit() and data.startswith(behind, stop)):
            return 0
        body_at = stop + len(behind)
        return body_at if len(data) == body_at + int(digits) else 0


class KnownHeads:
    """What was read of heads, by template; `HEADS_MAX` at most."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}

    def get(self, template: bytes) -> KnownHead | None:
        """What was remembered of a head; None for one that was not read before, or is forgotten."""
        return self._heads.get(template)

    def remember(self, message: Framed, says: object) -> None:
        """Keeps what a message's head says."""
        if len(self._heads) >= HEADS_MAX:
            del self._heads[next(iter(self._heads))]
        self._heads[message.template] = KnownHead(message, says)
