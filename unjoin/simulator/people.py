"""Invented people, the forms they fill in and the devices they hold, for simulated traffic. Pure.

Every address is in a reserved domain (RFC 2606).
"""

import unicodedata
from typing import NamedTuple

from schemas.events import AnyEvent, Contact, IdentityCheck, LabelerApplication
from unjoin.simulator.rng import Rng

GIVEN = (
    "Ada", "Amara", "Björn", "Chiara", "Dmitri", "Elif", "Esther", "Farid", "Fatou", "Grace", "Hana", "Ines", "Ivo",
    "Jamal", "João", "Kaito", "Kerstin", "Lena", "Li", "Mateo", "Mei", "Nadia", "Nils", "Olga", "Oskar", "Priya",
    "Quentin", "Rosa", "Sofía", "Tariq", "Thảo", "Ulla", "Viktor", "Wanjiru", "Yara", "Zoë",
)  # fmt: skip
FAMILY = (
    "Abebe", "Andersson", "Bauer", "Bianchi", "Chen", "Costa", "Demir", "Dubois", "Eriksen", "Fischer", "García",
    "Haddad", "Horvat", "Ito", "Ivanova", "Jensen", "Kamau", "Kowalski", "Lindqvist", "Mbeki", "Mendes", "Moreau",
    "Müller", "Nguyễn", "Novák", "O'Connor", "Okafor", "Patel", "Quispe", "Rossi", "Sato", "Silva", "Suzuki",
    "Tanaka", "van Dijk", "Yılmaz", "Zhang",
)  # fmt: skip
COUNTRIES = ("AT", "BR", "CA", "CH", "DE", "ES", "FI", "FR", "GB", "IN", "IT", "JP", "KE", "NG", "PL", "PT", "TR", "US")
LANGUAGES = ("de", "en", "es", "fi", "fr", "hi", "it", "ja", "pl", "pt", "sw", "tr", "vi", "zh")
ROLES = ("integrator", "billing", "security", "developer", "owner")
ACCOUNTS = ("acme", "brightloom", "cedar-bank", "deltafarm", "eastport", "fernlab", "globo-news", "harborline", "ilex")
PROVIDERS = ("idcheck", "passwise", "veritas")
METHODS = ("passport", "id_card", "video_call", "bank_account")
OUTCOMES = ("passed", "passed", "passed", "passed", "failed", "needs_review")
NOTES = (
    "",
    "Evenings and weekends.",
    "Three years of image annotation.",
    "I translate for a living and like careful work.",
    "Available from next month.",
)
DOMAINS = ("example.com", "example.net", "example.org")

# Letters that decompose into no base letter.
_PLAIN = str.maketrans({"ı": "i", "ø": "o", "ß": "ss", "đ": "d", "ł": "l", " ": "", "'": ""})


class Device(NamedTuple):
    """What somebody browses with.

    Attributes:
        touch: whether it is held and touched, so that it has fingers and sensors rather than a pointer and keys.
    """

    user_agent: str
    width: int
    height: int
    touch: bool


DEVICES = (
    Device(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
        "Safari/537.36",
        1920, 963, False,
    ),
    Device(
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.5 Safari/605.1.15",
        1440, 790, False,
    ),
    Device("Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0", 1366, 654, False),
    Device(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
        "Safari/537.36 Edg/140.0.0.0",
        1536, 730, False,
    ),
    Device(
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile "
        "Safari/537.36",
        412, 785, True,
    ),
    Device(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
        "Mobile/15E148 Safari/604.1",
        390, 664, True,
    ),
)  # fmt: skip


class Person(NamedTuple):
    """Somebody who writes a name and an address into a form."""

    name: str
    email: str
    country: str


def one(rng: Rng, choices: tuple[str, ...]) -> str:
    """One of them, each as likely; `rng.choice` costs eight times as much."""
    return choices[int(rng.random() * len(choices))]


def invent(rng: Rng) -> Person:
    """A plausible person who does not exist."""
    given, family = one(rng, GIVEN), one(rng, FAMILY)
    number = int(rng.random() * 9_000) + 10
    mailbox = f"{_ascii(given)}.{_ascii(family)}{number}"
    return Person(f"{given} {family}", f"{mailbox}@{one(rng, DOMAINS)}", one(rng, COUNTRIES))


def contact(rng: Rng, event_id: str, ts: int) -> AnyEvent:
    """A person of an account writes who they are."""
    name, email, country = invent(rng)
    account, role = one(rng, ACCOUNTS), one(rng, ROLES)
    return Contact(id=event_id, ts=ts, account=account, role=role, name=name, email=email, country=country)


def identity_check(rng: Rng, event_id: str, ts: int) -> AnyEvent:
    """An account's identity was checked."""
    account, provider = one(rng, ACCOUNTS), one(rng, PROVIDERS)
    method, outcome = one(rng, METHODS), one(rng, OUTCOMES)
    return IdentityCheck(id=event_id, ts=ts, account=account, provider=provider, method=method, outcome=outcome)


def labeler_application(rng: Rng, event_id: str, ts: int) -> AnyEvent:
    """Somebody applies to label data."""
    name, email, country = invent(rng)
    languages = sorted({one(rng, LANGUAGES) for _ in range(3)})
    note = one(rng, NOTES)
    return LabelerApplication(
        id=event_id, ts=ts, name=name, email=email, country=country, languages=languages, note=note
    )


def _ascii(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.lower().translate(_PLAIN))
    return "".join(letter for letter in decomposed if letter.isascii() and letter.isalpha())
