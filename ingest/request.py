"""One request that posts events: its head, read once, who sent it, and its body, still to be read."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from ingest.access.consent import asks_for_privacy
from ingest.access.grants import Grant
from ingest.decode.formats import FORMATS
from ingest.http.body import Body, Receive
from ingest.http.fast_path import fast_path_of
from ingest.http.headers import client_in, header_key, key_of, query_key, request_headers

Scope = MutableMapping[str, Any]


class Head:
    """What a request to a path of `FORMATS` says before its body, whoever sends it.

    It reads of the headers those of `known_heads.SAYS` and Content-Encoding alone: others may be of another request.

    Attributes:
        body_format: what is posted at its path.
        content_type, coding: Content-Type and Content-Encoding.
        key: in the Authorization header, or in the query.
        key_in_url: whether it is in the query alone.
        gpc: whether the browser asks for privacy.
    """

    __slots__ = ("body_format", "coding", "content_type", "gpc", "key", "key_in_url", "method", "origin")

    def __init__(self, scope: Scope, headers: Mapping[str, str]) -> None:
        self.body_format = FORMATS[scope["path"]]
        self.method: str = scope["method"]
        query: bytes = scope["query_string"]
        self.key = key_of(headers, query)
        self.key_in_url = bool(query) and header_key(headers) is None and query_key(query) is not None
        self.origin = headers.get("origin")
        self.content_type = headers.get("content-type")
        self.coding = headers.get("content-encoding")
        self.gpc = asks_for_privacy(headers.get("sec-gpc"))


class Request:
    """One request to a path of `FORMATS`.

    Attributes:
        client: who sent it.
        grant: what its key allows, once that is known.
        fast_path: reads its body and answers it past ASGI, where the server offers that.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = request_headers(scope["headers"])
        self.head = Head(scope, headers)
        peer = scope.get("client")
        self.client = client_in(headers, peer[0] if peer else "")
        self.grant: Grant | None = None
        length = headers.get("content-length")
        self.fast_path = fast_path_of(scope)
        self.body = Body(
            receive,
            int(length) if length and length.isdigit() else None,
            "transfer-encoding" in headers,
            self.fast_path.body if self.fast_path else lambda: None,
        )
