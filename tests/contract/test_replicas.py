"""Three replicas of one table: what was stored is stored once, whichever of them is asked, lags, or dies."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec
import pytest

from sinks.clickhouse import server as server_module
from sinks.clickhouse.comments import describe
from sinks.clickhouse.migrate import on_cluster
from sinks.clickhouse.server import Server
from sinks.engine import Unknown
from sinks.rows.dictionary import DICTIONARY
from testkit.clickhouse_replicas import CLUSTER, Replicas, missing
from testkit.contract_table import DDL, block
from testkit.fault_proxy import Fault, FaultProxy

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    if reason := missing():
        pytest.skip(reason)
    with Replicas(tmp_path_factory.mktemp("replicas")) as running:
        yield running


@pytest.fixture
def numbered(replicas: Replicas) -> Replicas:
    """With an empty table `contract`, which nothing merges."""
    replicas.run(f"DROP TABLE IF EXISTS unjoin.contract ON CLUSTER '{CLUSTER}' SYNC")
    replicas.run(on_cluster(DDL, CLUSTER))
    replicas.run(f"SYSTEM STOP MERGES ON CLUSTER '{CLUSTER}' unjoin.contract")
    return replicas


def stored(replicas: Replicas, number: int) -> Counter[int]:
    """Physical rows of a replica that has all that the others have."""
    replicas.ask(number, "SYSTEM SYNC REPLICA unjoin.contract LIGHTWEIGHT")
    return Counter(one for (one,) in replicas.ask(number, "SELECT -number FROM unjoin.contract"))


@contextmanager
def lagging(replicas: Replicas, number: int) -> Iterator[None]:
    """This replica gets nothing of what the others store."""
    replicas.ask(number, "SYSTEM STOP FETCHES unjoin.contract")
    try:
        yield
    finally:
        replicas.ask(number, "SYSTEM START FETCHES unjoin.contract")


def test_every_table_is_replicated_and_migrating_again_changes_nothing(replicas: Replicas) -> None:
    """One table that is not would hold rows of one replica alone."""
    kinds = "SELECT name, engine FROM system.tables WHERE database = 'unjoin' AND engine LIKE '%MergeTree'"
    tables = dict(replicas.ask(0, kinds))
    assert {"signals", "labels", "migrations", "sink_marks"} <= tables.keys()
    assert {kind for name, kind in tables.items()} == {"ReplicatedReplacingMergeTree"}
    assert dict(replicas.ask(2, kinds)) == tables
    columns = "SELECT table, name, type FROM system.columns WHERE database = 'unjoin' ORDER BY ALL"
    assert replicas.ask(0, columns) == replicas.ask(2, columns)
    with closing(Server(replicas.address(2, 0))) as engine:
        engine.migrate()

        def run(sql: str) -> bytes:
            return engine.select(sql) if sql.startswith("SELECT") else str(replicas.run(sql)).encode()

        describe(run, DICTIONARY, cluster=CLUSTER)
    silent = "SELECT table, name FROM system.columns WHERE database = 'unjoin' AND comment = ''"
    assert [replicas.ask(number, silent) for number in range(3)] == [[], [], []]


def test_repair_by_a_replica_that_lags_doubles_nothing(numbered: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would find rows missing that the others have. The second half shows that the setting is what helps."""
    with closing(Server(numbered.address(2, 0))) as engine, closing(Server(numbered.address(0))) as first:
        with lagging(numbered, 2):
            first.insert(block(0, 10))
            with pytest.raises(Unknown, match=r"289"):
                engine.insert_missing(block(0, 10))
            assert engine.insert_missing(block(0, 10)) == 0  # by the next one
        assert stored(numbered, 2) == Counter(range(10))
    monkeypatch.setitem(server_module.REPLICATED, "select_sequential_consistency", 0)
    with closing(Server(numbered.address(2))) as careless, closing(Server(numbered.address(0))) as first:
        with lagging(numbered, 2):
            first.insert(block(10, 20))
            assert careless.insert_missing(block(10, 20)) == 10
        assert stored(numbered, 0)[15] == 2


def test_insert_that_one_replica_finishes_late_is_dropped_where_another_has_repaired_it(numbered: Replicas) -> None:
    """Its bytes were on their way when the sink gave up on that replica."""
    with FaultProxy(numbered.servers[0].port) as proxy:
        slow = Server(msgspec.structs.replace(numbered.address(0), port=proxy.port), answer_seconds_max=2.0)
        with closing(slow), closing(Server(numbered.address(1))) as other:
            slow.insert(block(0, 5))
            proxy.once(lambda _request: Fault("hold"))
            with pytest.raises(Unknown):
                slow.insert(block(5, 15))
            assert other.insert_missing(block(5, 15)) == 10
            proxy.release()
            queries = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'"
            while numbered.ask(0, queries) != [(0,)]:
                pass
    assert stored(numbered, 0) == stored(numbered, 1) == Counter(range(15))


def test_token_that_outlived_its_rows_does_not_keep_them_away(numbered: Replicas) -> None:
    """Rows deleted on request, or lost, and read again from the log."""
    with closing(Server(numbered.address(0))) as engine:
        engine.insert(block(0, 10))
        numbered.run(f"SYSTEM START MERGES ON CLUSTER '{CLUSTER}' unjoin.contract")  # and mutations
        numbered.ask(0, "ALTER TABLE unjoin.contract DELETE WHERE 1 SETTINGS mutations_sync = 2, alter_sync = 2")
        assert stored(numbered, 0) == Counter()
        assert engine.insert_missing(block(0, 10)) == 10
        assert stored(numbered, 0) == Counter(range(10))


def test_killed_replica_costs_no_row_and_doubles_none(numbered: Replicas) -> None:
    """The one that the sink speaks to dies under inserts; the next goes on, and the dead one catches up."""
    with closing(Server(numbered.address(0, 1, 2), answer_seconds_max=20.0)) as engine:
        done = threading.Event()

        def fill() -> None:
            for first in range(0, 200, 10):
                try:
                    engine.insert(block(first, first + 10))
                except Unknown:
                    while True:
                        try:
                            engine.insert_missing(block(first, first + 10))
                            break
                        except Unknown:
                            continue
                if first == 50:
                    done.set()

        filling = threading.Thread(target=fill)
        filling.start()
        done.wait()
        numbered.servers[0].kill()
        filling.join()
        assert stored(numbered, 1) == Counter(range(200))
        numbered.servers[0].start()
    numbered.ask(0, "SYSTEM STOP MERGES unjoin.contract")
    assert stored(numbered, 0) == Counter(range(200))
