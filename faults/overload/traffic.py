"""One client of many connections, as a process of its own: `python -m faults.overload.traffic ORDER_JSON`.

Open loop: requests become due by the clock, whether or not those before were answered, and their time counts from when
they were due. With a rate of 0 each connection sends again as soon as it is answered, which finds the capacity. It
ignores Retry-After, as the worst client does; a connection that is closed is opened again.

It prints one JSON object a second, of type `Second`, until its standard input is closed.
"""

import asyncio
import sys
from collections import Counter, deque

import msgspec
import uvloop

MARK = b"@@@@@@@@@@"
TICK_SECONDS = 0.001
# Requests that are due and find no connection; beyond it they are counted as unsent.
BACKLOG_MAX = 20_000
RECONNECT_SECONDS = 0.05


class Order(msgspec.Struct, frozen=True):
    """What to send.

    Attributes:
        name: two letters, the first of every id.
        rate: requests a second; 0 for as fast as they are answered.
        address: loopback address to come from.
    """

    port: int
    name: str
    key: str
    connections: int
    rate: float
    events: int
    address: str = "127.0.0.1"


class Second(msgspec.Struct):
    """What happened in a second.

    Attributes:
        offered: requests that became due; `unsent` of them found no connection.
        statuses: answers by status; 0 for a connection that ended without one.
        no_retry_after: answers of 429 or 503 without the header.
        accepted: numbers of the requests that were answered with 200.
        milliseconds: from due to answered, of those.
        refused_milliseconds: of the others.
    """

    offered: int = 0
    unsent: int = 0
    statuses: dict[int, int] = msgspec.field(default_factory=dict)
    no_retry_after: int = 0
    accepted: list[int] = msgspec.field(default_factory=list)
    milliseconds: list[float] = msgspec.field(default_factory=list)
    refused_milliseconds: list[float] = msgspec.field(default_factory=list)


def template_of(order: Order) -> list[bytes]:
    """A request cut where its number goes, ten bytes each time: in every id, and in the session."""
    event = (
        b'{"id":"%s-%03d","type":"pointer","ts":1790000000123,"t":[0,16,33,50,66,83],'
        b'"x":[101,120,153,170,188,190],"y":[55,53,51,50,47,44]}'
    )
    events = b",".join(event % (MARK, i) for i in range(order.events))
    body = b'{"session":"%s","events":[%s]}' % (MARK, events)
    head = b"POST /v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
    return (head % order.key.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body).split(MARK)


class Client:
    """All connections, and this second's tally."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.second = Second()
        self.statuses: Counter[int] = Counter()
        self.idle: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.loop = asyncio.get_running_loop()
        self._number = 0
        self._template = template_of(order)

    def next_request(self) -> tuple[int, bytes]:
        self._number += 1
        return self._number, (b"%s%08d" % (self.order.name.encode(), self._number)).join(self._template)

    async def run(self) -> None:
        """Sends until standard input is closed."""
        for _ in range(self.order.connections):
            await self.connect()
        ended = self.loop.run_in_executor(None, sys.stdin.read)
        began = last = self.loop.time()
        issued = 0
        while not ended.done():
            await asyncio.sleep(TICK_SECONDS)
            now = self.loop.time()
            if self.order.rate:
                wanted = int((now - began) * self.order.rate)
                while issued < wanted:
                    issued += 1
                    self._offer(began + issued / self.order.rate)
            else:
                while self.idle:
                    self._offer(now)
            if now - last >= 1.0:
                last += 1.0
                self._say()
        self._say()

    def _offer(self, due: float) -> None:
        self.second.offered += 1
        if self.idle:
            self.idle.popleft().send(due)
        elif len(self.due) < BACKLOG_MAX:
            self.due.append(due)
        else:
            self.second.unsent += 1

    def _say(self) -> None:
        self.second.statuses = dict(self.statuses)
        print(msgspec.json.encode(self.second).decode(), flush=True)
        self.second, self.statuses = Second(), Counter()

    def free(self, connection: "Connection") -> None:
        if self.due:
            connection.send(self.due.popleft())
        elif not self.order.rate:
            self.second.offered += 1
            connection.send(self.loop.time())
        else:
            self.idle.append(connection)

    async def connect(self) -> None:
        while True:
            try:
                await self.loop.create_connection(
                    lambda: Connection(self), "127.0.0.1", self.order.port, local_addr=(self.order.address, 0)
                )
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._buffer = b""
        self._due = 0.0
        self._number: int | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._client.free(self)

    def send(self, due: float) -> None:
        self._number, request = self._client.next_request()
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or len(rest) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        status, second = int(head[9:12]), self._client.second
        took = 1_000 * (self._client.loop.time() - self._due)
        number, self._number = self._number, None
        self._client.statuses[status] += 1
        if status == 200 and number is not None:
            second.accepted.append(number)
            second.milliseconds.append(round(took, 3))
        else:
            second.refused_milliseconds.append(round(took, 3))
            second.no_retry_after += status in (429, 503) and b"\r\nretry-after: " not in head.lower()
        if b"\r\nconnection: close" in head.lower():
            self._transport.close()
        else:
            self._client.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._number is not None:
            self._client.statuses[0] += 1
        elif self in self._client.idle:
            self._client.idle.remove(self)
        if not self._client.loop.is_closed():
            self._client.loop.create_task(self._client.connect())


async def main(order: Order) -> None:
    await Client(order).run()


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Order)))
