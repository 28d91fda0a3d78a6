"""What a user would write who has read about speed: uvloop, orjson and checks by hand; fastavro and `send` as before.

`python -m bench.collector.peers.aiohttp_checked PORT BOOTSTRAP`. It promises what the product promises.
"""

import asyncio
import re
import sys
from typing import Any

import orjson
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from bench.collector.peers.aiohttp_pydantic import KEYS, application
from bench.collector.peers.avro import record_of

ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}").fullmatch
SESSION = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch
TASK = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch
EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}").fullmatch
SAMPLES = {
    "pointer": ("t", "x", "y"),
    "scroll": ("t", "x", "y"),
    "key": ("t_down", "t_up"),
    "touch": ("t", "x", "y", "force"),
    "gyroscope": ("t", "x", "y", "z"),
    "accelerometer": ("t", "x", "y", "z"),
}
COMMON = {"id", "ts", "type"}
FIELDS = {
    **{kind: COMMON | set(names) for kind, names in SAMPLES.items()},
    **dict.fromkeys(("image_label", "audio_transcript", "text_answer"), COMMON | {"task", "answer"}),
    **dict.fromkeys(("page_view", "usage"), COMMON | {"url", "referrer", "properties"}),
    "contact": COMMON | {"account", "role", "name", "email", "country"},
    "identity_check": COMMON | {"account", "provider", "method", "outcome"},
    "labeler_application": COMMON | {"name", "email", "country", "languages", "note"},
}


def text(value: Any, most: int = 256) -> bool:
    return type(value) is str and len(value) <= most


def fits(event: Any) -> bool:
    """Whether an event is one: its type, its fields, each within its bounds."""
    if type(event) is not dict:
        return False
    kind = event.get("type")
    known = FIELDS.get(kind) if type(kind) is str else None
    if known is None or not event.keys() <= known:
        return False
    if not (type(event.get("id")) is str and ID(event["id"])):
        return False
    ts = event.get("ts")
    if type(ts) is not int or not 0 <= ts <= 253_402_300_799_999:
        return False
    if kind in SAMPLES:
        lengths = set()
        for name in SAMPLES[kind]:
            values = event.get(name)
            if type(values) is not list or not 1 <= len(values) <= 1_024:
                return False
            if not all(type(value) is int or type(value) is float for value in values):
                return False
            lengths.add(len(values))
        return len(lengths) == 1
    if "task" in known:
        return type(event.get("task")) is str and bool(TASK(event["task"])) and text(event.get("answer"), 32_768)
    if "url" in known:
        event.setdefault("referrer", "")
        event.setdefault("properties", {})
        return text(event.get("url"), 32_768) and text(event["referrer"], 32_768) and type(event["properties"]) is dict
    if "languages" in known:
        event.setdefault("languages", [])
        event.setdefault("note", "")
        if type(event["languages"]) is not list or not all(map(text, event["languages"])):
            return False
    if "email" in known and not (type(event.get("email")) is str and EMAIL(event["email"])):
        return False
    return all(text(event.get(name), 32_768) for name in known - COMMON - {"languages", "email"})


async def collected(
    body: bytes, authorization: str, ip: str, user_agent: str, producer: AIOKafkaProducer
) -> tuple[int, bytes]:
    """Status and body of the answer."""
    if authorization.removeprefix("Bearer ") not in KEYS:
        return 401, b'{"error":"unknown_key"}'
    try:
        batch = orjson.loads(body)
        session, events = batch["session"], batch["events"]
        if not SESSION(session) or type(events) is not list or len(events) > 500:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        return 400, b'{"error":"not_a_batch"}'
    sent, rejected = [], []
    for index, event in enumerate(events):
        if fits(event):
            topic, key, value = record_of(event, session, ip, user_agent)
            sent.append(await producer.send(topic, value, key=key))
        else:
            rejected.append({"index": index, "reason": "invalid"})
    await asyncio.gather(*sent)
    return 200, orjson.dumps({"accepted": len(sent), "rejected": rejected})


async def post(request: web.Request) -> web.Response:
    authorization, user_agent = (request.headers.get(name, "") for name in ("Authorization", "User-Agent"))
    body, ip = await request.read(), request.remote or ""
    status, answer = await collected(body, authorization, ip, user_agent, request.app["producer"])
    return web.Response(status=status, body=answer, content_type="application/json")


if __name__ == "__main__":
    asyncio.set_event_loop(loop := uvloop.new_event_loop())
    web.run_app(
        application(sys.argv[2], post), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=loop
    )
