"""Pure: the patterns that answers are searched with, for folded bytes (`folding.py`), all of google-re2.

RE2 is an automaton: it reads each byte a bounded number of times, whatever the input. Every gap is bounded too, so that
one search does not read far past the match it returns, and a search for all matches stays linear.
RE2 has no look-around; callers check what stands before and after a match.
"""

from __future__ import annotations

from typing import Any

import re2


def compile_pattern(pattern: str, *, case_sensitive: bool = True) -> Any:
    """`pattern` for folded bytes: Latin-1, so that a byte is a character."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = case_sensitive
    options.log_errors = False
    return re2.compile(pattern.encode("latin-1"), options)


KINDS = ("card", "email", "iban", "ip", "national_id", "phone", "ssn", "url")

PLACEHOLDER = compile_pattern(r"\[(?:" + "|".join(KINDS) + r")\]")

# One look at an answer: nothing of any kind can be in it without one of these.
TRIGGER = compile_pattern(
    r"@|%40"
    r"|(?:[0-9][^0-9]{0,4}){5}[0-9]"
    r"|[0-9]{1,3}(?:[^0-9]{1,5}[0-9]{1,3}){3}"
    r"|[A-Za-z]{5}[0-9]{4}[A-Za-z]"
    r"|[0-9A-Fa-f]:[0-9A-Fa-f:]{0,5}:|::[0-9A-Fa-f]"
    r"|[\[({<] {0,2}(?:at|arroba) {0,2}[\])}>]|[ _\-](?:at|arroba)[ _\-]",
    case_sensitive=False,
)

_A = r"A-Za-z0-9\xe0"
_LOCAL = rf"(?:[{_A}_][{_A}\xf0._%+'~\-]*|\xf0[\xf00-9._+\-]*)"
_LABEL = rf"(?:[{_A}][{_A}_\-]*|\xf0[\xf00-9\-]*)"
_TLD = r"(?:xn--[A-Za-z0-9\-]+|[A-Za-z\xe0]{2,}|\xf0{2,})"
_PROVIDERS = r"(?:gmail|googlemail|yahoo|hotmail|outlook|icloud|protonmail|proton|gmx|aol|live|msn|yandex|naver|qq|163)"

URL_WITH_USER = compile_pattern(
    r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s/?#<>\"\x00]+@[^\s<>\"\x00/?#]+(?:[/?#][^\s<>\"\x00\xf0]*)?"
)

EMAIL = compile_pattern(
    rf"(?:{_LOCAL}|\"[^\"\n@\x00]{{1,64}}\") {{0,2}}(?:@|%40) {{0,2}}"
    rf"(?:(?:{_LABEL}\.)+{_TLD}(?:@(?:{_LABEL}\.)+{_TLD})*|\[[0-9A-Fa-f:.IPv]{{3,45}}\]|[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}|{_PROVIDERS}\b)"
)

_AT_BRACKETED = r" {0,2}[\[({<] {0,2}(?:at|arroba|@) {0,2}[\])}>] {0,2}"
_AT_WORD = r"(?: {1,3}(?:at|arroba) {1,3}|_at_|-at-)"
_DOT_BRACKETED = r" {0,2}[\[({<] {0,2}(?:dot|punto|ponto|punkt|point|\.) {0,2}[\])}>] {0,2}"
_DOT_WORD = r"(?: {1,3}(?:dot|punto|ponto|punkt|point) {1,3}| {1,2}\. {1,2}|_dot_|-dot-)"
_LABEL_SHORT = rf"(?:[{_A}][{_A}\-]*)"
_LOCAL_WORDS = rf"(?:[{_A}_][{_A}._%+'~\-]*(?:{_DOT_BRACKETED}[{_A}._%+\-]+|{_DOT_WORD}[{_A}._%+\-]+){{0,2}})"

# A disguised address: the whole, then where its domain starts, to be judged by its last label.
EMAIL_DISGUISED = compile_pattern(
    rf"{_LOCAL_WORDS}(?:"
    rf"{_AT_BRACKETED}({_LABEL_SHORT}(?:(?:{_DOT_BRACKETED}|{_DOT_WORD}|\.){_LABEL_SHORT})+)"
    rf"|(?:{_AT_WORD}| {{0,2}}@ {{0,2}})"
    rf"({_LABEL_SHORT}(?:\.{_LABEL_SHORT})*(?:(?:{_DOT_BRACKETED}|{_DOT_WORD}){_LABEL_SHORT})+)"
    rf"|{_AT_WORD}({_LABEL_SHORT}(?:\.{_LABEL_SHORT})+))",
    case_sensitive=False,
)
# An answer with too many candidates is masked word by word: those with a digit, an `@` or two colons, and what is short
# and stands between two of them; then all that may be a disguised address.
_DENSE_WORD = r"[^\s\x00]*(?:[0-9@]|:[^\s\x00:]*:)[^\s\x00]*"
DENSE = compile_pattern(rf"{_DENSE_WORD}(?:\s+(?:[^\s\x00]{{1,3}}\s+)?{_DENSE_WORD})*")
_DISGUISED_ANY = (
    rf"{_LOCAL_WORDS}(?:"
    rf"{_AT_BRACKETED}{_LABEL_SHORT}(?:(?:{_DOT_BRACKETED}|{_DOT_WORD}|\.){_LABEL_SHORT})+"
    rf"|{_AT_WORD}{_LABEL_SHORT}(?:(?:{_DOT_BRACKETED}|{_DOT_WORD}|\.){_LABEL_SHORT})+)"
)
DISGUISED_DENSE = compile_pattern(rf"{_DISGUISED_ANY}(?:\s+{_DISGUISED_ANY})*", case_sensitive=False)
DISGUISED_DOT = compile_pattern(rf"{_DOT_BRACKETED}|{_DOT_WORD}", case_sensitive=False)
MAIL_PROVIDER = compile_pattern(rf"{_PROVIDERS}\.[a-z.]{{2,6}}", case_sensitive=False)

UUID = compile_pattern(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_IP_DOT = r"(?:\.|\[\.\]|\(\.\)|\[dot\])"
IPV4 = compile_pattern(rf"[0-9]{{1,3}}(?:{_IP_DOT}[0-9]{{1,3}}){{3,}}")
IPV4_DOT = compile_pattern(_IP_DOT)
IPV6 = compile_pattern(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
IBAN_START = compile_pattern(r"\b(?:IBAN)?([A-Za-z]{2}[ \-]?[0-9]{2})")

_CLOCK = r"[0-2]?[0-9]:[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]{1,9})?)?(?: ?Z|[+\-][0-9]{2}:?[0-9]{2})?"
DATE = compile_pattern(
    rf"(?:([12][0-9]{{3}})[\-/.]([0-9]{{1,2}})[\-/.]([0-9]{{1,2}})"
    rf"|([0-9]{{1,2}})[\-/.]([0-9]{{1,2}})[\-/.]([12][0-9]{{3}}|[0-9]{{2}}))(?:[T,]? ?{_CLOCK})?"
    rf"|{_CLOCK}"
)
_DEGREES = r"[\-+]?[1-9]?[0-9]?[0-9]\.[0-9]{3,18}"
COORDINATES = compile_pattern(rf"({_DEGREES}) ?[^0-9A-Za-z]? ?[NSns]?(?:, {{0,2}}|; {{0,2}}| {{1,2}}|/)({_DEGREES})")
HEX_WORD = compile_pattern(r"[0-9A-Fa-f]{7,128}")

# A run of digits as people write numbers: up to four characters between two digits, never a dot and then a space.
DIGIT_RUN = compile_pattern(r"(?:[(]?[+] ?[(]?|[(])?[0-9](?:(?:[ \t/()_\-]{0,4}|\)?\.\(?)[0-9])*")
EXTENSION = compile_pattern(
    r"^(?: ?[,/]? ?(?:x|ext\.?|extn\.?|extension|durchwahl|poste|ramal|anexo|int\.)[ .:]{0,2}[0-9]{1,6}| ?#[0-9]{1,5})",
    case_sensitive=False,
)
