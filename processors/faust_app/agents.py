"""`async for` loops and nothing else: what a loop does with a batch is `batch_handler.py`'s."""

from collections.abc import Awaitable, Callable
from typing import Any

BATCH_RECORDS_MAX = 500
BATCH_S_MAX = 0.1

Agent = Callable[[Any], Awaitable[None]]


def door_agent(handle: Callable[[list[Any]], Awaitable[None]]) -> Agent:
    """The agent of the labeled topic.

    `noack_take`, because `take` acknowledges the batch even when the body raised or was cancelled. What Faust believes
    to be acknowledged is told last, and only to keep its own books short: `commits.py` decides what is committed.
    """

    async def pass_labels(stream: Any) -> None:
        async for events in stream.noack_take(BATCH_RECORDS_MAX, within=BATCH_S_MAX):
            await handle([event.message for event in events])
            for event in events:
                await stream.ack(event)

    return pass_labels
