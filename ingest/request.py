"""One request that posts events: its head, read once, and its body, still to be read."""

from collections.abc import MutableMapping
from typing import Any

from ingest.access.grants import Grant
from ingest.decode.formats import FORMATS
from ingest.http.body import Body, Receive
from ingest.http.fast_path import fast_path_of
from ingest.http.headers import request_headers

Scope = MutableMapping[str, Any]


class Request:
    """One request to a path of `FORMATS`.

    Attributes:
        body_format: what is posted at its path.
        peer: address of the connection; "" where there is none.
        grant: what its key allows, once that is known.
        fast_path: reads its body and answers it past ASGI, where the server offers that.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.body_format = FORMATS[scope["path"]]
        self.method: str = scope["method"]
        self.query: bytes = scope["query_string"]
        self.headers = request_headers(scope["headers"])
        self.origin = self.headers.get("origin")
        client = scope.get("client")
        self.peer: str = client[0] if client else ""
        self.grant: Grant | None = None
        length = self.headers.get("content-length")
        self.fast_path = fast_path_of(scope)
        self.body = Body(
            receive,
            int(length) if length and length.isdigit() else None,
            "transfer-encoding" in self.headers,
            self.fast_path.body if self.fast_path else lambda: None,
        )
