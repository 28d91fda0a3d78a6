"""Rows that the embedded engine refuses, through a real broker."""

import asyncio
import copy
import json
from functools import partial
from typing import Any

import fastavro
import msgspec
import pytest

from schemas.registry import latest
from sinks.clickhouse.embedded import Embedded
from sinks.kafka.consumer import TableConsumer
from sinks.rows.tables import LABELS, check, reader_of
from testkit.sink_configs import block_limits, consumer_config
from testkit.sink_environment import SinkEnvironment
from testkit.sink_records import encoded, label

pytestmark = pytest.mark.kafka

LIMITS = block_limits(rows_max=64, bytes_max=1_000_000, ms_max=50)
SUBJECT = "labels.deidentified-value"


class LabelSinkEnvironment(SinkEnvironment):
    """Labels; `refused` are numbers whose row id is no UUID, which is a string to Avro all the same."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        super().__init__(bootstrap, partitions)
        self.table = msgspec.structs.replace(LABELS, topics=(self.topic,))
        self.refused: set[int] = set()
        schema = latest(SUBJECT)
        self._id = schema.id
        self._text: Any = copy.deepcopy(schema.parsed)
        self._text["fields"][0]["type"] = "string"

    def value(self, number: int) -> bytes:
        row = label(number, f"task-{number % 7}", f"answer-{number}")
        if number in self.refused:
            row["row_id"] = f"nobody's {number}"
        return b"\0" + self._id.to_bytes(4) + encoded(fastavro.parse_schema(self._text), row)


@pytest.mark.usefixtures("unmerged")
def test_rows_that_the_engine_refuses_are_found_and_set_aside_alone(bootstrap: str, engine: Embedded) -> None:
    """One bad row costs a bisection under smaller intents, a neighbour none, and every other row is there once."""

    async def play() -> None:
        async with LabelSinkEnvironment(bootstrap, partitions=1) as world:
            world.refused = {0, 41, 42, 199}
            await world.produce(200)
            consumer = TableConsumer(
                world.table,
                engine,
                consumer_config(bootstrap, LIMITS, world.group),
                marks=world.marks,
                datum_of=reader_of(world.table),
                check=partial(check, world.table),
                dead_letters=world.dead_letter_producer,
            )
            await world.run_until_drained(engine, consumer)
            letters = await world.dead_letters(len(world.refused))
            assert [letter.value for letter in letters] == [world.value(number) for number in sorted(world.refused)]
            assert {dict(letter.headers)["reason"] for letter in letters} == {b"refused"}
            stored = [json.loads(line)["answer"] for line in engine.select("SELECT answer FROM labels").splitlines()]
            kept = set(world.produced) - world.refused
            assert sorted(stored) == sorted(f"answer-{number}" for number in kept)

    asyncio.run(play())
