"""What `unjoin up` shows while it runs: what the door holds, has let go and has suppressed, as totals."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from rich.console import Console
from rich.status import Status

from unjoin.playground.door_totals import DoorTotals, door_totals_of

LOOK_EVERY_S = 1.0
ANSWER_S_MAX = 2.0


async def show_status(door_url: str, console: Console, stop: asyncio.Event) -> None:
    """Until `stop`: a line that follows the door on a terminal; elsewhere only the last state, at the end."""
    totals: DoorTotals | None = None
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX)) as http:
        with console.status("door: no whole minute yet") as line:
            async for totals in _looks(http, door_url, stop):
                _update(line, totals)
    if totals is not None:
        console.print(described(totals), highlight=False, soft_wrap=True)


def described(totals: DoorTotals) -> str:
    """One line about the door, without any site, key, task or hour. Whole minutes: nobody sees a label come."""
    suppressed = ", ".join(f"{reason} {labels}" for reason, labels in sorted(totals.suppressed.items())) or "0"
    return (
        f"door: {totals.held_labels} labels of {totals.held_voters} sessions held at the last whole minute "
        f"(a crowd leaves with {totals.crowd_target}), {totals.released} released, suppressed: {suppressed}"
    )


def _update(line: Status, totals: DoorTotals) -> None:
    line.update(described(totals))


async def _looks(http: aiohttp.ClientSession, door_url: str, stop: asyncio.Event) -> AsyncIterator[DoorTotals]:
    while not stop.is_set():
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with http.get(door_url) as answer:
                yield door_totals_of(await answer.text())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)
