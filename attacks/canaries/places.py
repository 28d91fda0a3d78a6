"""Where canaries are looked for: every place that holds none of them, and those that must."""

import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, TopicPartition

from attacks.canaries.needles import gathered, inflated
from attacks.canaries.posting import CanaryError
from schemas.dead_letters import origin_of
from schemas.topics import DEIDENTIFIED
from testkit.running_stack import RunningStack

READ_S_MAX = 60.0
ROWS_MAX = 100_000


class Message(msgspec.Struct, frozen=True):
    """A record as a stock client reads it."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    def pieces(self) -> Iterator[bytes | None]:
        """Every byte of it that somebody chose."""
        yield self.key
        yield self.value
        for name, value in self.headers:
            yield name.encode()
            yield value


class Place(msgspec.Struct, frozen=True):
    """One place.

    Attributes:
        expected: the tags of the canaries that belong there; empty for a place that may hold none.
        may_be_empty: there may be nothing to search; elsewhere that means that the search was blind.
    """

    name: str
    chunks: Iterable[bytes]
    expected: frozenset[str] = frozenset()
    may_be_empty: bool = False


def messages(bootstrap: str, topic: str) -> Iterator[Message]:
    """Every record that a topic holds now."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": f"canaries-{uuid.uuid4().hex}",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 10,
        "log_level": 0,
    }
    consumer = Consumer(settings)
    try:
        numbers = consumer.list_topics(topic, timeout=READ_S_MAX).topics[topic].partitions
        partitions = [TopicPartition(topic, number, 0) for number in numbers]
        left = sum(consumer.get_watermark_offsets(one, timeout=READ_S_MAX)[1] for one in partitions)
        consumer.assign(partitions)
        while left:
            read = consumer.consume(min(left, 10_000), timeout=READ_S_MAX)
            if not read:
                raise CanaryError(f"Kafka does not hand out what {topic} holds")
            left -= len(read)
            for one in read:
                if one.error() is not None:
                    raise CanaryError(f"Kafka does not hand out what {topic} holds")
                headers: Any = one.headers() or []
                yield Message(one.key(), one.value(), headers)
    finally:
        consumer.close()


def record_bytes(bootstrap: str, topic: str) -> Iterator[bytes]:
    """Keys, values and headers of a topic."""
    return gathered(piece for message in messages(bootstrap, topic) for piece in message.pieces())


def letters_of_released(bootstrap: str, topic: str) -> Iterator[bytes]:
    """What was set aside from the released topic."""
    for message in messages(bootstrap, topic):
        origin = origin_of(message.headers)
        if origin is not None and origin.topic == DEIDENTIFIED:
            yield from (piece for piece in message.pieces() if piece)


def file_bytes(files: Iterable[Path]) -> Iterator[bytes]:
    """Files as they are, names included."""
    for file in files:
        yield str(file).encode()
        yield file.read_bytes()


def inflated_bytes(files: Iterable[Path]) -> Iterator[bytes]:
    """Files of ClickHouse without their compression; of other kinds, nothing."""
    for file in files:
        plain = inflated(file.read_bytes())
        if plain is not None:
            yield plain


def files_below(*folders: Path) -> list[Path]:
    """Every regular file in there."""
    return sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())


def table_bytes(stack: RunningStack, sql: str) -> bytes:
    """The rows of a query in binary; of labels without those that were replaced, which lie in the table's files."""
    parameters = {"database": "unjoin", "default_format": "RowBinary"}
    url = f"http://127.0.0.1:{stack.clickhouse_port}/?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(urllib.request.Request(url, sql.encode()), timeout=READ_S_MAX) as answer:
        body: bytes = answer.read()
    return body


def table_folders(stack: RunningStack, table: str) -> list[Path]:
    """Where a table has its files."""
    (row,) = stack.rows(f"SELECT data_paths FROM system.tables WHERE database = 'unjoin' AND name = '{table}'")
    return [stack.data_dir.resolve() / "clickhouse" / path for path in row["data_paths"]]


def system_tables(stack: RunningStack) -> dict[str, bytes]:
    """Every table of the engine's own that an analyst can read, in binary."""
    sql = "SELECT name FROM system.tables WHERE database = 'system' AND name NOT IN ('zeros', 'zeros_mt', 'numbers_mt')"
    found = {}
    for row in stack.rows(sql):
        try:
            found[row["name"]] = table_bytes(stack, f"SELECT * FROM system.`{row['name']}` LIMIT {ROWS_MAX}")
        except urllib.error.HTTPError as error:
            error.read()
    return found
