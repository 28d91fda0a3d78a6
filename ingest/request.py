"""One request that posts events: its head, read once, and its body, still to be read."""

from collections.abc import MutableMapping
from typing import Any

from ingest.access.consent import asks_for_privacy
from ingest.access.grants import Grant
from ingest.decode.formats import FORMATS
from ingest.http.body import Body, Receive
from ingest.http.fast_path import fast_path_of
from ingest.http.headers import forwarded_for, header_key, key_of, query_key, request_headers, user_agent_of

Scope = MutableMapping[str, Any]


class Head:
    """What a request to a path of `FORMATS` says before its body; the same for all requests with the same head.

    Attributes:
        body_format: what is posted at its path.
        headers: those that the collector reads.
        key: in the Authorization header, or in the query.
        key_in_url: whether it is in the query alone.
        forwarded_for: values of X-Forwarded-For.
        gpc: whether the browser asks for privacy.
    """

    __slots__ = (
        "body_format", "forwarded_for", "gpc", "headers", "key", "key_in_url", "method", "origin", "user_agent",
    )  # fmt: skip

    def __init__(self, scope: Scope) -> None:
        self.body_format = FORMATS[scope["path"]]
        self.method: str = scope["method"]
        query: bytes = scope["query_string"]
        self.headers = request_headers(scope["headers"])
        self.key = key_of(self.headers, query)
        self.key_in_url = bool(query) and header_key(self.headers) is None and query_key(query) is not None
        self.origin = self.headers.get("origin")
        self.forwarded_for = forwarded_for(self.headers)
        self.user_agent = user_agent_of(self.headers)
        self.gpc = asks_for_privacy(self.headers.get("sec-gpc"))


class Request:
    """One request to a path of `FORMATS`.

    Attributes:
        peer: address of the connection; "" where there is none.
        grant: what its key allows, once that is known.
        fast_path: reads its body and answers it past ASGI, where the server offers that.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.head = Head(scope)
        client = scope.get("client")
        self.peer: str = client[0] if client else ""
        self.grant: Grant | None = None
        length = self.head.headers.get("content-length")
        self.fast_path = fast_path_of(scope)
        self.body = Body(
            receive,
            int(length) if length and length.isdigit() else None,
            "transfer-encoding" in self.head.headers,
            self.fast_path.body if self.fast_path else lambda: None,
        )
