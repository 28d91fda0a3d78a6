"""Says in which block the records of a followed request were stored. Records of labels have no header."""

import logging
import secrets
import time
from collections.abc import Sequence

from schemas.following import HEADER, EmitSpan, Span, ids_of

log = logging.getLogger(__name__)

FOLLOWED_MAX = 10_000


class FollowedRecords:
    """Of one partition; those that are not stored yet, so many at most."""

    def __init__(self, table: str, partition: int, emit: EmitSpan) -> None:
        self._table, self._partition, self._emit = table, partition, emit
        self._waiting: dict[int, tuple[str, str, int]] = {}  # offset -> trace id, parent id, when it was read

    def note(self, offset: int, headers: Sequence[tuple[str, bytes]]) -> None:
        """Notes a record that was read, where its headers say that it is followed."""
        ids = next((ids_of(value) for name, value in headers if name == HEADER), None)
        if ids and len(self._waiting) < FOLLOWED_MAX:
            self._waiting[offset] = (*ids, time.time_ns())

    def stored(self, first: int, end: int, rows: int) -> None:
        """Says it of each request with records in a block that was stored; `end` is behind the last."""
        if not self._waiting:
            return
        now_ns = time.time_ns()
        block: dict[str, str | int] = {"table": self._table, "partition": self._partition, "first": first, "end": end}
        said: set[str] = set()
        for offset in [offset for offset in self._waiting if offset < end]:
            trace_id, parent_id, began_ns = self._waiting.pop(offset)
            if offset < first or trace_id in said:
                continue  # set aside, or not the first of its request
            said.add(trace_id)
            self._emit(Span("insert", trace_id, secrets.token_hex(8), parent_id, began_ns, now_ns, block))
            ms = (now_ns - began_ns) // 1_000_000
            log.info("stored a block", extra={"fields": {"trace": trace_id, **block, "rows": rows, "ms": ms}})
