"""A client of many connections, as a process of its own: `python -m bench.collector.generator ORDER_JSON`.

Open loop: requests become due by the clock whether or not those before were answered, and an answer's time counts
from when its request was due, so that a server which stalls is not asked less. With a rate of 0 every connection sends
again as soon as it is answered, which finds what a server can do at most.

CPU is read from /proc for the processes named in the order, at both ends of the measured window. It prints one JSON
object, of type `Measured`, when every request has been answered.
"""

import asyncio
import gc
import itertools
import os
import sys
import time
from collections import Counter, deque

import msgspec
import uvloop

from bench.collector.mixes import BROWSER_KEY, MARK, Mix, templates
from testkit.processes import cpu_seconds

TICK_SECONDS = 0.001
DRAIN_SECONDS_MAX = 30.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Order(msgspec.Struct, frozen=True):
    """What to send.

    Attributes:
        rate: requests a second; 0 for as fast as they are answered.
        warm_seconds, seconds: before the measured window, and of it.
        keys: how many browser keys take turns, named by `key_of`; 0 for those of the mix.
        watch: CPU of each process by name; a process counts with its children.
    """

    port: int
    mix: Mix
    events: int
    connections: int
    rate: float
    warm_seconds: float
    seconds: float
    watch: dict[str, list[int]] = {}
    seed: int = 1
    keys: int = 0


def key_of(number: int) -> str:
    """A browser key, as long as that of the mix, so that it can take its place."""
    return f"key-{number:011}"


class Measured(msgspec.Struct):
    """What was seen.

    Attributes:
        seconds, accepted, samples, bytes_sent: of the window: events with status 200, samples in them, request bytes.
        accepted_in_all: with what went before and after the window.
        not_200: answers by status, 0 for a connection that ended; in all.
        milliseconds: from due to answered, of each request answered in the window.
        cpu_seconds: of each watched process in the window, and of `generator`.
        unsent: requests that found no connection before the end.
    """

    seconds: float = 0.0
    accepted: int = 0
    samples: int = 0
    bytes_sent: int = 0
    accepted_in_all: int = 0
    not_200: dict[int, int] = {}
    milliseconds: list[float] = []
    cpu_seconds: dict[str, float] = {}
    unsent: int = 0

    def ms(self, share: float) -> float:
        """A quantile of the answers' times."""
        times = sorted(self.milliseconds)
        return times[int(share * (len(times) - 1))] if times else float("nan")


class Client:
    """All connections, and what they have seen."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.measured = Measured()
        self.counting = False
        self.ending = False
        self.busy = 0
        self.statuses: Counter[int] = Counter()
        self.times: list[float] = []
        self.idle: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.loop = asyncio.get_running_loop()
        self._templates = itertools.cycle(templates(order.mix, order.events, order.seed))
        self._numbers = itertools.count(1)
        self._keys = itertools.cycle([key_of(number).encode() for number in range(order.keys)])
        self._mark = b"%02d%%08d" % (order.seed % 100)
        assert len(self._mark % 1) == len(MARK)

    def next_request(self) -> tuple[bytes, int, int]:
        template = next(self._templates)
        request = template.numbered(self._mark % next(self._numbers))
        if self.order.keys:
            request = request.replace(BROWSER_KEY.encode(), next(self._keys), 1)
        return request, template.events, template.samples

    async def run(self) -> Measured:
        order = self.order
        for _ in range(order.connections):
            await self.loop.create_connection(lambda: Connection(self), "127.0.0.1", order.port)
        gc.freeze()
        gc.disable()
        began = time.perf_counter()
        await self._offer_until(began, began + order.warm_seconds)
        before, opened = self._cpu(), time.perf_counter()
        self.counting = True
        await self._offer_until(began, opened + order.seconds)
        self.counting = False
        measured = self.measured
        measured.seconds = time.perf_counter() - opened
        after = self._cpu()
        self.ending = True
        deadline = time.perf_counter() + DRAIN_SECONDS_MAX
        while self.busy and time.perf_counter() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(TICK_SECONDS)
        measured.unsent = len(self.due) + self.busy
        measured.cpu_seconds = {name: after[name] - before[name] for name in after}
        measured.not_200 = {status: n for status, n in self.statuses.items() if status != 200}
        measured.milliseconds = [round(1_000 * took, 2) for took in self.times]
        return measured

    async def _offer_until(self, began: float, end: float) -> None:
        rate = self.order.rate
        while (now := time.perf_counter()) < end:
            if rate:
                while self._next_due(began) <= now:
                    self._offer(self._next_due(began))
                    self._issued += 1
            else:
                while self.idle:
                    self.idle.popleft().send(now)
            await asyncio.sleep(TICK_SECONDS)

    _issued = 0

    def _next_due(self, began: float) -> float:
        return began + self._issued / self.order.rate

    def _offer(self, due: float) -> None:
        if self.idle:
            self.idle.popleft().send(due)
        else:
            self.due.append(due)

    def _cpu(self) -> dict[str, float]:
        watched = {
            name: sum(cpu_seconds(pid, children=True) for pid in pids) for name, pids in self.order.watch.items()
        }
        return {**watched, "generator": cpu_seconds(os.getpid(), children=True)}

    def free(self, connection: "Connection") -> None:
        """A connection has been answered and can send again."""
        if self.ending:
            return
        if self.due:
            connection.send(self.due.popleft())
        elif not self.order.rate:
            connection.send(time.perf_counter())
        else:
            self.idle.append(connection)


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._buffer = b""
        self._due = 0.0
        self._asked: tuple[int, int, int] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._client.idle.append(self)

    def send(self, due: float) -> None:
        request, events, samples = self._client.next_request()
        self._asked, self._due = (events, samples, len(request)), due
        self._client.busy += 1
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        status = int(head[9:12])
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]
        if len(rest) < int(length or 0):
            return
        self._buffer = b""
        assert self._asked is not None
        (events, samples, sent), self._asked = self._asked, None
        client, measured = self._client, self._client.measured
        client.busy -= 1
        client.statuses[status] += 1
        if status in (200, 204):
            # `"rejected":[]`: a benchmark whose events are refused measures something else. Who answers without a
            # body judges no single event.
            assert not rest or b'"rejected":[]' in rest.replace(b" ", b""), rest[:300]
            measured.accepted_in_all += events
            if client.counting:
                measured.accepted += events
                measured.samples += samples
                measured.bytes_sent += sent
                client.times.append(time.perf_counter() - self._due)
        client.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._asked is not None:
            self._asked = None
            self._client.busy -= 1
            self._client.statuses[0] += 1


async def main(order: Order) -> None:
    """Sends, and says what it saw."""
    print(msgspec.json.encode(await Client(order).run()).decode())


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Order)))
