"""What a user would write: aiohttp, pydantic, fastavro, and aiokafka's `send` for each event.

`python -m bench.collector.peers.aiohttp_pydantic PORT BOOTSTRAP`. It promises what the product promises: every bound of
the wire checked, unknown fields refused, an event that is wrong sinks no other, and the answer only after every
in-sync replica has acknowledged every record.
"""

import asyncio
import sys
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from aiokafka import AIOKafkaProducer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from bench.collector.peers.avro import record_of

KEYS = {"dev-browser-key", "dev-server-key"}
Samples = Annotated[list[float], Field(min_length=1, max_length=1_024)]
Text = Annotated[str, Field(max_length=256)]
Email = Annotated[str, Field(pattern=r"^[^@\s]{1,64}@[^@\s]{1,255}$")]
Task = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]


class Event(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
    ts: Annotated[int, Field(ge=0, le=253_402_300_799_999)]

    @model_validator(mode="after")
    def equal_lengths(self) -> Self:
        if len({len(value) for value in self.__dict__.values() if isinstance(value, list)}) > 1:
            raise ValueError("unequal arrays")
        return self


class Position(Event):
    type: Literal["pointer", "scroll"]
    t: Samples
    x: Samples
    y: Samples


class Key(Event):
    type: Literal["key"]
    t_down: Samples
    t_up: Samples


class Touch(Event):
    type: Literal["touch"]
    t: Samples
    x: Samples
    y: Samples
    force: Samples


class Motion(Event):
    type: Literal["gyroscope", "accelerometer"]
    t: Samples
    x: Samples
    y: Samples
    z: Samples


class Label(Event):
    type: Literal["image_label", "audio_transcript", "text_answer"]
    task: Task
    answer: str


class Page(Event):
    type: Literal["page_view", "usage"]
    url: str
    referrer: str = ""
    properties: dict[str, Any] = {}


class Contact(Event):
    type: Literal["contact"]
    account: Text
    role: Text
    name: Text
    email: Email
    country: Text


class IdentityCheck(Event):
    type: Literal["identity_check"]
    account: Text
    provider: Text
    method: Text
    outcome: Text


class Application(Event):
    type: Literal["labeler_application"]
    name: Text
    email: Email
    country: Text
    languages: list[Text] = []
    note: str = ""


AnyEvent = Annotated[
    Position | Key | Touch | Motion | Label | Page | Contact | IdentityCheck | Application, Field(discriminator="type")
]
one_event: TypeAdapter[Any] = TypeAdapter(AnyEvent)


class Envelope(BaseModel):
    sent_at: int | None = None
    session: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


class Batch(Envelope):
    events: Annotated[list[AnyEvent], Field(max_length=500)]


class LooseBatch(Envelope):
    events: Annotated[list[Any], Field(max_length=500)]


def parsed(body: bytes) -> tuple[str, list[Any], list[dict[str, Any]]]:
    """Session, valid events and rejections; the whole batch at once where nothing is wrong."""
    try:
        batch = Batch.model_validate_json(body)
        return batch.session, batch.events, []
    except ValidationError:
        loose = LooseBatch.model_validate_json(body)
    events, rejected = [], []
    for index, raw in enumerate(loose.events):
        try:
            events.append(one_event.validate_python(raw))
        except ValidationError:
            rejected.append({"index": index, "reason": "invalid"})
    return loose.session, events, rejected


async def post(request: web.Request) -> web.Response:
    if request.headers.get("Authorization", "").removeprefix("Bearer ") not in KEYS:
        return web.json_response({"error": "unknown_key"}, status=401)
    try:
        session, events, rejected = parsed(await request.read())
    except ValidationError:
        return web.json_response({"error": "not_a_batch"}, status=400)
    producer: AIOKafkaProducer = request.app["producer"]
    sent = []
    for event in events:
        fields = event.model_dump()
        topic, key, value = record_of(fields, session, request.remote or "", request.headers.get("User-Agent", ""))
        sent.append(await producer.send(topic, value, key=key))
    await asyncio.gather(*sent)
    return web.json_response({"accepted": len(events), "rejected": rejected})


def durable_producer(bootstrap: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5, max_batch_size=131_072
    )


def application(bootstrap: str, handler: Any = post) -> web.Application:
    app = web.Application(client_max_size=1 << 20)

    async def producer(app: web.Application) -> Any:
        app["producer"] = durable_producer(bootstrap)
        await app["producer"].start()
        yield
        await app["producer"].stop()

    app.cleanup_ctx.append(producer)
    app.router.add_post("/v1/events", handler)
    return app


if __name__ == "__main__":
    web.run_app(application(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
