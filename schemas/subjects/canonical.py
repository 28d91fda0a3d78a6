"""Pure: the form in which an address is compared, computed alike here and by the engine, whatever Unicode each knows.

    trimmed ─▶ NFD ─▶ case folding, full ─▶ NFC          (canonical caseless matching; Unicode 14, 3.13, D145)

Two versions of Unicode agree on text of characters that both know, since these never change, and on no other: a letter
that is younger than one of them is folded by the other alone. So the form takes the characters of Unicode 14 that any
of the steps looks at, `_LIVELY`, and leaves every other one, a later version's too, as it was written.
"""

import re
import unicodedata

# Every character of Unicode 14 that is folded, composed, decomposed or reordered, and some that are not, for fewer
# ranges; none that is unassigned there. `tests/schemas/subjects/test_canonical.py` compares all of Unicode.
_LIVELY = """
3B-377 37B-37F 385-38A 38C 38E-3A1 3A3-52F 531-556 561-587 591-5C7 5D0-5EA 5F2 610-6ED 711-74A 7EB-7F3 7FD-82D
859-85B 898-95F 9A1-9A2 9AF 9BC-9BE 9C7 9CB-9CD 9D7 9DC-9DD 9DF 9FE A16-A1C A2B A32-A33 A36 A38 A3C A4D A59-A5B
A5E ABC ACD B21-B22 B3C-B3E B47-B48 B4B-B4D B56-B57 B5C-B5D B92-B94 BBE BC6-BC7 BCA-BCD BD7 C3C C46-C48 C4D
C55-C56 CBC-CC2 CC6-CC8 CCA-CCD CD5-CD6 D3B-D3E D46-D47 D4A-D4D D57 DCA DCF DD9-DDF E38-E3A E48-E4B EB8-EBA
EC8-ECB F18-F43 F4C-F69 F71-F93 F9C-FB9 FC6 1025-10C5 10C7 10CD 10D0-11C2 135D-135F 13A0-13F5 13F8-13FD
1714-1715 1734 17D2-17DD 18A9 1939-193B 1A17-1A18 1A60-1A7C 1A7F 1AB0-1ACE 1B05-1B44 1B6B-1B73 1BAA-1BF3 1C37
1C80-1C88 1C90-1CBA 1CBD-1CBF 1CD0-1CF9 1D79-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D
1F5F-1F7D 1F80-1FB4 1FB6-1FC4 1FC6-1FD3 1FD6-1FDB 1FDD-1FEF 1FF2-1FF4 1FF6-1FFE 2000-2003 20D0-20F0 2126-2184
2190-232A 24B6-2ADD 2C00-2CF3 2D00-2D25 2D27 2D2D 2D7F 2DE0-2DFF 3008-302F 3046-3094 3099-30FE 349E-9F9C
A640-A6F1 A722-A7CA A7D0-A7D1 A7D6-A7D9 A7F5-A82C A8C4 A8E0-A953 A9B3-A9C0 AAB0-AAC1 AAF6 AB53 AB70-ABED
AC00-D7A3 F900-FA6D FA70-FAD9 FB00-FB06 FB13-FB17 FB1D-FB36 FB38-FB3C FB3E FB40-FB41 FB43-FB44 FB46-FB4E
FE20-FE2F FF21-FF5A 101FD 102E0 10376-1037A 10400-1044F 104B0-104D3 104D8-104FB 10570-1057A 1057C-1058A
1058C-10592 10594-10595 10597-105A1 105A3-105B1 105B3-105B9 105BB-105BC 10A0D-10A0F 10A38-10A3A 10A3F
10AE5-10AE6 10C80-10CB2 10CC0-10CF2 10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85 11046 11070 1107F-110BA
11100-11134 11173 111C0-111CA 11235-11236 112E9-112EA 1133B-1133E 11347 1134B-1134D 11357 11366-1136C
11370-11374 11442-11446 1145E 114B0-114C3 115AF 115B8-115C0 1163F 116B6-116B7 1172B 11839-1183A 118A0-118DF
11930-11935 11938 1193D-11943 119E0 11A34-11A47 11A99 11C3F 11D42-11D45 11D97 16AF0-16AF4 16B30-16B36
16E40-16E7F 16FF0-16FF1 1BC9E 1D157-1D1C0 1D242-1D244 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024
1E026-1E02A 1E130-1E136 1E2AE 1E2EC-1E2EF 1E8D0-1E8D6 1E900-1E94A 20122-2A600 2F800-2FA1D
"""
_RANGES = [(first, last or first) for first, _, last in (word.partition("-") for word in _LIVELY.split())]
_RUNS = re.compile("[" + "".join(f"\\U{int(a, 16):08x}-\\U{int(b, 16):08x}" for a, b in _RANGES) + "]+")
# The same for the engine: (a run of lively characters) or (one other).
_GROUPS = "(?s)([" + "".join(f"\\x{{{a}}}-\\x{{{b}}}" if a != b else f"\\x{{{a}}}" for a, b in _RANGES) + "]+)|(.)"
_FOLDED = "normalizeUTF8NFC(caseFoldUTF8(normalizeUTF8NFD({})))"


def canonical_text(text: str) -> str:
    """The form of a text without lone surrogates."""
    text = text.strip(" ")
    return text.lower() if text.isascii() else _RUNS.sub(_folded, text)


def canonical_sql(column: str) -> str:
    """The form of a column, as an expression; bytes that are no UTF-8 are U+FFFD in it."""
    text = f"toValidUTF8(trimBoth({column}))"
    groups = f"extractAllGroupsVertical({text}, '{_GROUPS.replace(chr(92), chr(92) * 2)}')"
    folded = f"arrayMap(g -> concat({_FOLDED.format('g[1]')}, g[2]), {groups})"
    return f"if(length({text}) = lengthUTF8({text}), lower({text}), arrayStringConcat({folded}))"


def _folded(run: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", run[0]).casefold())
