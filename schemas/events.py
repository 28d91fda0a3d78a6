"""The types that flow: frozen msgspec structs. Their `repr` shows field names, never values.

Source of every bound: the HTTP contract in docs/http.md.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

SAMPLES_MAX = 1_024
TS_MAX = 253_402_300_799_999  # the last millisecond of the year 9999
# How far a `ts` may lie from when its event was received and still be believed: imported history is younger, a clock
# in another time zone less ahead. The sink's column `at` has the first one, too.
TS_AGE_MS_MAX = 315_576_000_000  # ten years
TS_AHEAD_MS_MAX = 86_400_000  # a day

ID_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-"
ID_PATTERN = r"\A[A-Za-z0-9_.:-]{1,100}\Z"
EventId = Annotated[str, Meta(pattern=ID_PATTERN)]
# An id as a member of an event. For a pattern msgspec calls Python, which costs more than decoding the rest of a small
# event, so the characters are checked beside it, a batch's at once: `ids_are_valid`.
UncheckedId = Annotated[str, Meta(min_length=1, max_length=100, extra_json_schema={"pattern": ID_PATTERN})]
Session = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:-]{1,64}\Z")]
Task = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:-]{1,128}\Z")]
UnixMs = Annotated[int, Meta(ge=0, le=TS_MAX)]
Samples = Annotated[Sequence[float], Meta(min_length=1, max_length=SAMPLES_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
ShortText = Annotated[str, Meta(max_length=256)]
Email = Annotated[str, Meta(pattern=r"\A[^@\s]{1,64}@[^@\s]{1,255}\Z")]


class Redacted(msgspec.Struct, frozen=True):
    """A struct whose `repr` names its fields and shows none of their values."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.__struct_fields__)})"

    __str__ = __repr__


class Event(Redacted, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """One event of a batch, identified: what every type has.

    Attributes:
        id: an `EventId`, chosen by the client, the same on every resend; see `ids_are_valid`.
        ts: Unix milliseconds by the client's clock.
    """

    category: ClassVar[str]
    samples: ClassVar[tuple[str, ...]] = ()

    id: UncheckedId
    ts: UnixMs


def ids_are_valid(events: Iterable[Event]) -> bool:
    """Whether no id of decoded events has a character that `EventId` does not."""
    return not "".join([event.id for event in events]).encode().translate(None, ID_CHARACTERS)


class Pointer(Event, frozen=True, kw_only=True, tag="pointer"):
    """Mouse positions: `t` ms from `ts`, `x` and `y` CSS pixels, equal lengths."""

    category: ClassVar[str] = "signals"
    samples: ClassVar[tuple[str, ...]] = ("t", "x", "y")

    t: Samples
    x: Samples
    y: Samples


class Scroll(Event, frozen=True, kw_only=True, tag="scroll"):
    """Scroll positions: `t` ms from `ts`, `x` and `y` CSS pixels, equal lengths."""

    category: ClassVar[str] = "signals"
    samples: ClassVar[tuple[str, ...]] = ("t", "x", "y")

    t: Samples
    x: Samples
    y: Samples


class Key(Event, frozen=True, kw_only=True, tag="key"):
    """Key timings, never which key: `t_down` and `t_up` ms from `ts`, equal lengths."""

    category: ClassVar[str] = "signals"
    samples: ClassVar[tuple[str, ...]] = ("t_down", "t_up")

    t_down: Samples
    t_up: Samples


class Touch(Event, frozen=True, kw_only=True, tag="touch"):
    """Touch positions and pressure (0 to 1), equal lengths."""

    category: ClassVar[str] = "signals"
    samples: ClassVar[tuple[str, ...]] = ("t", "x", "y", "force")

    t: Samples
    x: Samples
    y: Samples
    force: Samples


class Gyroscope(Event, frozen=True, kw_only=True, tag="gyroscope"):
    """Rotation rates about three axes, degrees a second, equal lengths."""

    category: ClassVar[str] = "signals"
    samples: ClassVar[tuple[str, ...]] = ("t", "x", "y", "z")

    t: Samples
    x: Samples
    y: Samples
    z: Samples


class Accelerometer(Event, frozen=True, kw_only=True, tag="accelerometer"):
    """Accelerations along three axes, metres a second squared, equal lengths."""

    category: ClassVar[str] = "signals"
    samples: ClassVar[tuple[str, ...]] = ("t", "x", "y", "z")

    t: Samples
    x: Samples
    y: Samples
    z: Samples


class ImageLabel(Event, frozen=True, kw_only=True, tag="image_label"):
    """What a session says an image shows."""

    category: ClassVar[str] = "labeled"

    task: Task
    answer: str


class AudioTranscript(Event, frozen=True, kw_only=True, tag="audio_transcript"):
    """What a session heard."""

    category: ClassVar[str] = "labeled"

    task: Task
    answer: str


class TextAnswer(Event, frozen=True, kw_only=True, tag="text_answer"):
    """What a session answered in free text."""

    category: ClassVar[str] = "labeled"

    task: Task
    answer: str


Label = ImageLabel | AudioTranscript | TextAnswer


class Verdict(Event, frozen=True, kw_only=True, tag="verdict"):
    """The service's judgement of a session; the door drops what bots answered."""

    category: ClassVar[str] = "labeled"

    session: Session
    human: bool


class PageView(Event, frozen=True, kw_only=True, tag="page_view"):
    """A page of the service's own sites was seen."""

    category: ClassVar[str] = "analytics"

    url: str
    referrer: str = ""
    properties: dict[str, Any] = {}


class Usage(Event, frozen=True, kw_only=True, tag="usage"):
    """Something on the service's own sites was used."""

    category: ClassVar[str] = "analytics"

    url: str = ""
    referrer: str = ""
    properties: dict[str, Any] = {}


class Contact(Event, frozen=True, kw_only=True, tag="contact"):
    """A person of an account."""

    category: ClassVar[str] = "personal"

    account: Name
    role: ShortText
    name: ShortText
    email: Email
    country: ShortText


class IdentityCheck(Event, frozen=True, kw_only=True, tag="identity_check"):
    """How an account's identity was checked, and what came of it."""

    category: ClassVar[str] = "personal"

    account: Name
    provider: ShortText
    method: ShortText
    outcome: ShortText


class LabelerApplication(Event, frozen=True, kw_only=True, tag="labeler_application"):
    """The application of an individual data labeler."""

    category: ClassVar[str] = "labelers"

    name: ShortText
    email: Email
    country: ShortText
    languages: Annotated[list[ShortText], Meta(max_length=64)] = []
    note: str = ""


AnyEvent = (
    Pointer | Scroll | Key | Touch | Gyroscope | Accelerometer
    | Label | Verdict
    | PageView | Usage | Contact | IdentityCheck | LabelerApplication
)  # fmt: skip


class WrittenSignal(Redacted, frozen=True, gc=False):
    """A sound signal whose record was written as it was read, in place of one of the signals' own types.

    Attributes:
        value: of its record, Confluent wire format.
    """

    category: ClassVar[str] = "signals"

    id: str
    ts: int
    value: bytes


ReadEvent = AnyEvent | WrittenSignal

BROWSER_CATEGORIES = frozenset({"signals", "labeled", "analytics"})
SERVER_CATEGORIES = frozenset({"analytics", "personal", "labelers", "labeled"})


class IdentifiedLabel(Redacted, frozen=True):
    """An answer as it lies on `events.labeled`, inside its seal.

    Attributes:
        voter: 32 bytes, a pseudonym of the session for one day.
        day: the UTC day whose keys apply.
        kind: the event's type.
    """

    voter: bytes
    day: datetime.date
    kind: str
    task: str
    answer: str


class IdentifiedVerdict(Redacted, frozen=True):
    """A judgement of a voter as it lies on `events.labeled`, inside its seal."""

    voter: bytes
    day: datetime.date
    human: bool


class Unopened(Redacted, frozen=True):
    """A label or verdict that nobody can read any more: its day's key was destroyed on record."""

    day: datetime.date


class DeidentifiedLabel(msgspec.Struct, frozen=True):
    """One vote on one task, not tied to any identified individual: the only thing `labels` accepts.

    Attributes:
        row_id: UUID, the vote's identity.
        version: 0 to 2**64 - 1; of several answers of one vote the largest is kept.
    """

    row_id: str
    day: datetime.date
    task: str
    kind: str
    answer: str
    version: int

    @property
    def signed_version(self) -> int:
        """`version` as Avro writes it, which has no unsigned long: its 64 bits as a signed one."""
        return self.version - (1 << 64) if self.version >> 63 else self.version
