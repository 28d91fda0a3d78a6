"""Posts simulated traffic to a collector, as patiently as a good client does, and says exactly what became of it."""

import argparse
import asyncio
import contextlib
import ipaddress
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from unjoin.output import print_table
from unjoin.settings import Settings
from unjoin.simulator.counts import Summary, TrafficCounts, summary_figures, summary_rows
from unjoin.simulator.sender import REQUEST_SECONDS_MAX, Delivery, Sender, SimulateError
from unjoin.simulator.traffic import BATCH_EVENTS_MAX, CATEGORIES, Plan, Traffic

EVENTS_MAX = 100_000_000
INTERRUPTED = 130


class SimulateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, where, and how hard.

    Attributes:
        sessions: 0 for one per hundred events, at least 40.
        seed: the same seed makes the same sessions and answers; ids differ with the time of the run.
        rate: events a second; 0 for as fast as it goes.
        verdicts: share of sessions that the service judges.
        bots: share of sessions that are bots; where judged, the door drops what they answered.
        seconds_max: when the whole run is given up.
        retry_seconds_max: when a batch that nobody acknowledges is given up.
        summary: where the summary goes, as JSON.
        allow_remote: send to a collector that is not on this machine.
    """

    url: str = "http://127.0.0.1:8080"
    events: int = 10_000
    sessions: int = 0
    seed: int = 1
    rate: float = 0
    concurrency: int = 16
    browser_key: str = "dev-browser-key"
    server_key: str = "dev-server-key"
    categories: tuple[str, ...] = CATEGORIES
    batch_events: int = 50
    verdicts: float = 0.2
    bots: float = 0.0
    seconds_max: float = 3_600
    retry_seconds_max: float = 120
    summary: Path | None = None
    allow_remote: bool = False


async def simulate(options: SimulateOptions, console: Console) -> Summary:
    """Sends the traffic, shows how it goes, writes the summary file.

    Cancelled, it counts what was under way as unknown and writes the summary all the same.

    Raises:
        SimulateError: options that cannot be, no collector there, or an answer that no resend can mend.
    """
    _check(options)
    start_ms = time.time_ns() // 1_000_000
    # The time is part of the seed: a second run with the same seed has sessions, and so votes, of its own.
    rng = Random(f"{options.seed}:{start_ms}")  # noqa: S311, traffic must repeat, and guards nothing
    plan = Plan(
        events=options.events, start_ms=start_ms, sessions=options.sessions, categories=options.categories,
        batch_events=options.batch_events, verdicts=options.verdicts, bots=options.bots,
    )  # fmt: skip
    traffic = Traffic(plan, rng)
    counts = TrafficCounts(start_ms)
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
    connector = aiohttp.TCPConnector(limit=options.concurrency)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        await _find_collector(http, options)
        delivery = msgspec.convert(options, Delivery, from_attributes=True)
        jitter = Random(options.seed)  # noqa: S311, apart from the traffic's, which must not depend on resends
        sender = Sender(delivery, http, traffic.batches(), counts, jitter)
        try:
            async with _progress(console, options.events, counts, sender):
                await sender.run()
        finally:
            summary = counts.summary(time.monotonic() - sender.started)
            if options.summary:
                options.summary.write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    return summary


def run_simulate(arguments: argparse.Namespace, settings: Settings, console: Console) -> int:
    """`unjoin simulate`: arguments named as the fields of `SimulateOptions`, the rest by default.

    Returns:
        0 when every event was answered for, 1 when some were not, or not sent in time, 130 when told to stop.
    """
    given = {name: value for name, value in vars(arguments).items() if name in SimulateOptions.__struct_fields__}
    given["url"] = given.get("url") or f"http://127.0.0.1:{settings.http_port}"
    if isinstance(categories := given.get("categories"), str):
        given["categories"] = tuple(name.strip() for name in categories.split(",") if name.strip())
    options = SimulateOptions(**given)
    try:
        summary = asyncio.run(_until_told_to_stop(simulate(options, console)))
    except asyncio.CancelledError:
        return INTERRUPTED
    if arguments.format == "table":
        print_table(("what", "how many", "note"), summary_rows(summary))
    else:
        print_table(("figure", "of", "value"), summary_figures(summary), arguments.format, document=summary)
    return 0 if summary.accepted_total + summary.rejected_total == options.events else 1


async def _until_told_to_stop(work: Coroutine[Any, Any, Summary]) -> Summary:
    """Cancels on SIGINT or SIGTERM, also where a shell has told its background jobs to ignore SIGINT."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return await task


async def _find_collector(http: aiohttp.ClientSession, options: SimulateOptions) -> None:
    """Any answer will do: only a wrong address or nothing running is an error here."""
    for pause in (0.2, 0.5, 0.0):
        with contextlib.suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            async with http.get(options.url.rstrip("/") + "/healthz", allow_redirects=False):
                return
        await asyncio.sleep(pause)
    raise SimulateError(f"no collector answers at {options.url}; start one with `unjoin up`, or name one with --url")


def _check(options: SimulateOptions) -> None:
    parts = urlsplit(options.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SimulateError("--url must be http://HOST:PORT")
    if not options.allow_remote and not _is_loopback(parts.hostname):
        raise SimulateError(
            f"{parts.hostname} is not this machine; simulated load may only be sent where it is welcome: "
            "add --allow-remote if the collector is yours"
        )
    if options.summary is not None and options.summary.suffix != ".json":
        raise SimulateError(f"--summary is JSON: name {options.summary} with .json at its end")
    bounds = {
        "events": (options.events, 1, EVENTS_MAX), "sessions": (options.sessions, 0, 1_000_000),
        "concurrency": (options.concurrency, 1, 1_024), "batch-events": (options.batch_events, 1, BATCH_EVENTS_MAX),
        "rate": (options.rate, 0, 10_000_000), "verdicts": (options.verdicts, 0, 1), "bots": (options.bots, 0, 1),
    }  # fmt: skip
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise SimulateError(f"--{name} must be {least} to {most}")
    if not options.categories or not set(options.categories) <= set(CATEGORIES):
        raise SimulateError(f"--categories must be some of {','.join(CATEGORIES)}")
    if options.summary and not options.summary.absolute().parent.is_dir():
        raise SimulateError(f"--summary: there is no folder {options.summary.absolute().parent}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.asynccontextmanager
async def _progress(console: Console, events: int, counts: TrafficCounts, sender: Sender) -> AsyncIterator[None]:
    """A bar while it lasts; nothing where the console is no terminal."""
    if not console.is_terminal:
        yield
        return
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=events)

        def show() -> None:
            per_second = counts.answered / max(1e-3, time.monotonic() - sender.started)
            figures = (
                f"{per_second:,.0f} events/s · [green]{counts.accepted.total():,} accepted[/] · "
                f"{counts.rejected.total():,} rejected · {counts.retries.total():,} retries"
            )
            progress.update(bar, completed=counts.answered, description=figures)

        async def watch() -> None:
            while True:
                show()
                await asyncio.sleep(0.2)

        watcher = asyncio.create_task(watch())
        try:
            yield
        finally:
            watcher.cancel()
            show()
