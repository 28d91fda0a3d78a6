"""Heads of requests that were read before: a client that keeps its connection sends the same bytes again and again.

Only Content-Length differs, so a head is known by all its bytes but those digits. What the parser, and every check of a
head, once said of these bytes holds for the next request as well, which then needs neither of them.
"""

from typing import Any, NamedTuple

# A longer head is parsed each time.
HEAD_BYTES_MAX = 2_048
LENGTH_DIGITS_MAX = 7
# At the bound what was remembered first is forgotten: at most 16 MiB of heads.
HEADS_MAX = 4_096
# Larger messages hardly ever have the length of one before, and to look for it is the least that they cost.
SMALL_BYTES_MAX = 4_096
HEAD_END = b"\r\n\r\n"
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
    end = data.find(HEAD_END, 0, HEAD_BYTES_MAX)
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
    """What was read of heads, `HEADS_MAX` at most; of as many small messages also the whole head, to know it sooner."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Any] = {}
        self._lengths: dict[bytes, tuple[Any, int]] = {}  # by head, and then how long the whole message is

    def find(self, data: bytes) -> tuple[Any, int] | None:
        """What is known of the head of these bytes, and where the body begins.

        None where they are not one whole message, or have a head that was not read before or is forgotten.
        """
        end = data.find(HEAD_END, 0, HEAD_BYTES_MAX)
        known = self._lengths.get(data[:end])
        if known is not None and len(data) == known[1]:
            return known[0], end + 4
        message = framed(data)
        says = None if message is None else self._heads.get(message.template)
        if message is None or says is None:
            return None
        if len(data) <= SMALL_BYTES_MAX:
            _keep(self._lengths, data[:end], (says, len(data)))
        return says, message.body_at

    def remember(self, message: Framed, says: object) -> None:
        """Keeps what a message's head says."""
        _keep(self._heads, message.template, says)


def _keep(heads: dict[bytes, Any], head: bytes, what: object) -> None:
    if len(heads) >= HEADS_MAX:
        del heads[next(iter(heads))]
    heads[head] = what
