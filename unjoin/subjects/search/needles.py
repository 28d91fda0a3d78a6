"""Pure: the forms in which a text may lie somewhere, and how often some bytes hold each of them."""

import base64
import json
from collections import Counter
from collections.abc import Mapping
from urllib.parse import quote

BASE64_BYTES_MIN = 8
"""Of a shorter text too few digits depend on nothing but it."""


class Needles:
    """Texts to be found, each under a name that may be shown.

    Args:
        texts: name -> text, which is looked for in any case of its letters.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._any_case: dict[tuple[str, str], bytes] = {}
        self._as_is: dict[tuple[str, str], bytes] = {}
        for name, text in texts.items():
            if text:
                self._add(name, text)
        self.texts = {name: text for name, text in texts.items() if text}
        self.bytes_max = max(map(len, [*self._any_case.values(), *self._as_is.values()]), default=1)

    def _add(self, name: str, text: str) -> None:
        plain = text.encode()
        self._any_case[name, "as it is"] = plain.lower()
        self._any_case[name, "as hexadecimal"] = plain.hex().encode()
        self._any_case[name, "as UTF-16"] = text.encode("utf-16-le").lower()
        for form, other in (
            ("in capitals", text.upper()),
            ("as JSON escapes", json.dumps(text)[1:-1]),
            ("percent-encoded", quote(text, safe="")),
        ):
            if other.encode().lower() != plain.lower():
                self._any_case[name, form] = other.encode().lower()
        if len(plain) >= BASE64_BYTES_MIN:
            for shift in range(3):  # what stands 0, 1 or 2 bytes into a group of three
                digits = base64.b64encode(b"\0" * shift + plain)
                core = digits[(0, 2, 3)[shift] : (shift + len(plain)) // 3 * 4]
                self._as_is[name, f"as base64, shifted by {shift}"] = core

    def count(self, data: bytes, found: Counter[tuple[str, str]]) -> None:
        """Adds how often each form occurs."""
        lower = data.lower()
        for kind, place in ((self._any_case, lower), (self._as_is, data)):
            for key, needle in kind.items():
                if needle in place:
                    found[key] += place.count(needle)


class Search:
    """Counts needles in a stream of bytes, across the seams of its pieces.

    Attributes:
        found: (name, form) -> how often.
        searched_bytes: how many went by.
    """

    def __init__(self, needles: Needles) -> None:
        self.found: Counter[tuple[str, str]] = Counter()
        self.searched_bytes = 0
        self._needles = needles
        self._tail = b""

    def feed(self, piece: bytes) -> None:
        """The next piece of what was fed before."""
        self.searched_bytes += len(piece)
        data = self._tail + piece
        self._needles.count(data, self.found)
        before: Counter[tuple[str, str]] = Counter()
        self._tail = data[len(data) - min(len(data), self._needles.bytes_max - 1) :]
        self._needles.count(self._tail, before)  # what lies wholly in the tail would be counted again
        self.found.subtract(before)

    def end(self) -> None:
        """What comes next does not follow what was fed."""
        self._needles.count(self._tail, self.found)
        self._tail = b""
