"""The HTTP interface of a sink, port 8123, over an engine of this process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sinks.clickhouse.embedded import Embedded
from sinks.http.interface import serve_http
from sinks.metrics import SinkMetrics
from testkit.sink_configs import http_config


@contextmanager
def running_interface(engine: Embedded, metrics: SinkMetrics, **changes: Any) -> Iterator[int]:
    """The interface's port, on an event loop of its own, as a sink runs it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(serve_http(engine, http_config(**changes), metrics), loop).result(30)
    try:
        yield listening.port
    finally:
        asyncio.run_coroutine_threadsafe(listening.close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
