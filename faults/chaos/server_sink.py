"""A second sink of `events.signals`, into a ClickHouse server: run as a process, with its settings as JSON.

Debian's server is of 2018 and knows no DateTime64, so that the project's migrations do not run on it. Consumer,
intents, repair and `sinks.clickhouse.server` are the real ones; the table is one of its own, a plain MergeTree: nothing
ever collapses in it.
"""

import asyncio
import logging
import signal
import sys
from functools import partial

import msgspec

from sinks.clickhouse.server import Server, address_of
from sinks.engine import Table
from sinks.kafka.consumer import TableConsumer
from sinks.kafka.dead_letters import DeadLetterProducer
from sinks.outage import quieten
from sinks.rows.tables import SIGNALS, check, reader_of
from testkit.sink_configs import block_limits, consumer_config

GROUP = "chaos-server"
TABLE = Table(
    name="signals",
    topics=SIGNALS.topics,
    columns=(("event_id", "String", "`event_id`"), ("session", "String", "`session`")),
    key=("event_id",),
)
DDL = (
    "CREATE DATABASE IF NOT EXISTS unjoin",
    "CREATE TABLE IF NOT EXISTS unjoin.signals (event_id String, session String)"
    " ENGINE = MergeTree PARTITION BY tuple() ORDER BY event_id",
)


class Config(msgspec.Struct, frozen=True):
    """Where from and where to."""

    bootstrap: str
    url: str


async def run(config: Config) -> None:
    """Until SIGTERM."""
    engine = Server(address_of(config.url))
    dead_letters = DeadLetterProducer(config.bootstrap)
    consumer = TableConsumer(
        TABLE,
        engine,
        consumer_config(config.bootstrap, block_limits(ms_max=300), GROUP),
        datum_of=reader_of(SIGNALS),
        check=partial(check, SIGNALS),
        dead_letters=dead_letters,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
    try:
        await consumer.run()
    finally:
        await dead_letters.close()
        engine.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    quieten("aiokafka")
    asyncio.run(run(msgspec.json.decode(sys.argv[1], type=Config)))
