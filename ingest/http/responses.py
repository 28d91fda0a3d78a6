"""What the collector answers, and how it sends that through ASGI. Every error is JSON: `{"error": …, "detail": …}`."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest.errors import ErrorBody, RejectedEvent, Rejection
from ingest.http.codings import CODINGS

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

_JSON: HeaderList = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
# Headers that tell a client what would be accepted. Source: RFC 9110, 11.6.1 and 15.5.6; RFC 7694.
_HINTS: dict[int, HeaderList] = {
    401: [(b"www-authenticate", b'Bearer realm="unjoin"')],
    415: [(b"accept-encoding", ", ".join([*CODINGS, "identity"]).encode())],
}


VARY = (b"vary", b"Origin")
CLOSE = (b"connection", b"close")


class Warnings(msgspec.Struct, frozen=True):
    """What was accepted and yet is hardly what its sender meant."""

    implausible_ts: Annotated[
        int,
        Meta(ge=1, description="Events whose `ts` lies ten years or more in the past, or a day or more ahead."),
    ]


class Receipt(msgspec.Struct, frozen=True):
    """What became of a batch: accepted means durable."""

    accepted: Annotated[int, Meta(ge=0)]
    rejected: list[RejectedEvent]
    warnings: Annotated[
        Warnings | UnsetType, Meta(description="What its sender should look at; absent where there is nothing.")
    ] = UNSET


class SegmentReceipt(msgspec.Struct, frozen=True):
    """A `Receipt` as Segment's SDKs expect it; `success` only says that the request was handled."""

    success: bool
    accepted: int
    rejected: list[RejectedEvent]
    warnings: Warnings | UnsetType = UNSET


class HttpResponse(msgspec.Struct, frozen=True):
    """An HTTP response; Content-Length is added when it is sent."""

    status: int
    headers: HeaderList
    body: bytes


def receipt_response(receipt: Receipt) -> HttpResponse:
    """A 200."""
    return HttpResponse(200, _JSON, msgspec.json.encode(receipt))


def segment_receipt_response(receipt: Receipt) -> HttpResponse:
    """A 200 for a Segment SDK."""
    body = SegmentReceipt(True, receipt.accepted, receipt.rejected, receipt.warnings)
    return HttpResponse(200, _JSON, msgspec.json.encode(body))


def error_response(rejection: Rejection, headers: HeaderList | None = None) -> HttpResponse:
    """The refusal of a whole request, with Retry-After where trying again can help."""
    all_headers = [*_JSON, *_HINTS.get(rejection.status, []), *(headers or [])]
    if rejection.retry_after_s is not None:
        all_headers.append((b"retry-after", b"%d" % rejection.retry_after_s))
    return HttpResponse(
        rejection.status, all_headers, msgspec.json.encode(ErrorBody(rejection.error, rejection.detail))
    )


def readable_by(origin: str) -> HeaderList:
    """The headers that let a page of that origin read an answer, Retry-After included."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"Retry-After"),
    ]


async def send_response(send: Send, response: HttpResponse, headers: HeaderList) -> None:
    """Sends an answer; `CLOSE` among the headers ends the connection after it."""
    start = [*response.headers, *headers]
    if response.status != 204:  # RFC 9110, 8.6: a 204 has no Content-Length
        start.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": start})
    await send({"type": "http.response.body", "body": response.body})
