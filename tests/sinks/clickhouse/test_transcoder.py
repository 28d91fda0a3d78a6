"""Avro datums in, one block of ClickHouse's Native format out."""

import threading
from pathlib import Path

import msgspec
import pytest

from sinks.blocks import native
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.statements import literal
from sinks.clickhouse.transcoder import Transcoder, shape_of
from sinks.engine import Refused, Unknown
from sinks.rows.tables import SIGNALS
from testkit.sink_records import signal, signals

COMPILED = pytest.mark.skipif(native.native is None, reason="_native.c was not compiled: there is no compiler")


@pytest.fixture(params=["by the engine", pytest.param("compiled", marks=COMPILED)])
def transcoder(engine: Embedded, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Transcoder:
    """On the engine that this process has already."""
    if request.param != "compiled":
        monkeypatch.setattr(native, "native", None)
    return Transcoder(engine.directory)


def test_block_reads_back_as_the_rows_it_was_made_of(engine: Embedded, transcoder: Transcoder, tmp_path: Path) -> None:
    """The engine that reads it is not the one that wrote it, on a server; here it stands for that one."""
    block = signals([signal(n) for n in range(1_000)])
    made = transcoder.native(block)
    assert shape_of(made) == (len(SIGNALS.columns), 1_000)
    (tmp_path / "block.native").write_bytes(made)
    file = literal(str(tmp_path / "block.native"))
    engine.insert(block)
    names = ", ".join(name for name, _, _ in SIGNALS.columns)
    for one, other in (("unjoin.signals", f"file({file}, Native)"), (f"file({file}, Native)", "unjoin.signals")):
        missing = engine.select(f"SELECT {names} FROM {one} EXCEPT SELECT {names} FROM {other}", "TabSeparated")
        assert missing == b""


def test_rows_of_many_thousand_are_one_block(transcoder: Transcoder) -> None:
    """A packet of a server's protocol holds one; the engine's own habit is 65,409 rows."""
    block = signals([signal(1)])
    block = msgspec.structs.replace(block, datums=list(block.datums) * 150_000)
    assert shape_of(transcoder.native(block)) == (len(SIGNALS.columns), 150_000)


def test_bytes_that_are_no_datum_are_refused_without_being_shown(transcoder: Transcoder) -> None:
    """Refused means: no row of it went anywhere, so its halves may be tried."""
    block = signals([signal(1)])
    broken = msgspec.structs.replace(block, datums=[*block.datums, b"\x0csecret\xff\xff"])
    with pytest.raises(Refused) as raised:
        transcoder.native(broken)
    assert "secret" not in str(raised.value)
    assert raised.value.__context__ is None


def test_closed_transcoder_is_an_unknown_outcome(transcoder: Transcoder) -> None:
    """Of a stopping sink; whoever comes next completes the range."""
    transcoder.native(signals([signal(1)]))
    transcoder.close()
    with pytest.raises(Unknown) as raised:
        transcoder.native(signals([signal(1)]))
    assert raised.value.__context__ is None


def test_blocks_from_many_threads_do_not_mix(transcoder: Transcoder) -> None:
    """A thread a partition, one engine."""
    blocks = [signals([signal(n)] * (n + 1)) for n in range(8)]
    expected = [transcoder.native(block) for block in blocks]
    found: dict[int, bytes] = {}

    def transcode(number: int) -> None:
        found[number] = transcoder.native(blocks[number])

    threads = [threading.Thread(target=transcode, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(8)] == expected
