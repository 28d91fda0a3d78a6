"""Text that somebody else wrote, made safe to print.

A terminal obeys control characters: a stored URL with `ESC ] 52 ; c ; …` in it writes the reader's clipboard, others
move the cursor, hide lines or turn the direction of text.
"""

import codecs
import re

# All of Unicode's control characters but tab and line feed, and those that turn the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
NOTE = "note: control characters are shown as escapes, such as \\x1b"


def escaped(text: str) -> str:
    """The text with every control character as an escape of Python's; tabs and line feeds stay."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def json_escaped(text: str) -> str:
    """JSON that means the same, with every control character as an escape of JSON's."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Escaper:
    """Escapes a stream of UTF-8 piece by piece; a byte that is not UTF-8 becomes an escape too.

    Attributes:
        found: whether anything was escaped.
    """

    def __init__(self) -> None:
        self.found = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, piece: bytes, *, last: bool = False) -> bytes:
        """The piece as it can be printed."""
        text = self._decoder.decode(piece, last)
        shown = escaped(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        self.found = self.found or shown != text
        return shown.encode()
