"""Pure: requests of people to be gone, as records of `subjects.erasures`, each by its id, and whom they are about.

    accepted ──▶ rows_deleted ──▶ parts_clean ──▶ topics_past ──▶ done ──▶ forgotten
        ▲             │                │               │            │
        └─────────────┴────────────────┴───────────────┴────────────┘   rows came back: a late event, a restored backup

A request names its person by a digest under a random salt (`selectors.py`), from the first record on: nothing that is
kept of it, no statement that is made of it and no log says who it is about. That is no secret from who holds the salt,
and has an address or a session to try: they can compare it. Of a request that is forgotten the digest is gone as well.
The topic is compacted, so that the newest record of each request stays.

    UnjoinError
    └── ErasureError   a record that is no request
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.outcomes import UnjoinError
from schemas.subjects.selectors import AccountSelector, EmailSelector, Selector, SessionSelector, digest

DAY_MS = 86_400_000
SALT_BYTES = 32
Kind = Literal["session", "account", "email"]
KIND_OF: dict[type[Selector], Kind] = {SessionSelector: "session", AccountSelector: "account", EmailSelector: "email"}
SELECTOR_OF: dict[Kind, type[Selector]] = {kind: selector for selector, kind in KIND_OF.items()}

Hex = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
Id = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
Reference = Annotated[str, Meta(max_length=128, pattern=r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z")]


class ErasureError(UnjoinError):
    """A record of the topic says nothing."""


class State(StrEnum):
    """How far a request is."""

    ACCEPTED = "accepted"
    ROWS_DELETED = "rows_deleted"
    PARTS_CLEAN = "parts_clean"
    TOPICS_PAST = "topics_past"
    DONE = "done"
    FORGOTTEN = "forgotten"


MEANS = {
    State.ACCEPTED: "rows are being deleted",
    State.ROWS_DELETED: "no row is left; parts that are no longer in use still lie on the disk",
    State.PARTS_CLEAN: "nothing is left in ClickHouse; topics hold records until their retention",
    State.TOPICS_PAST: "topics have dropped the records; brokers delete the files of whole segments within a minute",
    State.DONE: "nothing is left, except where somebody deleted records of a topic by hand: their bytes may lie in its "
    "newest files until Kafka deletes these; events that come are refused, and deleted where they slip through",
    State.FORGOTTEN: "nothing is left, and nothing says any more whom it was about",
}


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """One request at one moment. On the topic it is JSON, under its id.

    Attributes:
        reference: the operator's own word for it: a ticket, never a name.
        digest: 64 hexadecimal digits; empty once forgotten.
        salt: 64 hexadecimal digits; empty once forgotten.
        at_ms: Unix milliseconds at which each state was last reached.
        deleted: rows that are gone, by table.
        found: rows that were there when they were last looked for, by table; being deleted.
        ends: by "topic-partition", the offset that its log has to begin at or behind.
        put_back_until_ms: the newest time until which records of before may be written once more that this has
            waited for, Unix milliseconds; 0 for none (`schemas/subjects/put_back.py`).
        waits_for: what holds it up, as a sentence without data; empty where it only takes its time.
    """

    id: Id
    reference: Reference
    kind: Kind
    salt: Hex
    digest: Hex
    asked_at_ms: int
    state: State = State.ACCEPTED
    at_ms: dict[str, int] = {}
    deleted: dict[str, int] = {}
    found: dict[str, int] = {}
    ends: dict[str, int] = {}
    put_back_until_ms: int = 0
    waits_for: str = ""

    def key(self) -> bytes:
        """The record's key."""
        return self.id.encode()

    def encoded(self) -> bytes:
        """The record's value."""
        return msgspec.json.encode(self)

    @property
    def tables(self) -> tuple[str, ...]:
        """Those that may hold rows of the person."""
        return TABLES[self.kind]

    @property
    def is_open(self) -> bool:
        """Whether something may still lie somewhere."""
        return self.state not in (State.DONE, State.FORGOTTEN)

    def reached(self, state: State, now_ms: int, **changes: object) -> "Erasure":
        """The request in another state."""
        return msgspec.structs.replace(
            self, state=state, at_ms={**self.at_ms, str(state): now_ms}, waits_for="", **changes
        )

    def counted(self, rows: Mapping[str, int]) -> "Erasure":
        """The request after its rows were looked for; what was found before and is no longer there was deleted.

        It can be called again after a crash at any moment, and counts no row twice. Rows that came after the last look
        and were deleted with the others are not counted.
        """
        gone = {table: max(0, count - rows.get(table, 0)) for table, count in self.found.items()}
        deleted = {
            table: self.deleted.get(table, 0) + gone.get(table, 0) for table in self.tables if gone | self.deleted
        }
        return msgspec.structs.replace(self, deleted=deleted, found={table: n for table, n in rows.items() if n})


TABLES: dict[Kind, tuple[str, ...]] = {
    "session": ("signals", "analytics"),
    "account": ("personal",),
    "email": ("personal", "labelers"),
}


def erasure_of(selector: Selector, *, id: str, reference: str, salt: bytes, now_ms: int) -> Erasure:
    """A new request.

    Raises:
        ErasureError: the reference is none.
    """
    made = Erasure(
        id=id,
        reference=reference,
        kind=KIND_OF[type(selector)],
        salt=salt.hex(),
        digest=digest(selector, salt).hex(),
        asked_at_ms=now_ms,
        at_ms={str(State.ACCEPTED): now_ms},
    )
    try:
        return decoded(made.encoded())
    except (ErasureError, UnicodeEncodeError):
        raise ErasureError("a reference has at most 128 characters, and no control characters") from None


def decoded(value: bytes | None) -> Erasure:
    """The request in a record's value.

    Raises:
        ErasureError: there is none.
    """
    try:
        return _decoder.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ErasureError("a record of subjects.erasures is no request") from None


_decoder = msgspec.json.Decoder(Erasure)


class Erased:
    """Whom the requests are about that are not forgotten; truth is whether there is anybody.

    Args:
        erasures: of any state.
    """

    def __init__(self, erasures: Iterable[Erasure] = ()) -> None:
        self._digests: dict[bytes, set[bytes]] = {}
        self._kinds: set[type[Selector]] = set()
        for erasure in erasures:
            if erasure.digest:
                self._digests.setdefault(bytes.fromhex(erasure.salt), set()).add(bytes.fromhex(erasure.digest))
                self._kinds.add(SELECTOR_OF[erasure.kind])

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def covers(self, selectors: Iterable[Selector]) -> bool:
        """Whether one of these means somebody who asked."""
        return any(
            digest(selector, salt) in digests
            for selector in selectors
            if type(selector) in self._kinds
            for salt, digests in self._digests.items()
        )
