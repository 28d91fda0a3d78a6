"""Events to Kafka records: one event a record, with the key and timestamp that its topic prescribes.

The construction here decides what a category may carry: the address and the User-Agent reach analytics and nothing
else, and a label loses session, id and time before it has a record, which only the door can read.
"""

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast, overload

import msgspec

from ingest.encode.pseudonym import EdgeKeys, day_of_event, voter_of
from ingest.encode.seals import CONTENT_SUBJECT, Seals
from ingest.errors import RejectedEvent
from ingest.limits import KEY_STROKES_MAX
from schemas.encoders import Encoder, encoder_maker
from schemas.events import AnyEvent, Key, ReadEvent, Redacted, Verdict, WrittenSignal
from schemas.outcomes import EXPLANATION, RejectionReason, UnjoinError
from schemas.registry import latest
from schemas.topics import ANALYTICS, DAY_MS, LABELED, LABELERS, PERSONAL, SIGNALS

_ONE_DAY = datetime.timedelta(days=1)
_EPOCH = datetime.date(1970, 1, 1)


class Record(Redacted, frozen=True):
    """One Kafka record, not yet sent; it carries no headers.

    Attributes:
        value: Confluent wire format.
        timestamp_ms: Unix milliseconds; the broker overwrites it where the topic stamps on append.
        partition: the only one it may lie on; None where its key says which, or any will do.
    """

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int
    partition: int | None = None


class Run(Redacted, frozen=True):
    """Records that share topic, key, stamp and partition, as all the signals of a request do.

    Attributes:
        headers: of each record; none of a label's.
    """

    topic: str
    key: bytes | None
    timestamp_ms: int
    values: list[bytes]
    partition: int | None = None
    headers: list[tuple[str, bytes]] = msgspec.field(default_factory=list)


class Records(Sequence[Record]):
    """The records of a request, run by run; a record's own object is made only when it is looked at.

    Attributes:
        runs: none empty, no two with the same topic, key and stamp, so that each key's records keep their order; those
            without a key have none.
    """

    __slots__ = ("runs",)

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __len__(self) -> int:
        return sum(len(run.values) for run in self.runs)

    def __iter__(self) -> Iterator[Record]:
        for run in self.runs:
            for value in run.values:
                yield Record(run.topic, run.key, value, run.timestamp_ms, run.partition)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        return list(self)[index]


def runs_of(records: Sequence[Record]) -> list[Run]:
    """Any records, run by run; each key's records keep their order."""
    if type(records) is Records:  # what every request has; isinstance would ask its abstract base
        return records.runs
    runs: dict[tuple[str, bytes | None, int, int | None], Run] = {}
    for record in records:
        of = (record.topic, record.key, record.timestamp_ms, record.partition)
        if of not in runs:
            runs[of] = Run(record.topic, record.key, record.timestamp_ms, [], record.partition)
        runs[of].values.append(record.value)
    return list(runs.values())


class Sender(Redacted, frozen=True):
    """Who sent a batch, as the connection and the key say.

    Attributes:
        ip, user_agent: of the connection; for analytics alone.
        received_at_ms: Unix milliseconds by the collector's clock.
        sent_at_ms: Unix milliseconds by the client's clock; 0 where the batch does not say.
    """

    site: str
    session: str
    received_at_ms: int
    ip: str
    user_agent: str
    sent_at_ms: int = 0


# Fields that a sender decides, by which the encoders of a type differ.
_OF_SENDER = {"site", "session", "received_at", "sent_at", "ip", "user_agent"}


def _makers_of(subject: str, category: str) -> dict[type, Callable[..., Encoder]]:
    """An encoder maker for each event type of the category; a batch shares the fields that its events do not hold."""
    makers = {}
    fields = {field["name"]: field.get("default") for field in latest(subject).parsed["fields"]}
    for kind in AnyEvent.__args__:
        if kind.category == category:
            attributes = {"event_id": "id", **({"t": "t_down"} if kind is Key else {})}
            shared = [name for name in fields if attributes.get(name, name) not in kind.__struct_fields__]
            arrays = {attribute: name for name, attribute in attributes.items()}
            makers[kind] = encoder_maker(
                subject,
                [name for name in shared if name in _OF_SENDER],
                attributes,
                equal=[arrays.get(name, name) for name in kind.samples],
                constant={
                    name: _tag_of(kind) if name == "type" else fields[name] for name in shared if name not in _OF_SENDER
                },
            )
    return makers


def _tag_of(kind: type) -> str:
    tag: str = kind.__struct_config__.tag  # type: ignore[attr-defined]
    return tag


# By event type, what makes an encoder for a sender; an array or a text that the type does not have is empty.
_SIGNALS = _makers_of("events.signals-value", "signals")
_ANALYTICS = _makers_of("events.analytics-value", "analytics")
_PERSONAL = _makers_of("events.personal-value", "personal")
_LABELERS = _makers_of("events.labelers-value", "labelers")
_ANSWER = encoder_maker(CONTENT_SUBJECT, ("voter", "day", "kind"), branches={"act": "unjoin.Answer"})
_VERDICT = encoder_maker(CONTENT_SUBJECT, ("voter", "day"), branches={"act": "unjoin.Verdict"})

# Not msgspec's encoder: it refuses integers beyond 64 bits, which JSON allows.
_compact = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


class _Viewed(Redacted, frozen=True):
    """An analytics event whose properties are JSON text."""

    id: str
    ts: int
    url: str
    referrer: str
    properties: str


def records_of(
    events: Iterable[tuple[int, ReadEvent]], sender: Sender, edge_keys: EdgeKeys, seals: Seals
) -> tuple[Records, list[RejectedEvent]]:
    """The records of a batch, and the events that no record can be made of any more.

    Signals of one kind keep their order, and so do the other events of each key.

    Args:
        events: (index in the batch, event); those that are written were for this sender.
        edge_keys: what it raises is passed on: nothing of the batch can be sent now.
        seals: as well.
    """
    signals: dict[type, list[Any]] = {}
    others: list[tuple[int, ReadEvent]] = []
    for index, event in events:
        kind = type(event)
        alike = signals.get(kind)
        if alike is not None:  # the hot path: a signal whose kind the batch has had before
            alike.append(event)
        elif kind is WrittenSignal or kind in _SIGNALS:
            signals[kind] = [event]
        else:
            others.append((index, event))
    runs: list[Run] = []
    if signals:
        values = [value for kind, alike in signals.items() for value in _signal_values(kind, alike, sender)]
        runs.append(Run(SIGNALS, sender.session.encode(), sender.received_at_ms, values))
    if not others:
        return Records(runs), []
    maker = _Maker(sender, edge_keys, seals)
    closed = []
    for index, event in others:
        try:
            maker.add(event)
        except _DayClosed:
            reason = RejectionReason.DAY_CLOSED
            closed.append(RejectedEvent(index, event.id, reason, "ts", EXPLANATION[reason]))
    return Records(runs + maker.runs()), closed


def runs_of_written(events: Sequence[tuple[int, ReadEvent]], sender: Sender) -> list[Run]:
    """As `records_of`, for events that are all written."""
    values = [cast("WrittenSignal", event).value for _, event in events]
    return [Run(SIGNALS, sender.session.encode(), sender.received_at_ms, values)] if values else []


def _signal_values(kind: type, events: Sequence[Any], sender: Sender) -> list[bytes]:
    """The values of signals of one kind."""
    if kind is WrittenSignal:
        return [event.value for event in events]
    encode = _of_session(_SIGNALS[kind], sender)
    return encode(map(_sampled, events) if kind is Key else events)


def _of_session(maker: Callable[..., Encoder], sender: Sender, **more: str) -> Encoder:
    """An encoder that holds what every event of a session shares."""
    return maker(
        site=sender.site,
        session=sender.session,
        received_at=sender.received_at_ms,
        sent_at=sender.sent_at_ms,
        **more,
    )


def _sampled(event: Key) -> Key:
    """The event with its first strokes alone; how many there were is not kept, for that would be what it is about."""
    if len(event.t_down) <= KEY_STROKES_MAX:
        return event
    first = slice(KEY_STROKES_MAX)
    return msgspec.structs.replace(event, t_down=event.t_down[first], t_up=event.t_up[first])


class _DayClosed(UnjoinError):
    """The key of the label's day was destroyed: its votes could not be told apart, so it is not accepted."""


class _Maker:
    """Makes the records of a batch's events that are no signals; keeps what most share, such as the voter of a day."""

    def __init__(self, sender: Sender, edge_keys: EdgeKeys, seals: Seals) -> None:
        self._sender = sender
        self._session_key = sender.session.encode()
        self._edge_keys = edge_keys
        self._seals = seals
        self._voters: dict[tuple[str, datetime.date], bytes | None] = {}
        self._encoders: dict[type, Encoder] = {}
        # In the order in which their first events came; labels by partition and stamp, others by key.
        self._runs: dict[tuple[str, bytes] | tuple[int, int], Run] = {}

    def runs(self) -> list[Run]:
        """What was made."""
        return list(self._runs.values())

    def add(self, event: Any) -> None:
        """Makes the records of one event that is no signal: one, or one for each day that a verdict covers.

        Raises:
            _DayClosed: a label or verdict of a day whose edge key was destroyed.
        """
        kind, sender = type(event), self._sender
        at = sender.received_at_ms
        match event.category:
            case "labeled" if kind is Verdict:
                self._add_verdict(event)
            case "labeled":
                self._add_answer(event)
            case "analytics":
                encode = self._encoders.get(kind)
                if encode is None:
                    encode = _of_session(_ANALYTICS[kind], sender, ip=sender.ip, user_agent=sender.user_agent)
                    self._encoders[kind] = encode
                viewed = _Viewed(event.id, event.ts, event.url, event.referrer, _compact(event.properties))
                self._values(ANALYTICS, self._session_key, at).extend(encode((viewed,)))
            case "personal":
                encode = _PERSONAL[kind](site=sender.site, received_at=at, sent_at=sender.sent_at_ms)
                self._values(PERSONAL, event.account.encode(), at).extend(encode((event,)))
            case "labelers":
                encode = _LABELERS[kind](site=sender.site, received_at=at, sent_at=sender.sent_at_ms)
                self._values(LABELERS, event.id.encode(), at).extend(encode((event,)))
            case _:
                raise AssertionError(event.category)

    def _add_answer(self, event: Any) -> None:
        day = day_of_event(event.ts, self._sender.received_at_ms)
        voter = self._voter(self._sender.session, day)
        if voter is None:
            raise _DayClosed
        encode = _ANSWER(voter=voter, day=day, kind=_tag_of(type(event)))
        self._add_sealed(voter, day, encode((event,))[0])

    def _add_verdict(self, event: Verdict) -> None:
        """Adds a record for the verdict's day and one for the day before: a session over midnight has a voter on each.

        The key of the day before is often destroyed; then none of its labels can be judged, and that day is left out.
        """
        day = day_of_event(event.ts, self._sender.received_at_ms)
        voters = [(judged, self._voter(event.session, judged)) for judged in (day, day - _ONE_DAY)]
        if not any(voter for _, voter in voters):
            raise _DayClosed
        for judged, voter in voters:
            if voter is not None:
                self._add_sealed(voter, judged, _VERDICT(voter=voter, day=judged)((event,))[0])

    def _voter(self, session: str, day: datetime.date) -> bytes | None:
        # The None of a day whose key was destroyed is remembered as well.
        if (session, day) not in self._voters:
            edge_key = self._edge_keys(day)
            voter = None if edge_key is None else voter_of(self._sender.site, session, edge_key)
            self._voters[session, day] = voter
        return self._voters[session, day]

    def _add_sealed(self, voter: bytes, day: datetime.date, content: bytes) -> None:
        """Adds a record of `events.labeled`, stamped with midnight of its day: an exact time would tell sessions apart.

        It has no key: the voter is for the door alone, and all that is left of it is the partition.
        """
        partition = self._seals.partition_of(voter)
        timestamp_ms = (day - _EPOCH).days * DAY_MS
        run = self._runs.get((partition, timestamp_ms))
        if run is None:
            run = self._runs[partition, timestamp_ms] = Run(LABELED, None, timestamp_ms, [], partition)
        run.values.append(self._seals.sealed(content, day, partition))

    def _values(self, topic: str, key: bytes, timestamp_ms: int) -> list[bytes]:
        """The values of the run of that topic and key, which have one timestamp in a request."""
        run = self._runs.get((topic, key))
        if run is None:
            run = self._runs[topic, key] = Run(topic, key, timestamp_ms, [])
        return run.values
