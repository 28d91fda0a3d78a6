"""Pure: what canaries look like, and how many of them some bytes hold, whatever they are wrapped in."""

import base64
import io
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from random import Random

from unjoin.subjects.search.compressed import NotReadable, blocks

_TAG = rb"-([a-z]+)-"
_SEPARATOR = b"\n"


class Canaries:
    """Strings that occur nowhere else; all begin alike, so that one search finds every one of them.

    Attributes:
        prefix: what each text canary begins with; fits every field of the contract.
        network: what each address canary begins with, as text.
    """

    def __init__(self, rng: Random) -> None:
        self.prefix = f"cnry{rng.getrandbits(48):012x}"
        # Every group has four digits, so that the text of an address begins with that of its network.
        groups = [0xFD00 | rng.getrandbits(8), *(rng.randrange(0x1000, 0x10000) for _ in range(3))]
        self.network = ":".join(f"{group:x}" for group in groups)
        self._network_bytes = struct.pack(">4H", *groups)
        self._number = 0

    def text(self, tag: str) -> str:
        """A new one.

        Args:
            tag: lower-case letters: which field it is put into.
        """
        self._number += 1
        return f"{self.prefix}-{tag}-{self._number}"

    def address(self) -> str:
        """A new one that is an address, in the form that the standard library gives it."""
        self._number += 1
        return str(IPv6Address(self._network_bytes + self._number.to_bytes(8, "big")))

    def found_in(self, chunks: Iterable[bytes]) -> Counter[str]:
        """Canaries by tag; `address` for addresses, and the name of the disguise for what is not plain text."""
        found: Counter[str] = Counter()
        for chunk in chunks:
            found.update(self._found(chunk))
        return found

    def _found(self, data: bytes) -> Counter[str]:
        prefix = self.prefix.encode()
        found: Counter[str] = Counter()
        lower = data.lower()
        if prefix in lower:
            plain = lower.count(prefix)
            tagged = Counter(tag.decode() for tag in re.findall(re.escape(prefix) + _TAG, lower))
            found.update(tagged)
            found["cut"] += plain - tagged.total()
        if self.network.encode() in lower:
            found["address"] += lower.count(self.network.encode())
        for disguise, needle in self._disguised.items():
            if needle in data:
                found[disguise] += data.count(needle)
        if prefix.hex().encode() in lower:
            found["as hexadecimal"] += lower.count(prefix.hex().encode())
        return +found

    @property
    def _disguised(self) -> dict[str, bytes]:
        prefix = self.prefix.encode()
        disguised = {"address in binary": self._network_bytes, "as UTF-16": self.prefix.encode("utf-16-le")}
        for shift in range(3):  # base64 of what stands 0, 1 or 2 bytes into a group of three
            whole = base64.b64encode(b"\0" * shift + prefix)
            disguised[f"as base64, shifted by {shift}"] = whole[(0, 2, 3)[shift] : len(prefix) // 3 * 4]
        return disguised


def gathered(pieces: Iterable[bytes | None], bytes_max: int = 1 << 24) -> Iterator[bytes]:
    """Many small pieces as few large ones; no needle can arise across a seam."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        if piece:
            held.append(piece)
            size += len(piece)
        if size >= bytes_max:
            yield _SEPARATOR.join(held)
            held, size = [], 0
    if held:
        yield _SEPARATOR.join(held)


def inflated(data: bytes) -> bytes | None:
    """A file of ClickHouse's compressed blocks without its compression; None where it is no such file."""
    try:
        return b"".join(blocks(io.BytesIO(data)))
    except NotReadable:
        return None
