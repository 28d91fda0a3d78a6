"""What the collector answers, and how it puts that on the wire. Every error is JSON: `{"error": …, "detail": …}`."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from ingest.errors import ErrorBody, Rejected, Rejection
from ingest.http.body import Body

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

LINGER_BYTES_MAX = 8_388_608
LINGER_SECONDS_MAX = 2.0

_JSON: HeaderList = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
# What an error answer says besides, so that a client can do better: RFC 9110, 11.6.1 and 15.5.6; RFC 7694.
_BESIDES: dict[int, HeaderList] = {
    401: [(b"www-authenticate", b'Bearer realm="unjoin"')],
    415: [(b"accept-encoding", b"gzip, identity")],
}


VARY = (b"vary", b"Origin")


class Receipt(msgspec.Struct, frozen=True):
    """The body of a 200: how many events are durable, and which are not accepted and why."""

    accepted: int
    rejected: list[Rejected]


class SegmentReceipt(msgspec.Struct, frozen=True):
    """The same as Segment's SDKs expect it; `success` says no more than that the request was dealt with."""

    success: bool
    accepted: int
    rejected: list[Rejected]


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; Content-Length is added on the wire."""

    status: int
    headers: HeaderList
    body: bytes


def receipt_answer(receipt: Receipt) -> Answer:
    """A 200."""
    return Answer(200, _JSON, msgspec.json.encode(receipt))


def segment_receipt_answer(receipt: Receipt) -> Answer:
    """A 200 for a Segment SDK."""
    body = SegmentReceipt(True, receipt.accepted, receipt.rejected)
    return Answer(200, _JSON, msgspec.json.encode(body))


def error_answer(rejection: Rejection, headers: HeaderList | None = None) -> Answer:
    """A whole request's error, with Retry-After where trying again can help."""
    all_headers = [*_JSON, *_BESIDES.get(rejection.status, []), *(headers or [])]
    if rejection.retry_after_s is not None:
        all_headers.append((b"retry-after", b"%d" % rejection.retry_after_s))
    return Answer(rejection.status, all_headers, msgspec.json.encode(ErrorBody(str(rejection.error), rejection.detail)))


def readable_by(origin: str) -> HeaderList:
    """What lets a page of that origin read an answer, Retry-After included."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"Retry-After"),
    ]


async def send_answer(send: Send, answer: Answer, headers: HeaderList) -> None:
    """Sends an answer to a request whose body was read."""
    start = [*answer.headers, *headers]
    if answer.status != 204:  # RFC 9110, 8.6: a 204 has no Content-Length
        start.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": start})
    await send({"type": "http.response.body", "body": answer.body})


async def send_answer_and_close(send: Send, answer: Answer, headers: HeaderList, unread: Body, linger: bool) -> None:
    """Sends an answer to a request whose body was not read to its end, and closes the connection.

    Args:
        linger: read on for a moment first, so that a client in mid-send still sees the answer.
    """
    length = (b"content-length", b"%d" % len(answer.body))
    closing = [*answer.headers, length, *headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": answer.status, "headers": closing})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    if linger:
        await unread.discard(LINGER_BYTES_MAX, LINGER_SECONDS_MAX)
    await send({"type": "http.response.body", "body": b""})
