"""A sink of one table and one ClickHouse server as a process.

python -m testkit.server_sink CONFIG    CONFIG is `ServerSinkConfig` as JSON; SIGTERM ends it

A table of the project collapses what is there twice. These are plain MergeTrees, in which each row that was ever
inserted counts. Consumer, intents, repair and `sinks.clickhouse.server` are the real ones.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import msgspec

from schemas.kafka_access import KafkaAccess
from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from sinks.engine import Table
from sinks.kafka.consumer import TableConsumer
from sinks.kafka.dead_letters import DeadLetterProducer
from sinks.outage import quieten
from sinks.rows.tables import SIGNALS, check, reader_of
from testkit import contract_table
from testkit.memory_marks import shared_marks
from testkit.sink_configs import block_limits, consumer_config

SIGNAL_IDS = Table(
    name="signals",
    topics=SIGNALS.topics,
    columns=(("event_id", "String", "`event_id`"), ("session", "String", "`session`")),
    key=("event_id",),
)
SIGNAL_IDS_DDL = (
    "CREATE DATABASE IF NOT EXISTS unjoin",
    "CREATE TABLE IF NOT EXISTS unjoin.signals (event_id String, session String)"
    " ENGINE = MergeTree PARTITION BY tuple() ORDER BY event_id",
)


class ServerSinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A sink process of one table and one server.

    Attributes:
        table: the contract's, whose topic holds bare datums, or ids of `events.signals`.
    """

    bootstrap: str
    url: str
    topic: str
    group: str
    table: Literal["contract", "signals"] = "contract"
    rows_max: int = 500
    bytes_max: int = 33_554_432
    ms_max: int = 50
    session_timeout_ms: int = 6_000
    answer_seconds_max: float = 120.0


_READERS: dict[str, tuple[Table, Callable[[Any], tuple[Any, bytes]], Callable[[bytes | None], None]]] = {
    "contract": (contract_table.TABLE, contract_table.datum_of, contract_table.accept),
    "signals": (SIGNAL_IDS, reader_of(SIGNALS), partial(check, SIGNALS)),
}


async def run(config: ServerSinkConfig) -> None:
    """Consumes until SIGTERM."""
    table, datum_of, check_value = _READERS[config.table]
    engine = Server(address_of(config.url), answer_seconds_max=config.answer_seconds_max)
    dead_letters = DeadLetterProducer(KafkaAccess(config.bootstrap), lambda topic: f"{topic}.dead")
    consumer = TableConsumer(
        msgspec.structs.replace(table, topics=(config.topic,)),
        engine,
        consumer_config(
            config.bootstrap,
            block_limits(rows_max=config.rows_max, bytes_max=config.bytes_max, ms_max=config.ms_max),
            config.group,
            session_timeout_ms=config.session_timeout_ms,
        ),
        marks=shared_marks(),
        datum_of=datum_of,
        check=check_value,
        dead_letters=dead_letters,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
    try:
        await consumer.run()
    finally:
        await dead_letters.close()
        engine.close()


def main() -> None:
    """Runs the sink that the command line describes."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    quieten("aiokafka")
    quieten("clickhouse_driver", logging.ERROR)
    asyncio.run(run(msgspec.json.decode(sys.argv[1], type=ServerSinkConfig)))


if __name__ == "__main__":
    main()
