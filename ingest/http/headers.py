"""Pure: what a request's headers say, or why they are refused. Source: RFC 9110, RFC 6750; docs/http.md."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qs

from ingest.errors import Rejection
from schemas.outcomes import RequestError

USER_AGENT_CHARACTERS_MAX = 1_024

_READ = {
    name.encode(): name
    for name in (
        "authorization", "content-encoding", "content-length", "content-type", "expect", "origin", "sec-gpc",
        "transfer-encoding", "user-agent", "x-forwarded-for",
    )
}  # fmt: skip
JSON_TYPES = frozenset({"application/json", "text/plain"})
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_QUOTED = re.compile(r'\A"(.*)"\Z')


@lru_cache(maxsize=64)  # keeps accepted types alone, which are short: no client can fill it
def check_type(content_type: str | None, types: frozenset[str]) -> None:
    """Passes where the body may hold JSON, and without a Content-Type: a beacon of a bare Blob has none.

    Args:
        types: media types that a body may have.

    Raises:
        Rejection: 415.
    """
    if not content_type:
        return
    essence, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [part.partition("=")[2].strip() for part in parameters if part.partition("=")[0].strip() == "charset"]
    if essence not in types or not {_QUOTED.sub(r"\1", charset) for charset in charsets} <= _CHARSETS:
        raise Rejection(415, RequestError.UNSUPPORTED_TYPE)


def request_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that the collector reads, by lower-case name; one that came more than once is joined by commas.

    Copied at once: a server may append a body's trailers to the list that it handed out.
    """
    found: dict[str, str] = {}
    for name, value in raw:
        if name in _READ:
            known = _READ[name]
            text = value.decode("latin-1")
            found[known] = f"{found[known]}, {text}" if known in found else text
    return found


def key_of(headers: Mapping[str, str], query: bytes) -> str | None:
    """The key in the Authorization header, or in the query of a beacon, which cannot set headers."""
    return header_key(headers) or query_key(query)


def header_key(headers: Mapping[str, str]) -> str | None:
    """The key in the Authorization header."""
    authorization = headers.get("authorization")
    return bearer_key(authorization) or basic_key(authorization)


def query_key(query: bytes) -> str | None:
    """The key in the query."""
    return parse_qs(query.decode("latin-1")).get("key", [None])[0] if query else None


def bearer_key(authorization: str | None) -> str | None:
    """The key of a Bearer Authorization header; None for another scheme."""
    scheme, _, key = (authorization or "").strip().partition(" ")
    return (key.strip() or None) if scheme.lower() == "bearer" else None


def basic_key(authorization: str | None) -> str | None:
    """The key of an Authorization header that holds it as user name, as Segment's SDKs send it. Source: RFC 7617."""
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0] or None
    except (binascii.Error, ValueError):
        return None


def forwarded_for(headers: Mapping[str, str]) -> list[str]:
    """The values of X-Forwarded-For, for `client_address`."""
    return [headers["x-forwarded-for"]] if "x-forwarded-for" in headers else []


class Client(NamedTuple):
    """Who sends a request, as far as connection and head tell.

    Attributes:
        peer: address of the connection; "" where there is none.
        forwarded_for: values of X-Forwarded-For.
        user_agent: decoded as UTF-8, at most `USER_AGENT_CHARACTERS_MAX` long: no browser's is longer.
    """

    peer: str
    forwarded_for: Sequence[str]
    user_agent: str


def client_in(headers: Mapping[str, str], peer: str) -> Client:
    """The client of a request with these headers."""
    return Client(peer, forwarded_for(headers), _agent(headers.get("user-agent", "").encode("latin-1")))


def client_of(peer: str, forwarded_for: bytes | None, user_agent: bytes | None) -> Client:
    """The client of a request with these fields; None for one that it has not."""
    hops = [] if forwarded_for is None else [forwarded_for.decode("latin-1")]
    return Client(peer, hops, _agent(user_agent or b""))


def _agent(value: bytes) -> str:
    return value.decode("utf-8", "replace")[:USER_AGENT_CHARACTERS_MAX]
