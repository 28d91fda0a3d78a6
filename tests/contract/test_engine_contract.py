"""One suite for every engine: a list in memory, chdb, and a server; the two with compiled code and without."""

import functools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sinks.blocks import native
from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from sinks.engine import Block, Engine, EngineError, Refused, Table
from testkit.contract_table import DDL, OLD_SCHEMA, TABLE, block_of, row
from tests.contract.memory_engine import MemoryEngine


class Tried:
    """An engine and how to look into its table."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def stored(self) -> Counter[tuple[str, int]]:
        """(id, number) of every physical row."""
        if isinstance(self.engine, MemoryEngine):
            return Counter((each["id"], each["number"]) for each in self.engine.rows.get("contract", []))
        answer = self.engine.select("SELECT id, toString(number) AS number FROM unjoin.contract SETTINGS final = 0")
        rows = [json.loads(line) for line in answer.splitlines()]
        return Counter((each["id"], int(each["number"])) for each in rows)


COMPILED = pytest.mark.skipif(native.native is None, reason="_native.c was not compiled: there is no compiler")
ENGINES = [
    "memory",
    "chdb",
    pytest.param("chdb-compiled", marks=COMPILED),
    pytest.param("server", marks=pytest.mark.server),
    pytest.param("server-compiled", marks=[pytest.mark.server, COMPILED]),
]


@pytest.fixture(params=ENGINES)
def tried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tried]:
    kind, _, compiled = request.param.partition("-")
    if not compiled:
        monkeypatch.setattr(native, "native", None)
    if kind == "memory":
        yield Tried(MemoryEngine(refuses=lambda each: not each["parsed"].isdecimal()))
        return
    if kind == "chdb":
        engine: Any = request.getfixturevalue("embedded")
    else:
        engine = Server(address_of(request.getfixturevalue("server").url))
    run = engine.select if kind == "chdb" else engine.run
    for statement in ("CREATE DATABASE IF NOT EXISTS unjoin", "DROP TABLE IF EXISTS unjoin.contract", DDL):
        run(statement)
    run("SYSTEM STOP MERGES unjoin.contract" if kind == "chdb" else "SYSTEM STOP MERGES")  # they would hide doubles
    yield Tried(engine)
    run("DROP TABLE unjoin.contract")  # the engine is shared, and other tests ask every table that there is
    if kind == "server":
        engine.close()


@functools.cache
def block_of_many(count: int) -> Block:
    """The same for every engine and every case: to encode it takes longer than to insert it."""
    return block_of(*map(row, range(count)))


def expected(*numbers: int) -> Counter[tuple[str, int]]:
    return Counter((row(number)["id"], -number) for number in numbers)


def test_insert_stores_every_row_of_the_block(tried: Tried) -> None:
    """Whatever the strings hold."""
    tried.engine.insert(block_of(*map(row, range(1_000))))
    assert tried.stored() == expected(*range(1_000))


def test_insert_missing_stores_only_what_is_not_there_and_says_how_much(tried: Tried) -> None:
    """The block was stored in part, or not, or whole; afterwards every row is there once."""
    tried.engine.insert(block_of(*map(row, range(0, 100, 2))))
    assert tried.engine.insert_missing(block_of(*map(row, range(100)))) == 50
    assert tried.engine.insert_missing(block_of(*map(row, range(100)))) == 0
    assert tried.stored() == expected(*range(100))


def test_insert_missing_on_an_empty_table_stores_all(tried: Tried) -> None:
    """The lost reply belonged to an insert that never began."""
    assert tried.engine.insert_missing(block_of(*map(row, range(10)))) == 10
    assert tried.stored() == expected(*range(10))


def test_version_is_part_of_what_tells_rows_apart(tried: Tried) -> None:
    """A replaced answer must not count as stored because an older one is."""
    tried.engine.insert(block_of(row(1, version=5)))
    assert tried.engine.insert_missing(block_of(row(1, version=5), row(1, version=-6))) == 1
    assert tried.stored() == Counter({(row(1)["id"], -1): 2})


def test_large_block_is_stored_whole(tried: Tried) -> None:
    """More rows than any engine's own idea of a block."""
    block = block_of_many(70_000)
    tried.engine.insert(block)
    assert tried.stored().total() == len(block.datums)


def test_datum_of_an_older_schema_gets_defaults(tried: Tried) -> None:
    """Records of yesterday's release are still on the topic."""
    if isinstance(tried.engine, MemoryEngine):
        return
    old = {name: value for name, value in row(1).items() if name != "samples"}
    tried.engine.insert(block_of(old, schema=OLD_SCHEMA))
    assert tried.stored() == expected(1)


def _string(size: int) -> bytes:
    """The head of one of so many bytes."""
    number, out = size << 1, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


WHOLE = block_of(row(7)).datums[0]
NO_DATUM = {
    "noise": b"\x0csecret\xff\xff",
    "nothing": b"",
    "cut short": WHOLE[:-1],
    "cut to its first byte": WHOLE[:1],
    "a byte behind it": WHOLE + b"\0",
    "two at once": WHOLE + WHOLE,
    "one and a half": WHOLE + WHOLE[: len(WHOLE) // 2],
    "a last string that goes on over the next datum": WHOLE[:-2] + _string(1 + 8 + len(WHOLE)) + b"7",
    "a string of 2 GiB": _string(2**31 - 1) + WHOLE,
    "a string of 1 TiB": _string(2**40) + WHOLE,
    "a string of a negative length": b"\x03" + WHOLE,
    "an array of 2^40 items": block_of(row(7, samples=[])).datums[0].replace(b"\0", _string(2**40), 1) + WHOLE,
    "a number without an end": b"\xff" * 64,
}


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("kind", NO_DATUM)
def test_what_is_not_exactly_one_datum_is_refused_and_takes_its_block_along(
    tried: Tried, kind: str, place: str
) -> None:
    """No row is forged and no neighbour eaten, wherever it lies and whatever it says of itself."""
    block = block_of_many(3_000)
    at = {"first": 0, "middle": 1_500, "last": 3_000}[place]
    broken = msgspec.structs.replace(block, datums=[*block.datums[:at], NO_DATUM[kind], *block.datums[at:]])
    for call in (tried.engine.insert, tried.engine.insert_missing):
        with pytest.raises(Refused) as raised:
            call(broken)
        assert "secret" not in str(raised.value)
        assert raised.value.__context__ is None
    assert not tried.stored()


def test_failure_on_a_missing_table_stores_nothing_and_shows_no_value(tried: Tried) -> None:
    """Its text goes to a log."""
    if isinstance(tried.engine, MemoryEngine):
        return
    nowhere = Table(name="nowhere", topics=("contract",), columns=TABLE.columns, key=TABLE.key)
    for call in (tried.engine.insert, tried.engine.insert_missing):
        with pytest.raises(EngineError) as raised:
            call(block_of(row(1, id="secret"), table=nowhere))
        assert "secret" not in str(raised.value)
        assert raised.value.__context__ is None
        assert raised.value.__cause__ is None
    assert not tried.stored()


def test_calls_from_many_threads_do_not_disturb_each_other(tried: Tried) -> None:
    """A thread a partition, all on one engine."""
    failed: list[Exception] = []

    def insert(partition: int) -> None:
        try:
            for first in range(100 * partition, 100 * partition + 50, 10):
                block = block_of(*map(row, range(first, first + 10)), partition=partition)
                tried.engine.insert(block)
                tried.engine.insert_missing(block)
        except Exception as error:  # shown below
            failed.append(error)

    threads = [threading.Thread(target=insert, args=(partition,)) for partition in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert tried.stored() == expected(
        *(number for start in range(100, 500, 100) for number in range(start, start + 50))
    )


def test_row_that_does_not_fit_is_refused_and_takes_its_block_along(tried: Tried) -> None:
    """Refused means: nothing of the block is stored, so its halves may be tried."""
    for call in (tried.engine.insert, tried.engine.insert_missing):
        with pytest.raises(Refused) as raised:
            call(block_of(row(1), row(2, parsed="secret"), row(3)))
        assert "secret" not in str(raised.value)
        assert raised.value.__context__ is None
    assert not tried.stored()
    tried.engine.insert(block_of(row(1), row(3)))
    assert tried.stored() == expected(1, 3)


def test_row_that_breaks_a_constraint_of_the_table_is_refused_and_takes_its_block_along(tried: Tried) -> None:
    """Tried again as it is, it would hold up its table for ever, and the alert of refused inserts would say nothing."""
    if isinstance(tried.engine, MemoryEngine):
        return
    run: Any = tried.engine.run if isinstance(tried.engine, Server) else tried.engine.select
    run("ALTER TABLE unjoin.contract ADD CONSTRAINT most CHECK number != -2")
    for call in (tried.engine.insert, tried.engine.insert_missing):
        with pytest.raises(Refused):
            call(block_of(row(1), row(2), row(3)))
    assert not tried.stored()
