"""As `aiohttp_checked`, on granian: a server in Rust that calls Python through RSGI, its own interface.

`python -m bench.collector.peers.granian_checked PORT BOOTSTRAP`. It promises what the product promises.
"""

import asyncio
import os
import sys
from typing import Any

from granian import Granian
from granian.constants import Interfaces, Loops

from bench.collector.peers.aiohttp_checked import collected
from bench.collector.peers.aiohttp_pydantic import durable_producer

BOOTSTRAP = "BENCH_KAFKA_BOOTSTRAP"  # granian's worker is a process of its own


class App:
    """One a worker."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_until_complete(self._start())

    async def _start(self) -> None:
        self._producer = durable_producer(os.environ[BOOTSTRAP])
        await self._producer.start()

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_until_complete(self._producer.stop())

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        if (scope.method, scope.path) != ("POST", "/v1/events"):
            protocol.response_empty(404, [])
            return
        headers = scope.headers
        authorization, user_agent = headers.get("authorization") or "", headers.get("user-agent") or ""
        ip = scope.client.rpartition(":")[0]
        status, answer = await collected(await protocol(), authorization, ip, user_agent, self._producer)
        protocol.response_bytes(status, [("content-type", "application/json")], answer)


app = App()

if __name__ == "__main__":
    os.environ[BOOTSTRAP] = sys.argv[2]
    Granian(
        f"{__spec__.name}:app", port=int(sys.argv[1]), interface=Interfaces.RSGI, loop=Loops.uvloop, log_enabled=False
    ).serve()
