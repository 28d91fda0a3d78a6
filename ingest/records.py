"""Events to Kafka records: one event a record, keyed and stamped as its topic wants it.

What a category may carry is decided here by construction: the address and the User-Agent reach analytics and nothing
else, and a label loses session, id and time before it has a record.
"""

import datetime
import json
from collections.abc import Iterable
from typing import Any

from ingest.rejection import Rejected
from ingest.voter import EdgeKeys, day_of_event, voter_of
from schemas.codec import encode
from schemas.events import AnyEvent, Key, Redacted, Verdict
from schemas.outcomes import RejectionReason, UnjoinError
from schemas.topics import ANALYTICS, LABELED, LABELERS, PERSONAL, SIGNALS

_ONE_DAY = datetime.timedelta(days=1)
_EPOCH = datetime.date(1970, 1, 1)


class Record(Redacted, frozen=True):
    """One Kafka record, not yet sent; it carries no headers.

    Attributes:
        value: Confluent wire format.
        timestamp_ms: Unix milliseconds; the broker overwrites it where the topic stamps on append.
    """

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int


class Sender(Redacted, frozen=True):
    """Who sent a batch, as the connection and the key say.

    Attributes:
        ip, user_agent: of the connection; for analytics alone.
        received_at_ms: Unix milliseconds by the collector's clock.
    """

    site: str
    session: str
    received_at_ms: int
    ip: str
    user_agent: str


def records_of(
    events: Iterable[tuple[int, AnyEvent]], sender: Sender, edge_keys: EdgeKeys
) -> tuple[list[Record], list[Rejected]]:
    """The records of a batch, and the events that none can be made of any more.

    Args:
        events: (index in the batch, event).
        edge_keys: whatever it raises means that nothing of the batch can be sent now.
    """
    maker = _Maker(sender, edge_keys)
    records: list[Record] = []
    closed: list[Rejected] = []
    for index, event in events:
        try:
            maker.add(event, records)
        except _DayClosed:
            closed.append(Rejected(index, event.id, RejectionReason.DAY_CLOSED))
    return records, closed


class _DayClosed(UnjoinError):
    """The label's day has no key any more: nothing could tell its votes apart, so it cannot be accepted."""


class _Maker:
    """Makes the records of one batch; remembers its voters, since most of a batch is one session on one day."""

    def __init__(self, sender: Sender, edge_keys: EdgeKeys) -> None:
        self._sender = sender
        self._edge_keys = edge_keys
        self._voters: dict[tuple[str, datetime.date], bytes | None] = {}

    def add(self, event: AnyEvent, records: list[Record]) -> None:
        """Appends the records of one event: one, of a verdict one a day that it covers.

        Raises:
            _DayClosed: a label or verdict of a day whose edge key was destroyed.
        """
        match event.category:
            case "signals":
                records.append(self._signal(event))
            case "labeled" if isinstance(event, Verdict):
                records.extend(self._verdict(event))
            case "labeled":
                records.append(self._answer(event))
            case "analytics":
                records.append(self._analytics(event))
            case "personal":
                records.append(self._personal(event))
            case "labelers":
                records.append(self._labeler(event))
            case _:
                raise AssertionError(event.category)

    def _signal(self, event: Any) -> Record:
        datum = self._of_session(event)
        if isinstance(event, Key):
            datum["t"] = event.t_down
            datum["t_up"] = event.t_up
        else:
            for field in event.samples:
                datum[field] = getattr(event, field)
        value = encode("events.signals-value", datum)
        return Record(SIGNALS, self._sender.session.encode(), value, self._sender.received_at_ms)

    def _analytics(self, event: Any) -> Record:
        sender = self._sender
        datum = self._of_session(event)
        datum["ip"] = sender.ip
        datum["user_agent"] = sender.user_agent
        datum["url"] = event.url
        datum["referrer"] = event.referrer
        # Not msgspec's encoder: it refuses integers beyond 64 bits, which JSON allows.
        datum["properties"] = json.dumps(event.properties, ensure_ascii=False, separators=(",", ":"))
        value = encode("events.analytics-value", datum)
        return Record(ANALYTICS, sender.session.encode(), value, sender.received_at_ms)

    def _personal(self, event: Any) -> Record:
        datum = {**self._of_server(event), "type": event.__struct_config__.tag}
        value = encode("events.personal-value", datum)
        return Record(PERSONAL, event.account.encode(), value, self._sender.received_at_ms)

    def _labeler(self, event: Any) -> Record:
        value = encode("events.labelers-value", self._of_server(event))
        return Record(LABELERS, event.id.encode(), value, self._sender.received_at_ms)

    def _of_session(self, event: Any) -> dict[str, Any]:
        """What every event of a session has."""
        sender = self._sender
        return {
            "event_id": event.id,
            "site": sender.site,
            "session": sender.session,
            "type": event.__struct_config__.tag,
            "ts": event.ts,
            "received_at": sender.received_at_ms,
        }

    def _of_server(self, event: Any) -> dict[str, Any]:
        """The fields of an event that a server posts, as they are, and where it came from: never the session."""
        fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "id"}
        sender = self._sender
        return {**fields, "event_id": event.id, "site": sender.site, "received_at": sender.received_at_ms}

    def _answer(self, event: Any) -> Record:
        day = day_of_event(event.ts, self._sender.received_at_ms)
        voter = self._voter(self._sender.session, day)
        if voter is None:
            raise _DayClosed
        kind = event.__struct_config__.tag
        return _labeled(voter, day, ("unjoin.Answer", {"kind": kind, "task": event.task, "answer": event.answer}))

    def _verdict(self, event: Verdict) -> list[Record]:
        """For the verdict's day and the one before: a session may straddle midnight, and then has a voter on each.

        The day before has often no key any more; then none of its labels can still be judged, and it is left out.
        """
        day = day_of_event(event.ts, self._sender.received_at_ms)
        records = []
        for judged_day in (day, day - _ONE_DAY):
            voter = self._voter(event.session, judged_day)
            if voter is not None:
                records.append(_labeled(voter, judged_day, ("unjoin.Verdict", {"human": event.human})))
        if not records:
            raise _DayClosed
        return records

    def _voter(self, session: str, day: datetime.date) -> bytes | None:
        # None, of a day that has no key any more, is remembered as well.
        if (session, day) not in self._voters:
            edge_key = self._edge_keys(day)
            voter = None if edge_key is None else voter_of(self._sender.site, session, edge_key)
            self._voters[session, day] = voter
        return self._voters[session, day]


def _labeled(voter: bytes, day: datetime.date, act: tuple[str, dict[str, Any]]) -> Record:
    """A record of `events.labeled`, stamped with no more than its day: the exact time would tell sessions apart."""
    value = encode("events.labeled-value", {"voter": voter, "day": day, "act": act})
    return Record(LABELED, voter, value, (day - _EPOCH).days * 86_400_000)
