"""Pure: the parts of a statement's text as `formatQuery` writes it: its literals, its format, its last settings."""

import re

# As ClickHouse's lexer reads them: a backslash takes the next character along, a doubled quote is a quote.
# Source: ClickHouse, src/Parsers/Lexer.cpp. A canonical text escapes line breaks within them.
_QUOTED = re.compile(r"'(?:[^'\\\n]|\\.|'')*'|`(?:[^`\\\n]|\\.|``)*`|\"(?:[^\"\\\n]|\\.|\"\")*\"")
# What a canonical text never has outside of quotes: where it is found, this module has read the text otherwise than the
# engine will.
_STRANGE = re.compile(r"['`\"\\#$‘’“”]|--|/\*|\*/|//")

_TAIL = re.compile(r"(?:\n(?:FORMAT `?\w+`?|SETTINGS [^\n]*))+\Z")
_SETTING = re.compile(r"(\w+) = ('(?:[^'\\\n]|\\.|'')*'|[\w.+-]+)(?:, |\Z)")
_ESCAPED = {"b": "\b", "f": "\f", "r": "\r", "n": "\n", "t": "\t", "0": "\0", "a": "\a", "v": "\v", "e": "\x1b"}


def without_literals(canonical: str) -> str | None:
    """The statement with `''` for each of its string literals; None where it cannot be told what is one."""
    if _STRANGE.search(_QUOTED.sub("", canonical)):
        return None
    return _QUOTED.sub(lambda quoted: "''" if quoted[0][0] == "'" else quoted[0], canonical)


def numbered_literals(canonical: str) -> tuple[str, list[str]]:
    """The statement with `'N'` for its string literal N, and what each of them says."""
    literals: list[str] = []

    def numbered(quoted: re.Match[str]) -> str:
        if quoted[0][0] != "'":
            return quoted[0]
        literals.append(_value(quoted[0]))
        return f"'{len(literals) - 1}'"

    return _QUOTED.sub(numbered, canonical), literals


def output_format_of(canonical: str, default: str) -> str:
    """The format that a statement names in its own text, else the default."""
    # A canonical literal holds no line break, so a line that starts with FORMAT is the clause.
    named = re.findall(r"^FORMAT `?(\w+)`?$", canonical, re.MULTILINE)
    return named[-1] if named else default


def last_settings(canonical: str) -> tuple[str, dict[str, str]]:
    """The statement without its last SETTINGS clauses, and what they set.

    A session with `readonly` runs no statement with such a clause, whatever it sets. The clause of the whole statement
    is the same as settings of the request, so it is judged and set as they are. A clause of a subquery stays where it
    is, and so does one with a value that is neither a number nor a string: the policy refuses both.
    """
    tail = _TAIL.search(canonical)
    if tail is None:
        return canonical, {}
    settings: dict[str, str] = {}
    kept = []
    for line in tail[0].split("\n")[1:]:
        pairs = _pairs(line.removeprefix("SETTINGS ")) if line.startswith("SETTINGS ") else None
        if pairs is None:
            kept.append(line)
        else:
            settings |= pairs
    return "\n".join((canonical[: tail.start()], *kept)), settings


def _pairs(clause: str) -> dict[str, str] | None:
    pairs, at = {}, 0
    while at < len(clause):
        pair = _SETTING.match(clause, at)
        if pair is None or pair[2] == "DEFAULT":
            return None
        pairs[pair[1]] = _value(pair[2])
        at = pair.end()
    return pairs


def _value(literal: str) -> str:
    if literal[0] != "'":
        return {"true": "1", "false": "0"}.get(literal, literal)
    text = literal[1:-1].replace("''", "'")
    return re.sub(r"\\(.)", lambda escape: _ESCAPED.get(escape[1], escape[1]), text)
