"""`async for` loops and nothing else: what a loop does with a batch is `batch_handler.py`'s."""

from collections.abc import Awaitable, Callable
from typing import Any

from processors.faust_app.batches import FetchedBatch

Agent = Callable[[Any], Awaitable[None]]


def door_agent(handle: Callable[[FetchedBatch], Awaitable[None]]) -> Agent:
    """The agent of the labeled topic, whose every message is a batch of records.

    `noack`, because a stream acknowledges a message even when the body raised or was cancelled. What Faust believes to
    be acknowledged is told last, and only to keep its own books short: `commits.py` decides what is committed.
    """

    async def pass_labels(stream: Any) -> None:
        async for event in stream.noack().events():
            await handle(event.message)
            await stream.ack(event)

    return pass_labels
