"""`unjoin simulate` against a small collector that really answers over HTTP, and sometimes does not."""

import argparse
import asyncio
import io
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from rich.console import Console

from schemas.events import AnyEvent
from unjoin.settings import Settings
from unjoin.simulator.counts import Summary
from unjoin.simulator.sender import SimulateError
from unjoin.simulator.simulate import SimulateOptions, run_simulate, simulate


class Collector:
    """Stores by id; `fault` decides, per request, what to do instead of answering 200."""

    def __init__(self, fault=None, reject=None):
        self.fault = fault or (lambda number: None)
        self.reject = reject or (lambda event: None)
        self.stored = {}
        self.posts = 0
        self.keys = Counter()
        self.agents = set()
        self.busy = asyncio.Event()

    async def post(self, request):
        self.posts += 1
        body = await request.read()
        batch = msgspec.json.decode(body)
        key = request.query.get("key") or request.headers["Authorization"].removeprefix("Bearer ")
        self.keys[key] += 1
        self.agents.add(request.headers["User-Agent"])
        fault = self.fault(self.posts)
        if isinstance(fault, web.Response):
            return fault
        rejected = []
        for index, plain in enumerate(batch["events"]):
            event = msgspec.convert(plain, AnyEvent)
            if reason := self.reject(event):
                rejected.append({"index": index, "id": event.id, "reason": reason})
            else:
                self.stored[event.id] = (batch["session"], event)
        if len(self.stored) > 100:
            self.busy.set()
        if fault == "drop":  # stored, but the client never hears of it
            request.transport.close()
        return web.json_response({"accepted": len(batch["events"]) - len(rejected), "rejected": rejected})

    def by_category(self):
        return dict(sorted(Counter(event.category for _, event in self.stored.values()).items()))


def _run(collector, console=None, **options):
    async def run():
        app = web.Application()
        app.router.add_post("/v1/events", collector.post)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        url = f"http://127.0.0.1:{port}"
        try:
            wanted = SimulateOptions(**{"events": 2_000, "url": url, "concurrency": 4, **options})
            return await simulate(wanted, console or Console(file=io.StringIO()))
        finally:
            await runner.cleanup()

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_what_was_accepted_is_what_was_stored(tmp_path):
    """The summary is what checks compare with ClickHouse; it has to be exact. So many that every category comes."""
    collector = Collector()
    before_ms = time.time() * 1000
    summary = _run(collector, events=20_000, summary=tmp_path / "summary.json")
    assert summary.sent == summary.accepted_total == len(collector.stored) == 20_000
    assert summary.accepted == collector.by_category()
    assert set(summary.accepted) == {"signals", "labeled", "analytics", "personal", "labelers"}
    answers = [(session, event.task, event.ts // 86_400_000) for session, event in collector.stored.values()
               if hasattr(event, "task")]  # fmt: skip
    assert summary.votes == len(set(answers)) <= len(answers)
    assert summary.tasks == len({task for _, task, _ in answers})
    assert summary.unknown == summary.retries_total == 0
    assert summary.requests == collector.posts
    assert before_ms <= summary.last_acknowledged_ms <= time.time() * 1000
    assert 0 < summary.latency_ms["p50"] <= summary.latency_ms["p95"]
    assert msgspec.json.decode((tmp_path / "summary.json").read_bytes(), type=Summary) == summary
    assert set(collector.keys) == {"dev-browser-key", "dev-server-key"}
    assert len(collector.agents) > 3


def test_lost_answers_are_resent_with_the_same_ids():
    """An answer that never came says nothing; new ids would double what was stored."""
    collector = Collector(fault=lambda number: "drop" if number % 4 == 1 else None)
    summary = _run(collector, retry_seconds_max=30)
    assert summary.retries["no_answer"] > 0
    assert summary.accepted_total == len(collector.stored) == 2_000
    assert summary.unknown == 0


@pytest.mark.parametrize("status", [503, 429, 408, 500])
def test_refused_batches_are_resent_until_they_are_accepted(status):
    """The contract: the whole batch again, same ids."""
    collector = Collector(fault=lambda number: web.json_response({}, status=status) if number % 3 == 0 else None)
    summary = _run(collector)
    assert summary.retries == {str(status): collector.posts // 3}
    assert summary.requests == collector.posts
    assert summary.accepted_total == len(collector.stored) == 2_000


def test_retry_after_is_waited_for():
    """A collector that asks for a second gets a second."""
    tired = web.json_response({}, status=503, headers={"Retry-After": "1"})
    times = []

    def fault(number):
        times.append(time.monotonic())
        return tired if number == 1 else None

    _run(Collector(fault=fault), events=10, concurrency=1, categories=("analytics",))
    assert times[1] - times[0] >= 1


def test_batches_nobody_acknowledges_are_given_up_and_counted_as_unknown():
    """Neither accepted nor lost: the sum has to stay right, and the run has to end."""
    collector = Collector(fault=lambda number: web.json_response({}, status=503))
    summary = _run(collector, events=100, retry_seconds_max=0.3)
    assert (summary.sent, summary.accepted_total, summary.unknown) == (100, 0, 100)


def test_the_run_ends_when_its_time_is_up():
    """Bounded in time, whatever the collector does."""
    summary = _run(Collector(), events=1_000_000, rate=500, seconds_max=1.5)
    assert 0 < summary.sent < 5_000
    assert summary.sent == summary.accepted_total + summary.unknown


def test_rate_is_kept():
    """Freshness is measured at a rate; faster would measure something else."""
    summary = _run(Collector(), events=1_000, rate=1_000, batch_events=20)
    assert 0.8 < summary.duration_seconds < 10


def test_rejections_are_counted_by_reason_and_not_as_accepted():
    """A bad event never sinks its batch, in the books neither."""
    collector = Collector(reject=lambda event: "unknown_type" if event.category == "analytics" else None)
    summary = _run(collector)
    assert summary.rejected == {"unknown_type": 2_000 - len(collector.stored)}
    assert summary.accepted == collector.by_category()
    assert "analytics" not in summary.accepted


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (web.json_response({"error": "unknown_key"}, status=401), "--browser-key"),
        (web.json_response({"error": "body_too_large"}, status=413), "--batch-events"),
        (web.Response(status=302, headers={"Location": "http://192.0.2.1/"}), "302"),
        (web.Response(text="hello"), "not a collector"),
        (web.json_response({"accepted": 1, "rejected": []}), "add up"),
    ],
)
def test_an_answer_that_no_resend_can_mend_stops_the_run_and_says_what_to_change(answer, says, tmp_path):
    """Sending 10,000 batches with a wrong key helps nobody."""
    collector = Collector(fault=lambda number: answer)
    with pytest.raises(SimulateError, match=says):
        _run(collector, summary=tmp_path / "summary.json", categories=("signals",))
    assert collector.posts <= 8
    assert (tmp_path / "summary.json").exists()


@pytest.mark.parametrize("url", ["http://192.0.2.7:8080", "http://example.com", "http://127.0.0.1.example.com"])
def test_a_collector_elsewhere_is_refused_unless_asked_for(url):
    """Load on somebody else's machine is an attack."""
    with pytest.raises(SimulateError, match="--allow-remote"):
        asyncio.run(simulate(SimulateOptions(url=url), Console(file=io.StringIO())))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "ftp://127.0.0.1"}, "--url"),
        ({"events": 0}, "--events"),
        ({"batch_events": 501}, "--batch-events"),
        ({"categories": ("secrets",)}, "--categories"),
        ({"verdicts": 2}, "--verdicts"),
    ],
)
def test_options_out_of_bounds_are_refused_with_their_bounds(options, says):
    """Before anything is sent."""
    with pytest.raises(SimulateError, match=says):
        asyncio.run(simulate(SimulateOptions(**options), Console(file=io.StringIO())))


def test_nothing_listening_is_said_at_once():
    """Not two minutes of resends into the void."""
    with pytest.raises(SimulateError, match="unjoin up"):
        asyncio.run(simulate(SimulateOptions(url="http://127.0.0.1:9"), Console(file=io.StringIO())))


def test_cancelled_run_still_writes_what_it_knows(tmp_path):
    """Ctrl-C during a long run must not lose the count of what was accepted."""
    path = tmp_path / "summary.json"
    collector = Collector()

    async def run():
        app = web.Application()
        app.router.add_post("/v1/events", collector.post)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        options = SimulateOptions(
            url=f"http://127.0.0.1:{runner.addresses[0][1]}", events=1_000_000, rate=2_000, summary=path
        )
        task = asyncio.create_task(simulate(options, Console(file=io.StringIO())))
        async with asyncio.timeout(20):
            await collector.busy.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await runner.cleanup()

    asyncio.run(run())
    summary = msgspec.json.decode(path.read_bytes(), type=Summary)
    assert summary.accepted_total <= len(collector.stored) <= summary.accepted_total + summary.unknown


def test_progress_shows_rates_and_counts_on_a_terminal():
    """People watch; scripts read the file."""
    shown = io.StringIO()
    _run(Collector(), console=Console(file=shown, force_terminal=True, width=120))
    assert "events/s" in shown.getvalue()
    assert "2,000 accepted" in shown.getvalue()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"url": None}, "no collector answers at http://127.0.0.1:9;"),
        ({"url": None, "categories": "signals, secrets"}, "--categories"),
        ({"url": "http://192.0.2.7", "events": 5}, "--allow-remote"),
        ({"url": None, "summary": Path("summary.csv")}, "--summary is JSON"),
    ],
)
def test_command_takes_its_collector_from_the_settings_and_its_options_by_name(arguments, says):
    """`UNJOIN_HTTP_PORT` moves the collector; the command that posts to it has to follow."""
    given = argparse.Namespace(command="simulate", run=None, **arguments)
    with pytest.raises(SimulateError, match=says):
        run_simulate(given, Settings(http_port=9), Console(file=io.StringIO()))
