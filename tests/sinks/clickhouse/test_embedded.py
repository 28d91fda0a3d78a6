"""The embedded engine: whole blocks, only what is missing, one owner."""

import copy
import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import fastavro
import msgspec
import pytest

from schemas.outcomes import DecodeError
from schemas.registry import latest
from sinks.clickhouse.embedded import Embedded
from sinks.engine import Block, EngineError, Refused
from sinks.rows.tables import LABELS, SIGNALS, check, value_schema
from testkit.sink_records import NOW_MS, encoded, label, labels, record, signal, signals
from tests.sinks.killed_inserts import ROWS

ROOT = Path(__file__).parents[3]


def count(engine: Embedded, table: str) -> int:
    return int(engine.select(f"SELECT count() FROM unjoin.{table}", "TSV"))


def test_a_row_arrives_as_it_was_sent(engine: Embedded) -> None:
    row = signal(1, event_id="é\0'\\", t=[0.1, 1e300], x=[-0.0, 5e-324], z=[1.0], force=[], t_up=[2.5], ts=0)
    engine.insert(signals([row]))
    stored = json.loads(engine.select("SELECT * EXCEPT (received_at, at) FROM unjoin.signals"))
    assert stored == {name: value for name, value in row.items() if name != "received_at"} | {"sent_at": 0}
    times = engine.select("SELECT toUnixTimestamp64Milli(received_at), time FROM unjoin.signals", "TSV")
    assert times == b"%d\t1970-01-01 00:00:00.000\n" % (NOW_MS + 1)


@pytest.mark.usefixtures("unmerged")
def test_a_block_is_one_part_however_large(engine: Embedded) -> None:
    """The engine writes a part whole or not at all; two parts could be half a block after a kill."""
    one = signals([signal(1)])
    datums = [one.datums[0].replace(b"e-00000001", b"e-%08d" % number) for number in range(150_000)]
    engine.insert(msgspec.structs.replace(one, end=150_000, datums=datums))
    parts = engine.select(
        "SELECT rows FROM system.parts WHERE database = 'unjoin' AND table = 'signals' AND active", "TSV"
    )
    assert parts == b"150000\n"


@pytest.mark.parametrize("row_id", [b"beagle-no-uuid", b"beagle\xff\xfe\x80uuid!"], ids=["text", "no UTF-8"])
def test_a_refused_block_stores_none_of_its_rows_and_names_none_of_their_values(
    engine: Embedded, row_id: bytes
) -> None:
    """The consumer bisects after a refusal: what had been stored would then be stored twice."""
    bad = label(2, "t", "a")
    block = labels([label(1, "t", "a"), bad, label(3, "t", "a")])
    schema = latest("labels.deidentified-value").parsed
    text = copy.deepcopy(schema)
    text["fields"][0]["type"] = "string"
    datums = [
        block.datums[0],
        encoded(text, {**bad, "row_id": "beagle-no-uuid"}).replace(b"beagle-no-uuid", row_id),
        block.datums[2],
    ]
    with pytest.raises(Refused) as raised:
        engine.insert(Block(LABELS, block.topic, 0, 0, 3, schema, datums))
    assert "376" in str(raised.value) or (sys.version_info < (3, 11, 4) and "117" in str(raised.value))
    assert "beagle" not in str(raised.value)
    assert raised.value.__context__ is None
    assert count(engine, "labels") == 0


def _damaged(chance: random.Random, datum: bytes) -> bytes:
    """Bytes changed, left out, doubled or put in, once or twice."""
    made = bytearray(datum)
    for _ in range(chance.choice([1, 1, 2])):
        at, size = chance.randrange(len(made)), chance.choice([0, 1, 1, 2, 9])
        bytes_in = chance.choice([b"", chance.randbytes(size), bytes(made[at : at + size]) * 2, b"\x80" * size + b"\0"])
        made[at : at + size] = bytes_in
    return bytes(made)


@pytest.mark.slow
@pytest.mark.usefixtures("unmerged")
@pytest.mark.parametrize("seed", range(4))
def test_engine_and_check_agree_what_a_datum_is(engine: Embedded, seed: int) -> None:
    """A row that is stored and set aside, or neither: the engine looks first, and the check after it."""
    chance = random.Random(seed)
    good = record(SIGNALS.topics[0], signal(1, t=[0.5] * seed, x=[1.5] * seed, y=[0.0] * seed * 40)).value
    assert good is not None
    schema = value_schema(latest("events.signals-value").id)
    kept = 0
    for _ in range(80):
        value = good[:5] + _damaged(chance, good[5:])
        try:
            check(SIGNALS, value)
        except DecodeError:
            with pytest.raises(Refused):
                engine.insert(Block(SIGNALS, SIGNALS.topics[0], 0, 0, 2, schema, [value, good]))
        else:
            engine.insert(Block(SIGNALS, SIGNALS.topics[0], 0, 0, 2, schema, [value, good]))
            kept += 1
    assert 5 < kept < 75
    assert count(engine, "signals") == 2 * kept


@pytest.mark.usefixtures("unmerged")
def test_only_the_missing_rows_are_inserted(engine: Embedded) -> None:
    """After an unknown outcome the same range is read again, whatever part of it is stored."""
    rows = [signal(number) for number in range(1_000)]
    stored = random.Random(1).sample(rows, 400)
    engine.insert(signals(stored))
    assert engine.insert_missing(signals(rows)) == 600
    assert engine.insert_missing(signals(rows)) == 0
    assert count(engine, "signals") == 1_000


def test_a_newer_version_of_a_stored_vote_is_missing(engine: Embedded) -> None:
    """The version belongs to the key of the anti-join, or a replaced vote would be lost after a restart."""
    engine.insert(labels([label(1, "t", "a", 1)]))
    assert engine.insert_missing(labels([label(1, "t", "a", 1), label(1, "t", "b", -1)])) == 1
    assert engine.select("SELECT answer FROM unjoin.labels FINAL", "TSV") == b"b\n"


@pytest.mark.usefixtures("unmerged")
def test_a_block_that_was_inserted_before_is_inserted_again_when_asked(engine: Embedded) -> None:
    """No deduplication window decides what is stored: one that outlives a merge or a kill swallows rows."""
    engine.insert(signals([signal(1)]))
    engine.insert(signals([signal(1)]))
    assert count(engine, "signals") == 2
    assert engine.select("SELECT count() FROM unjoin.signals FINAL", "TSV") == b"1\n"


def test_of_two_copies_of_an_event_the_one_received_last_stays(engine: Embedded) -> None:
    """A client sends again what it could not hear the answer to; the id makes it one row."""
    engine.insert(signals([signal(1, received_at=NOW_MS + 9), signal(1, received_at=NOW_MS)]))
    row = engine.select("SELECT count(), max(toUnixTimestamp64Milli(received_at)) FROM unjoin.signals FINAL", "TSV")
    assert row == b"1\t%d\n" % (NOW_MS + 9)


def test_the_same_event_id_on_two_sites_is_two_events(engine: Embedded) -> None:
    engine.insert(signals([signal(1), signal(1, site="other")]))
    assert engine.select("SELECT count() FROM unjoin.signals FINAL", "TSV") == b"2\n"


def test_a_datum_of_an_older_schema_reads_with_the_default_of_what_came_later(engine: Embedded) -> None:
    """Records wait on their topic for days, across a deployment."""
    older = copy.deepcopy(latest("events.signals-value").parsed)
    older["fields"] = [field for field in older["fields"] if field["name"] not in ("force", "t_up")]
    datum = encoded(fastavro.parse_schema(older), signal(1))
    engine.insert(Block(SIGNALS, SIGNALS.topics[0], 0, 0, 1, older, [datum]))
    assert engine.select("SELECT force, t_up, x FROM unjoin.signals", "TSV") == b"[]\t[]\t[1.5,1]\n"


def test_writers_and_readers_of_many_threads_share_the_engine(engine: Embedded) -> None:
    """A sink has a thread a table, and port 8123 has its own."""
    failures: list[BaseException] = []

    def guarded(work: object) -> None:
        try:
            assert callable(work)
            work()
        except BaseException as error:
            failures.append(error)

    def write(first: int) -> None:
        for start in range(first, first + 2_000, 200):
            engine.insert(signals([signal(number) for number in range(start, start + 200)]))

    def read() -> None:
        for _ in range(40):
            engine.read("SELECT count() FROM signals", "TSV", {"final": "1", "readonly": "1"})

    works = [*(lambda n=n: write(n * 2_000) for n in range(3)), read, read]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert count(engine, "signals") == 6_000


def test_a_block_leaves_no_memory_file_behind(engine: Embedded) -> None:
    engine.insert(signals([signal(0)]))
    assert [name for name in _open_files() if "memfd:block" in name] == []


def _open_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    return found


def test_a_second_process_is_told_who_has_the_directory(embedded: Embedded) -> None:
    code = (
        "import sys; from pathlib import Path; from sinks.clickhouse.embedded import Embedded\n"
        "try: Embedded(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    directory = str(embedded.directory)
    command = [sys.executable, "-c", code, directory]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("EngineError another process has")
    assert done.stderr == ""  # where the engine itself would say its own


def test_a_second_directory_in_one_process_is_refused(embedded: Embedded, tmp_path: Path) -> None:
    """The engine itself would only say that it is initialized."""
    assert embedded.directory != tmp_path
    with pytest.raises(EngineError, match="needs a process of its own"):
        Embedded(tmp_path)


@pytest.mark.slow
def test_killed_in_the_middle_of_inserts_no_row_is_lost_or_doubled(tmp_path: Path) -> None:
    """What the protocol stands on: of the block that was under way, the missing rows are found, and only they."""
    rng = random.Random(int(os.environ.get("UNJOIN_TEST_SEED", "11")))
    stored = -1
    for _ in range(4):
        command = [sys.executable, "-m", "tests.sinks.killed_inserts", str(tmp_path / "data"), str(stored + 1)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            assert child.stdout is not None
            lines = rng.randint(1, 12)
            for line in child.stdout:
                stored = int(line)
                lines -= 1
                if lines == 0:
                    break
            # Somewhere within the next insert, which takes some 10 ms.
            threading.Event().wait(rng.random() * 0.02)
            child.kill()
            stored = max([stored, *map(int, child.stdout.read().split())])
    code = (
        "import sys; from pathlib import Path; from sinks.clickhouse.embedded import Embedded\n"
        "from tests.sinks.killed_inserts import block_numbered\n"
        "engine = Embedded(Path(sys.argv[1])); engine.insert_missing(block_numbered(int(sys.argv[2])))\n"
        "print(engine.select('SELECT count(), uniqExact(event_id) FROM signals', 'TSV').decode()); engine.close()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data"), str(stored + 1)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    rows = (stored + 2) * ROWS
    assert done.stdout.split() == [str(rows), str(rows)]
