"""Pure: detectors of addresses: URLs with a user part, e-mail, plain and disguised, and IP."""

from __future__ import annotations

import ipaddress

from email_validator import EmailNotValidError, validate_email

from processors.masking import patterns
from processors.masking.search import DIGITS, LETTERS, WORD, Search
from processors.masking.top_level_domains import is_top_level_domain

_ARTICLES = frozenset(("the", "a", "an", "this", "that", "my", "your", "our", "his", "her", "their"))
_IPV4_BYTES_MAX = len("255[dot]255[dot]255[dot]255")
_DOMAIN_CHARACTERS_MAX = 253  # RFC 1035, section 3.1


def urls(search: Search) -> None:
    """URLs with a user part, whole."""
    if b"://" not in search.content:
        return
    for match in search.matches(patterns.URL_WITH_USER, 3):
        start, end = match.span()
        while search.content[end - 1] in b".,;:!?)]}'*|":
            end -= 1
        search.claim(start, end, "url")


def emails(search: Search) -> None:
    """Addresses written as such."""
    if b"@" not in search.content and b"%40" not in search.content:
        return
    for match in search.matches(patterns.EMAIL, 5):
        start, end = match.span()
        domain = bytes(search.content[start:end]).rpartition(b"@")[2].strip(b" ").lower()
        if len(domain) < 9 and domain[:1] in b"1234" and domain[1:3] == b"x.":
            continue  # icon@2x.png
        apart = b" @" in match.group() or b"@ " in match.group() or search.content[start] >= 0x80
        if apart and not is_top_level_domain(domain.rpartition(b".")[2].decode("latin-1")) and domain[-1] < 0x80:
            continue  # a word, a space and the name of an account: `by @some.one`
        search.claim(start, end, "email")


def disguised_emails(search: Search) -> None:
    """Addresses whose `@` or dots are spelled out."""
    for match in search.matches(patterns.EMAIL_DISGUISED, 12):
        start, end = match.span()
        number = next(number for number in (1, 2, 3) if match.group(number) is not None)
        domain = patterns.DISGUISED_DOT.sub(b".", bytes(match.group(number))).decode("latin-1")
        local_bytes = bytes(search.content[start : match.start(number)])
        if _is_address(search, local_bytes.split()[0].decode("latin-1"), domain, plain_dot=number == 3):
            search.claim(start, end, "email")


def _is_address(search: Search, local: str, domain: str, *, plain_dot: bool) -> bool:
    """Is what was written in words an address? With a plain dot it may be `meet at example.com`."""
    if len(domain) > _DOMAIN_CHARACTERS_MAX or domain.partition(".")[0].lower() in _ARTICLES:
        return False
    name = local.partition("[")[0].partition("(")[0].rstrip("-_")
    if not is_top_level_domain(domain.rpartition(".")[2].lower()):
        return False
    if plain_dot and name.isalpha() and not patterns.MAIL_PROVIDER.fullmatch(domain.encode("latin-1")):
        return False
    search.steps.spend(20)
    try:
        validate_email(f"a@{domain.replace(chr(0xE0), 'a')}", check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return domain.lower().endswith((".local", ".test", ".invalid", ".localhost", ".example", ".onion"))
    return True


def ipv6(search: Search) -> None:
    """Addresses of version 6."""
    if search.content.count(b":") < 2:
        return
    for match in search.matches(patterns.IPV6, 4):
        start, end = match.span()
        while end > start and search.content[end - 1] in b".:" and search.content[end - 2 : end] != b"::":
            end -= 1
        if search.content[start] in b".:" and search.content[start : start + 2] != b"::":
            start += 1
        elif search.before(start) in WORD:
            continue
        if end - start <= 45 and search.after(end) not in WORD and _is_ipv6(search, bytes(search.content[start:end])):
            search.claim(start, end, "ip")


def _is_ipv6(search: Search, text: bytes) -> bool:
    """An address of RFC 4291, but not `::` or `a::b`, which are code."""
    search.steps.spend(10)
    if sum(byte not in b":." for byte in text) < 3 and not any(byte in DIGITS for byte in text):
        return False
    try:
        ipaddress.IPv6Address(text.decode("ascii"))
    except ValueError:
        return False
    return True


def ipv4(search: Search) -> None:
    """Four octets, unless a word for a version stands before them."""
    for match in search.matches(patterns.IPV4, 12):
        start, end = match.span()
        if end - start > _IPV4_BYTES_MAX:
            continue
        octets = patterns.IPV4_DOT.split(match.group())
        if len(octets) != 4 or any(int(octet) > 255 for octet in octets):
            continue
        if search.before(start) in b".+" or search.before(start) in DIGITS or search.after(end) in LETTERS:
            continue
        if search.surroundings(start, end).version_before():
            search.clear(start, end)
        else:
            search.claim(start, end, "ip")
