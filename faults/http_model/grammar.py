"""Composes requests, valid and not, and says what each must be answered: the model is a page, the product is not.

Every choice is made by one function, so that Hypothesis shrinks what fails and a seed repeats it.
"""

import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

# Picks one of several; the first is the plainest.
Pick = Callable[[Sequence[Any]], Any]

ORIGIN = "https://shop.example"
BODY_BYTES_MAX = 1_048_576
# Begin the ids of events that must not be stored: those of a request that is the body of another one, and those that
# follow what is no request. A proxy may take the latter for one, and then it is.
SMUGGLED, AFTER = "smuggled", "after"
KEYS = ("dev-browser-key", "dev-server-key", "nobody")
WEB = {b"/healthz": 200, b"/readyz": 200, b"/openapi.json": 200, b"/nothing": 404, b"/metrics": 404}


class Exchange(msgspec.Struct, kw_only=True):
    """One request and what must come of it.

    Attributes:
        kind: for the figures.
        status: 0 for no answer, since the connection ends first.
        stored: ids of the events that are durable once it is answered.
        outcome: what is counted; None for nothing.
        ends: the connection ends after the answer: it must, may or must not.
        head_only: the answer has no body.
    """

    kind: str
    sent: bytes
    status: int
    stored: list[str] = []
    outcome: str | None = None
    ends: bool | None = False
    head_only: bool = False


class Script(msgspec.Struct):
    """What one client does on one connection.

    Attributes:
        exchanges: what it sends; the first whose `ends` is true is the last that is answered.
        cuts: where it pauses while it sends, ascending.
        half_closes: whether it ends its side once it has sent.
    """

    exchanges: list[Exchange]
    cuts: list[int]
    half_closes: bool

    def __repr__(self) -> str:
        shown = "".join(f"\n  {one.kind}, {one.status}: {one.sent[:300]!r}" for one in self.exchanges)
        return f"Script(cuts={self.cuts}, half_closes={self.half_closes}){shown}\n"

    @property
    def sent(self) -> bytes:
        """All of it."""
        return b"".join(exchange.sent for exchange in self.exchanges)

    @property
    def answered(self) -> list[Exchange]:
        """Those that get an answer, in order."""
        for place, exchange in enumerate(self.exchanges):
            if exchange.ends:
                return [one for one in self.exchanges[: place + 1] if one.status]
        return self.exchanges


def script(pick: Pick, name: str) -> Script:
    """One connection's requests, one after another, the last of which closes it.

    Args:
        name: begins the ids of its events.
    """
    exchanges = [_exchange(pick, f"{name}-{number}") for number in range(pick((1, 2, 3, 5)))]
    exchanges.append(_web(pick, plain=True))
    whole = sum(len(exchange.sent) for exchange in exchanges)
    cuts = sorted(pick(range(whole)) for _ in range(pick((0, 0, 1, 3))))
    return Script(exchanges, cuts, pick((False, False, False, True)))


def _exchange(pick: Pick, name: str) -> Exchange:
    return pick((_post, _post, _web_of, _malformed, _malformed_body))(pick, name)


def _web_of(pick: Pick, name: str) -> Exchange:
    return _web(pick, name=name)


def _web(pick: Pick, *, plain: bool = False, name: str = "") -> Exchange:
    """A request that posts nothing; its body, if it has one, is a whole request."""
    if plain:
        return Exchange(kind="last", sent=_request(b"GET", b"/nothing", [b"Connection: close"]), status=404, ends=True)
    path = pick(tuple(WEB))
    method = pick((b"GET", b"HEAD"))
    fields, expects = _noise(pick)
    body = pick((b"", b"", smuggled_post(name), b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"))
    framing, framed = _framed(pick, body) if body else ([], b"")
    return Exchange(
        kind="web with a body" if body else "web",
        sent=_request(method, _spelled(pick, path), [*fields, *framing], framed),
        status=WEB[path],
        ends=expects and bool(framing),
        head_only=method == b"HEAD",
    )


def _post(pick: Pick, name: str) -> Exchange:
    """A batch, and all that decides about it before and after its body is read."""
    method = pick((b"POST", b"POST", b"POST", b"POST", b"OPTIONS", b"PUT", b"HEAD"))
    key, where = pick(KEYS[:1] + KEYS), pick(("header", "header", "query", "none"))
    origin = pick(("", "", ORIGIN, "https://evil.example"))
    media_type = pick(("application/json", "text/plain;charset=UTF-8", "", "image/png"))
    coding = pick(("", "", "gzip", "compress"))
    ids = [f"{name}-{number}" for number in range(pick((1, 2, 0)))]
    padding = pick((0, 0, 0, 70_000))
    fits = pick((True, True, True, True, False))
    batch = json.dumps({"session": "s", "events": [_event(one) for one in ids]}).encode() + b" " * padding
    whole = batch if fits else smuggled_post(name)
    body = gzip.compress(whole, 1) if coding == "gzip" else whole
    fields, _ = _noise(pick)
    if where == "header":
        fields.append(b"Authorization: Bearer " + key.encode())
    query = b"?key=" + key.encode() if where == "query" else b""
    for field, value in (("Origin", origin), ("Content-Type", media_type), ("Content-Encoding", coding)):
        if value:
            fields.append(f"{field}: {value}".encode())
    framing, framed = _framed(pick, body)
    sent = _request(method, _spelled(pick, b"/v1/events") + query, [*fields, *framing], framed)
    made = Exchange(kind="post", sent=sent, status=200, outcome="answered", head_only=method == b"HEAD")
    writable = key == "dev-browser-key"

    def refused(status: int, error: str | None, *, read: bool = False) -> Exchange:
        made.status, made.outcome, made.kind = status, error, f"post refused with {status}"
        made.ends = not read
        return made

    if method == b"OPTIONS":
        return refused(403, "forbidden_origin") if origin == "https://evil.example" else refused(204, None)
    if method != b"POST":
        return refused(405, "method_not_allowed")
    if where == "none" or key == "nobody" or (where == "query" and key == "dev-server-key"):
        return refused(401, "unknown_key")
    if origin and not (writable and origin == ORIGIN):
        return refused(403, "forbidden_origin")
    if media_type == "image/png":
        return refused(415, "unsupported_type")
    if coding == "compress":
        return refused(415, "unsupported_encoding")
    if not fits:
        return refused(400, "not_a_batch", read=True)
    made.stored = ids if writable else []
    return made


def _event(name: str) -> dict[str, Any]:
    return {"id": name, "type": "pointer", "ts": 1, "t": [0], "x": [1], "y": [2]}


def smuggled_post(name: str, prefix: str = SMUGGLED) -> bytes:
    """A whole request that must never run."""
    body = json.dumps({"session": "s", "events": [_event(f"{prefix}-{name}")]}).encode()
    return _request(b"POST", b"/v1/events?key=dev-browser-key", [b"Content-Length: %d" % len(body)], body)


def _request(method: bytes, target: bytes, fields: Sequence[bytes], body: bytes = b"") -> bytes:
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method, target, b"\r\n".join([b"Host: a.example", *fields]), body)


def _spelled(pick: Pick, path: bytes) -> bytes:
    """A path in one of its spellings."""
    encoded = b"%%%02x" % path[2]
    return pick((path, path, path[:2] + encoded + path[3:], b"http://a.example" + path, b"HTTP://a.example:80" + path))


def _noise(pick: Pick) -> tuple[list[bytes], bool]:
    """Fields that change nothing; whether one asks for a 100."""
    fields: list[bytes] = list(
        pick((
            (), (), (), (b"Connection: Upgrade", b"Upgrade: h2c"), (b"connection: upgrade", b"upgrade: websocket"),
            (b"Upgrade: foo/1, bar", b"Connection: keep-alive, Upgrade"), (b"Connection: keep-alive",),
            (b"X: " + b"a" * 3_000,), (b"X: a",) * 60,
        ))
    )  # fmt: skip
    expects = pick((False, False, False, False, True))
    return [*fields, *([b"Expect: 100-continue"] if expects else [])], expects


def _framed(pick: Pick, body: bytes) -> tuple[list[bytes], bytes]:
    """A body with its length, or in chunks; the fields that say so, and what is sent."""
    if pick((True, True, False)):
        return [b"Content-Length: %d" % len(body)], body
    size = pick((100_000, 1_000, 7)) if len(body) < 5_000 else 20_000
    extension = pick((b"", b";a=b", b';a="b;c"'))
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    trailers = pick((b"", b"", b"X: a\r\n", b"Content-Encoding: gzip\r\nHost: b\r\nAuthorization: Bearer nobody\r\n"))
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return [b"Transfer-Encoding: chunked"], framed + b"0\r\n" + trailers + b"\r\n"


# What no proxy and no origin may take for a request: the whole head, without its end.
_HEADS: tuple[tuple[int, bytes], ...] = (
    *((400, head) for head in (
        b"GET /healthz HTTP/1.1", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b",
        b"GET /healthz HTTP/1.1\r\nHost: a b", b"GET /healthz HTTP/1.1\nHost: a",
        b"GET /healthz HTTP/1.1\r\nHost: a\nX: b",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX : b", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\r\n b",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\rb",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX\0: a", b"GET /healthz HTTP/1.1\r\nHost: a\r\n: a",
        b"GET /healthz#a HTTP/1.1\r\nHost: a", b"GET /heal\xc3\xa9thz HTTP/1.1\r\nHost: a",
        b"GET healthz HTTP/1.1\r\nHost: a",
        b"GET * HTTP/1.1\r\nHost: a", b"GET ftp://a/healthz HTTP/1.1\r\nHost: a", b"get /healthz HTTP/1.1\r\nHost: a",
        b"BREW /healthz HTTP/1.1\r\nHost: a", b"GET /healthz HTTP/2.0\r\nHost: a", b"GET /healthz HTTP/1.2\r\nHost: a",
        b"GET /healthz", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: +5",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"POST /v1/events HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked",
    )),
    (405, b"CONNECT a:443 HTTP/1.1\r\nHost: a"),
    (501, b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked"),
    (501, b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
    (431, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000),
    (431, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a"),
    (431, b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"\r\n".join([b"X: a"] * 3_000)),
)  # fmt: skip
_ERRORS = {400: "malformed_http", 405: "method_not_allowed", 501: "unsupported_encoding", 431: "headers_too_large"}


def _malformed(pick: Pick, name: str) -> Exchange:
    """What is refused from its head; what follows it must never be read."""
    status, head = pick(_HEADS)
    offer = pick((b"", b"", b"\r\nConnection: Upgrade\r\nUpgrade: websocket")) if status == 400 else b""
    sent = head + offer + b"\r\n\r\n" + smuggled_post(name, AFTER)
    return Exchange(kind=f"refused with {status}", sent=sent, status=status, outcome=_ERRORS[status], ends=True)


def _malformed_body(pick: Pick, name: str) -> Exchange:
    """A whole head whose chunks are none: its key is good, and still nothing of it is stored."""
    body = json.dumps({"session": "s", "events": [_event(f"{AFTER}-{name}")]}).encode()
    size = b"%x" % len(body)
    chunks = pick((
        size + b"\n" + body + b"\r\n0\r\n\r\n", b"-" + size + b"\r\n" + body + b"\r\n0\r\n\r\n",
        b"0x" + size + b"\r\n" + body + b"\r\n0\r\n\r\n", b"1\r\n" + body + b"\r\n0\r\n\r\n",
        b"f" * 17 + b"\r\n" + body,
        size + b" \r\n" + body + b"\r\n0\r\n\r\n", size + b"\r\n" + body + b"0\r\n\r\n", b"\r\n" + body,
    ))  # fmt: skip
    fields = [b"Authorization: Bearer dev-browser-key", *_noise(pick)[0], b"Transfer-Encoding: chunked"]
    return Exchange(
        kind="malformed body", sent=_request(b"POST", b"/v1/events", fields, chunks) + smuggled_post(name, AFTER),
        status=400, outcome="malformed_http", ends=True,
    )  # fmt: skip
