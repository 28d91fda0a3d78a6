"""Topics, a table of a ClickHouse server, and sinks between them.

python -m testkit.server_world CONFIG    such a sink as a process; CONFIG is `SinkOfServer` as JSON
"""

import asyncio
import io
import logging
import signal
import sys
from collections import Counter
from typing import Any

import fastavro
import msgspec

from sinks.clickhouse.server import Server, address_of
from sinks.kafka.consumer import TableConsumer
from sinks.kafka.dead_letters import DeadLetterProducer
from sinks.outage import quieten
from testkit.clickhouse_server import ClickHouseServer
from testkit.sink_configs import block_limits, consumer_config
from tests.contract.test_engine_contract import SCHEMA, TABLE, row
from tests.sinks.kafka.test_consumer import Scene

# Nothing collapses in it, whenever it merges: each row that was ever inserted counts.
PLAIN = """CREATE TABLE unjoin.contract
(id String, number Int64, samples Array(Float64), day Date, version UInt64, parsed Int64)
ENGINE = MergeTree PARTITION BY {by} ORDER BY (id, number)"""


def datum(number: int, **changes: Any) -> bytes:
    """A row of the contract's table, its day made of its number: blocks of it lie in four partitions by day."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, row(number, **{"day": 20_000 + number % 4, **changes}))
    return out.getvalue()


def datum_of(record: Any) -> tuple[Any, bytes]:
    """The records of these topics are bare datums."""
    return SCHEMA, record.value


def check(value: bytes | None) -> None:
    """Every one of them is exactly one."""


class ServerScene(Scene):
    """`refused` are numbers whose row a server refuses."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        super().__init__(bootstrap, partitions)
        self.table = msgspec.structs.replace(TABLE, topics=(self.topic,))
        self.refused: set[int] = set()

    def value(self, number: int) -> bytes:
        return datum(number, parsed="no number" if number in self.refused else "7")

    def datum_of(self, record: Any) -> tuple[Any, bytes]:
        return datum_of(record)

    def check_value(self, value: bytes | None) -> None:
        check(value)


class Look:
    """Into a server's table, past any proxy."""

    def __init__(self, server: ClickHouseServer) -> None:
        self.engine = Server(address_of(server.url))

    def begin(self, ddl: str) -> None:
        """An empty table, merges held still."""
        for statement in ("CREATE DATABASE IF NOT EXISTS unjoin", "DROP TABLE IF EXISTS unjoin.contract", ddl):
            self.engine._run(statement)
        self.hold_merges()

    def hold_merges(self) -> None:
        """Until the server ends."""
        self.engine._run("SYSTEM STOP MERGES")

    def stored(self) -> Counter[int]:
        """Numbers of every physical row."""
        rows, _ = self.engine._run("SELECT -number FROM unjoin.contract")
        return Counter(number for (number,) in rows)

    def final(self) -> int:
        """Rows as analysts see them."""
        rows, _ = self.engine._run("SELECT count() FROM unjoin.contract FINAL")
        return int(rows[0][0])

    async def rows(self) -> int:
        """How many there are physically."""
        return (await asyncio.to_thread(self.stored)).total()

    def close(self) -> None:
        self.engine.close()


class SinkOfServer(msgspec.Struct, frozen=True, kw_only=True):
    """A sink process of one table and one server; it migrates nothing, for old servers know not every type."""

    bootstrap: str
    url: str
    topic: str
    group: str
    rows_max: int = 500
    bytes_max: int = 33_554_432
    ms_max: int = 50
    session_timeout_ms: int = 6_000
    answer_seconds_max: float = 120.0


async def run(config: SinkOfServer) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    engine = Server(address_of(config.url), answer_seconds_max=config.answer_seconds_max)
    dead_letters = DeadLetterProducer(config.bootstrap, lambda topic: f"{topic}.dead")
    consumer = TableConsumer(
        msgspec.structs.replace(TABLE, topics=(config.topic,)),
        engine,
        consumer_config(
            config.bootstrap,
            block_limits(rows_max=config.rows_max, bytes_max=config.bytes_max, ms_max=config.ms_max),
            config.group,
            session_timeout_ms=config.session_timeout_ms,
        ),
        datum_of=datum_of,
        check=check,
        dead_letters=dead_letters,
    )
    consuming = asyncio.create_task(consumer.run())
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait([consuming, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    consumer.stop()
    await consuming
    await dead_letters.close()
    engine.close()


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    quieten("aiokafka")
    quieten("clickhouse_driver", logging.ERROR)
    asyncio.run(run(msgspec.json.decode(sys.argv[1], type=SinkOfServer)))


if __name__ == "__main__":
    main()
