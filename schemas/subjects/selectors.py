"""Pure: whom a request of rights is about, and what is theirs among events and rows.

    a session of a site   signals, analytics     an End-User
    an account            personal               an Integrator or a Customer
    an e-mail address     personal, labelers     a person of an account, or an individual data labeler

Selectors are equal where they mean the same person, so that a set of them answers for a whole batch. Labels are in no
selector's reach: they are tied to nobody, whoever asks.

    UnjoinError
    └── SelectorError    no selector can be made of that; the text says what is needed, never what was given
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.events import Email, Name, Redacted, Session
from schemas.outcomes import UnjoinError
from schemas.subjects.canonical import canonical_sql, canonical_text

SITE_CHARACTERS_MAX = 64


class SelectorError(UnjoinError):
    """No selector can be made of that."""


class SessionSelector(Redacted, frozen=True):
    """One End-User's session: what its page signalled, and what it did on the service's own sites."""

    site: str
    session: str


class AccountSelector(Redacted, frozen=True):
    """One account, at every site: its persons, and how its identity was checked."""

    account: str


class EmailSelector(Redacted, frozen=True):
    """One e-mail address, at every site, as `canonical_email` writes it; made by `email_selector`."""

    email: str


Selector = SessionSelector | AccountSelector | EmailSelector

_EMAIL = canonical_sql("email")
# For each table the expressions that are compared with the selector's fields, in their order.
EXPRESSIONS: Mapping[type[Selector], Mapping[str, tuple[str, ...]]] = {
    SessionSelector: {"signals": ("site", "session"), "analytics": ("site", "session")},
    AccountSelector: {"personal": ("account",)},
    EmailSelector: {"personal": (_EMAIL,), "labelers": (_EMAIL,)},
}


def canonical_email(text: str) -> str:
    """The address as its owner means it: nobody who asks to be gone knows in which case it was typed.

    Its upper and its lower case are the same address, but for the Turkish `ı`, whose capital is everybody's `I`.
    RFC 5321 (2.3.11) lets a host tell `A@example.com` from `a@example.com`; none is known to. Dots and `+tags` stay,
    since what they mean is the host's own rule: another spelling is another selector. So is a host in Punycode
    (`xn--…`), and an address with characters that nobody sees.
    """
    return canonical_text(text)


def email_selector(email: str) -> EmailSelector:
    """The selector of an address, in whatever case it is written."""
    return EmailSelector(canonical_email(email))


def selector_of(
    session: str | None = None, site: str | None = None, account: str | None = None, email: str | None = None
) -> Selector:
    """The one selector that an operator's words mean.

    Raises:
        SelectorError: none, or more than one; a session without its site; a text that no event could carry.
    """
    named = [name for name, text in (("session", session), ("account", account), ("email", email)) if text is not None]
    if len(named) != 1:
        raise SelectorError("name one person: --session S --site X, or --account A, or --email E")
    if (session is None) != (site is None):
        wrong = "--session needs --site, for sites count sessions by themselves" if site is None else "--site goes"
        raise SelectorError(wrong if site is None else f"{wrong} with --session alone; accounts and e-mails have none")
    if session is not None and site is not None:
        if not 1 <= len(site) <= SITE_CHARACTERS_MAX:
            raise SelectorError(f"a site has 1 to {SITE_CHARACTERS_MAX} characters; `unjoin sites list` shows them")
        return SessionSelector(site, _fitting(session, Session, "a session is 1 to 64 of A-Z, a-z, 0-9 and `_.:-`"))
    if account is not None:
        return AccountSelector(_fitting(account, Name, "an account has 1 to 256 characters"))
    assert email is not None
    email = _utf8(email.strip(), "an e-mail address is text in UTF-8")
    return email_selector(_fitting(email, Email, "an e-mail address has one @ and no spaces: name@example.com"))


def tables_of(selector: Selector) -> tuple[str, ...]:
    """The tables that may hold rows of the selector."""
    return tuple(EXPRESSIONS[type(selector)])


def where(selector: Selector, table: str) -> str:
    """The condition that the selector's rows in one of its tables meet, as ClickHouse reads it.

    Values are in hexadecimal: no text of a client's is ever read as SQL, nor refused as a word of it.
    """
    values = [f"unhex('{text.encode().hex()}')" for text in msgspec.structs.astuple(selector)]
    pairs = zip(EXPRESSIONS[type(selector)][table], values, strict=True)
    return " AND ".join(f"{expression} = {value}" for expression, value in pairs)


def selectors_of(category: str, site: str, session: str, event: Mapping[str, Any]) -> tuple[Selector, ...]:
    """Every selector that an event is in reach of.

    Args:
        event: its fields by their name, of which only `account` and `email` are read; a decoded record will do.
        session: empty where the event has none.
    """
    match category:
        case "signals" | "analytics":
            return (SessionSelector(site, session),)
        case "personal":
            account = AccountSelector(event["account"])
            return (account, email_selector(event["email"])) if event.get("email") else (account,)
        case "labelers":
            return (email_selector(event["email"]),)
        case _:
            return ()


def matches(selector: Selector, category: str, site: str, session: str, event: Mapping[str, Any]) -> bool:
    """Whether an event is the selector's; `where` says the same of its row."""
    return selector in selectors_of(category, site, session, event)


def digest(selector: Selector, salt: bytes) -> bytes:
    """What stands for a selector once nobody needs to read it: HMAC-SHA-256, 32 bytes. Source: RFC 2104.

    It lets later events be recognised. It hides an address only from those without the salt: whoever has it can try
    addresses.
    """
    kind, fields = type(selector).__name__, msgspec.structs.astuple(selector)
    framed = [text.encode() for text in (kind, *fields)]
    return hmac.digest(salt, b"".join(b"%d " % len(part) + part for part in framed), hashlib.sha256)


def _fitting(text: str, kind: Any, otherwise: str) -> str:
    try:
        return str(msgspec.convert(_utf8(text, otherwise), kind))
    except msgspec.ValidationError:
        raise SelectorError(otherwise) from None


def _utf8(text: str, otherwise: str) -> str:
    """The text, if it is one: an argument that is not UTF-8 reaches Python as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SelectorError(otherwise) from None
    return text
