"""What both peers share: a checked event to its topic, key and Avro record value, with fastavro as its manual shows."""

import datetime
import hashlib
import hmac
import io
import json
import time
from typing import Any

import fastavro

from schemas.codec import header
from schemas.registry import latest

SIGNALS = ("pointer", "scroll", "key", "touch", "gyroscope", "accelerometer")
LABELS = ("image_label", "audio_transcript", "text_answer")
ANALYTICS = ("page_view", "usage")
PERSONAL = ("contact", "identity_check")
EDGE_KEY = b"\7" * 32


def encode(subject: str, datum: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(header(subject))
    fastavro.schemaless_writer(out, latest(subject).parsed, datum)
    return out.getvalue()


def record_of(event: dict[str, Any], session: str, ip: str, user_agent: str) -> tuple[str, bytes, bytes]:
    """Topic, key and value of one event, given as the dictionary that its JSON was."""
    kind = event["type"]
    common = {"event_id": event["id"], "site": "dev", "ts": event["ts"], "received_at": time.time_ns() // 1_000_000}
    if kind in SIGNALS:
        datum = {**common, "session": session, "type": kind}
        if kind == "key":
            datum |= {"t": event["t_down"], "t_up": event["t_up"]}
        else:
            datum |= {name: event[name] for name in ("t", "x", "y", "z", "force") if name in event}
        return "events.signals", session.encode(), encode("events.signals-value", datum)
    if kind in LABELS:
        voter = hmac.digest(EDGE_KEY, session.encode(), hashlib.sha256)
        act = {"kind": kind, "task": event["task"], "answer": event["answer"]}
        datum = {"voter": voter, "day": datetime.datetime.now(datetime.UTC).date(), "act": ("unjoin.Answer", act)}
        return "events.labeled", voter, encode("events.labeled.content-value", datum)
    if kind in ANALYTICS:
        where = {"ip": ip, "user_agent": user_agent, "url": event["url"], "referrer": event["referrer"]}
        datum = {**common, "session": session, "type": kind, **where, "properties": json.dumps(event["properties"])}
        return "events.analytics", session.encode(), encode("events.analytics-value", datum)
    fields = {name: value for name, value in event.items() if name not in ("id", "type")}
    if kind in PERSONAL:
        datum = {**common, **fields, "type": kind}
        return "events.personal", event["account"].encode(), encode("events.personal-value", datum)
    return "events.labelers", event["id"].encode(), encode("events.labelers-value", {**common, **fields})
