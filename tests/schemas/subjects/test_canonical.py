"""The form in which addresses are compared: one in Python and in the engine, for every character that there can be."""

import hashlib
import sys
import unicodedata
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.subjects.canonical import canonical_sql, canonical_text
from schemas.subjects.selectors import digest, email_selector
from sinks.clickhouse.embedded import Embedded

SURROGATES = range(0xD800, 0xE000)
CHUNK = 1 << 14
# A code point `n` as UTF-8, so that a statement need not carry 1,114,112 of them.
BYTE = "char({} + bitAnd(bitShiftRight(n, {}), 63))"
CHARACTER = (
    f"multiIf(n < 128, char(n), n < 2048, concat(char(192 + bitShiftRight(n, 6)), {BYTE.format(128, 0)}), "
    f"n < 65536, concat(char(224 + bitShiftRight(n, 12)), {BYTE.format(128, 6)}, {BYTE.format(128, 0)}), "
    f"concat(char(240 + bitShiftRight(n, 18)), {BYTE.format(128, 12)}, {BYTE.format(128, 6)}, {BYTE.format(128, 0)}))"
)


EVERY = sys.maxunicode + 1
LETTERS = (
    0x40000  # Behind them no character has a case, a form of its own or a mark. Source: The Unicode Standard, 2.8.
)


def characters(end: int = EVERY) -> Iterator[str]:
    return (chr(point) for point in range(end) if point not in SURROGATES)


@pytest.mark.parametrize(
    ("before", "behind", "end"),
    [
        ("", "", EVERY),
        ("I", "\u0307b", LETTERS),  # what composes with a mark that follows, or lets none pass
        ("\u0391\u0345", "\u0301\u0308", LETTERS),
        ("\U000105d2", "\u0323", LETTERS),  # a letter of Unicode 16 that composes there
        ("\u1100", "\u11a8", LETTERS),
    ],
)
def test_engine_and_python_have_one_form_of_every_character(
    embedded: Embedded, before: str, behind: str, end: int
) -> None:
    """A letter that one of them folds, and the other does not know yet, would let a row stay of whoever is gone."""
    edges = [f"unhex('{text.encode().hex()}')" for text in (before, behind)]
    text = f"concat({edges[0]}, {CHARACTER}, {edges[1]})"
    form = canonical_sql("c")
    said = embedded.select(
        f"SELECT intDiv(n, {CHUNK}) AS chunk, lower(hex(SHA256(arrayStringConcat(groupArray(form), '\\0')))) AS hash "
        f"FROM (SELECT n, {form} AS form FROM (SELECT number AS n, {text} AS c FROM numbers({end}) "
        f"WHERE n NOT BETWEEN {SURROGATES.start} AND {SURROGATES.stop - 1}) ORDER BY n) GROUP BY chunk ORDER BY chunk"
    )
    found = {int(row["chunk"]): row["hash"] for row in map(msgspec.json.decode, said.splitlines())}
    forms: dict[int, list[str]] = {}
    for character in characters(end):
        forms.setdefault(ord(character) // CHUNK, []).append(canonical_text(before + character + behind))
    wanted = {chunk: hashlib.sha256("\0".join(some).encode()).hexdigest() for chunk, some in forms.items()}
    differ = [chunk for chunk in wanted if found.get(chunk) != wanted[chunk]]
    assert not differ, [hex(chunk * CHUNK) for chunk in differ]


def test_letter_is_itself_in_any_case() -> None:
    """Also where its upper case is several characters, as that of `ΐ`; `ı` alone has a capital that is another's."""
    differ = {
        one
        for one in characters()
        if unicodedata.category(one) != "Cn"
        and len({canonical_text(form) for form in (one, one.upper(), one.lower(), one.title(), one.swapcase())}) > 1
    }
    # What a later Unicode than 14 knows stays as it is written.
    assert {one for one in differ if unicodedata.ucd_3_2_0.category(one) != "Cn"} == {"ı"}
    assert canonical_text("\u0390") == canonical_text("\u0390".upper()) == canonical_text("\u0390".upper().lower())


def before(text: str) -> str:
    """The form under which requests were made before this one."""
    return unicodedata.normalize("NFC", text.strip(" ")).casefold()


@given(st.text(st.characters(codec="utf-8"), max_size=12))
@example("Ann.O'Neil+Tag@Example.TEST")
@example("Straße İstanbul ŠŽ Ñandú mu\u0308ller ΣΑΣ Дмитрий 한글 がぎ")
def test_form_is_the_one_of_before_wherever_that_was_composed(text: str) -> None:
    """Requests that are kept name their person by a digest of it, and refuse them for weeks."""
    if unicodedata.is_normalized("NFC", before(text)) and "\u0345" not in unicodedata.normalize("NFD", text):
        assert canonical_text(text) == before(text)


def test_digest_of_an_ordinary_address_is_the_one_that_was_stored() -> None:
    stored = "5e14c357a1ac5cf053377df30b8abf1386f95e062f0743eaf26fa42ac27479df"
    assert digest(email_selector(" Ann@Müller.TEST"), b"salt").hex() == stored


@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_form_of_a_form_is_itself(text: str) -> None:
    assert canonical_text(canonical_text(text)) == canonical_text(text)
