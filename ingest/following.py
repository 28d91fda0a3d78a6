"""Chooses the requests that are followed, marks their records, and says what became of them.

A request with a label or a verdict is never one of them, neither chosen nor counted: an id that reached the door would
tie what leaves it to a request, and the count would tell when labels came.
"""

import logging
import secrets
import time
from collections.abc import Callable

import msgspec

from ingest.encode.records import Run
from schemas.following import EmitSpan, Span, header_of
from schemas.topics import LABELED

log = logging.getLogger(__name__)


class Followed:
    """One request that is followed.

    Args:
        began_ns: when the request's body was whole, Unix nanoseconds.
    """

    def __init__(self, emit: EmitSpan, token: Callable[[int], str], began_ns: int) -> None:
        self._emit = emit
        self.trace_id, self._request_id, self._produce_id = token(16), token(8), token(8)
        self._began_ns = began_ns

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Of its records."""
        return [header_of(self.trace_id, self._produce_id)]

    def ended(self, records: int, rejected: int, *, durable: bool) -> None:
        """Says what became of it, once that is known."""
        ended_ns = time.time_ns()
        fields: dict[str, str | int] = {"records": records, "rejected": rejected, "durable": int(durable)}
        self._emit(
            Span(
                "POST",
                self.trace_id,
                self._request_id,
                "",
                self._began_ns,
                ended_ns,
                {"http.status": 200 if durable else 503},
            )
        )
        self._emit(Span("produce", self.trace_id, self._produce_id, self._request_id, self._began_ns, ended_ns, fields))
        ms = (ended_ns - self._began_ns) // 1_000_000
        log.info("followed a request", extra={"fields": {"trace": self.trace_id, **fields, "ms": ms}})


class Follower:
    """Of one collector.

    Args:
        every: one request of so many; 0 for none.
        token: random hexadecimal digits of a number of bytes.
    """

    def __init__(self, every: int, emit: EmitSpan, token: Callable[[int], str] = secrets.token_hex) -> None:
        self._every = every
        self._emit = emit
        self._token = token
        self._since = 0

    def follow(self, runs: list[Run]) -> tuple[list[Run], Followed | None]:
        """The runs of a request, marked where it is one that is followed."""
        if not self._every or not runs or any(run.topic == LABELED for run in runs):
            return runs, None
        self._since += 1
        if self._since < self._every:
            return runs, None
        self._since = 0
        followed = Followed(self._emit, self._token, time.time_ns())
        return [msgspec.structs.replace(run, headers=followed.headers) for run in runs], followed
