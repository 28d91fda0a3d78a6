"""What only a server can do to its client: go away, come back, refuse the password."""

import threading

import pytest

from sinks.clickhouse.address import AddressError, address_of
from sinks.clickhouse.server import Server
from sinks.engine import EngineError, Unknown
from testkit.clickhouse_server import PASSWORD, AnyServer, ClickHouseServer, missing
from testkit.contract_table import DDL, block_of, row
from tests.contract.test_engine_contract import Tried, expected
from unjoin.query import run_query
from unjoin.settings import Settings


@pytest.fixture
def killable(tmp_path_factory: pytest.TempPathFactory) -> ClickHouseServer:
    """A server to be killed."""
    if reason := missing():
        pytest.skip(reason)
    return ClickHouseServer(tmp_path_factory.mktemp("clickhouse-server"))


@pytest.mark.server
def test_killed_server_is_an_unknown_outcome_and_is_repaired_when_it_is_back(killable: ClickHouseServer) -> None:
    """The same engine object goes on: a sink does not restart because its server did."""
    killable.start()
    engine = Server(address_of(killable.url))
    try:
        for statement in ("CREATE DATABASE unjoin", DDL, "SYSTEM STOP MERGES"):
            engine.run(statement)
        engine.insert(block_of(*map(row, range(10))))
        killable.kill()
        for _ in range(2):
            with pytest.raises(Unknown) as raised:
                engine.insert(block_of(*map(row, range(10, 20))))
            assert PASSWORD not in str(raised.value)
            assert raised.value.__context__ is None
        killable.start()
        engine.run("SYSTEM STOP MERGES")
        assert engine.insert_missing(block_of(*map(row, range(20)))) == 10
        assert Tried(engine).stored() == expected(*range(20))
    finally:
        engine.close()
        killable.stop()


@pytest.mark.server
def test_server_killed_in_the_middle_of_inserts_leaves_every_row_once(killable: ClickHouseServer) -> None:
    """Some of them are stored and not acknowledged, some neither; the anti-join sorts it out."""
    killable.start()
    engine = Server(address_of(killable.url))
    blocks, unknown = [], []
    try:
        for statement in ("CREATE DATABASE unjoin", DDL):
            engine.run(statement)
        killer = threading.Timer(0.3, killable.kill)
        killer.start()
        while len(unknown) < 3:
            block = block_of(*map(row, range(200 * len(blocks), 200 * len(blocks) + 200)))
            blocks.append(block)
            try:
                engine.insert(block)
            except Unknown:
                unknown.append(block)
        killer.join()
        killable.start()
        for block in unknown:
            engine.insert_missing(block)
        assert Tried(engine).stored() == expected(*range(200 * len(blocks)))
    finally:
        engine.close()
        killable.stop()


@pytest.mark.server
def test_wrong_password_is_waited_out_and_never_shown(killable: ClickHouseServer) -> None:
    """No row's fault: setting rows aside for it would drain the topic."""
    killable.start()
    try:
        engine = Server(address_of(killable.url.replace("p%40ss%3Aw%2Frd", "other-secret")))
        with pytest.raises(Unknown) as raised:
            engine.insert(block_of(row(1)))
        assert "secret" not in str(raised.value)
        with pytest.raises(EngineError):
            engine.select("SELECT 1 AS one")
        engine.close()
    finally:
        killable.stop()


@pytest.mark.server
def test_closing_ends_a_call_that_waits(killable: ClickHouseServer) -> None:
    """A stopping sink must not wait two minutes for an answer."""
    killable.start()
    try:
        engine = Server(address_of(killable.url))
        ended = threading.Event()

        def ask() -> None:
            try:
                engine.select("SELECT sleep(3) AS slept")
            except EngineError:
                ended.set()

        asking = threading.Thread(target=ask)
        asking.start()
        while not engine._connections._busy or not engine._connections._busy[0].connection.connected:
            asking.join(0.01)
        engine.close()
        asking.join(2)
        assert ended.is_set()
    finally:
        killable.stop()


@pytest.mark.server
def test_select_speaks_the_formats_it_names(killable: ClickHouseServer) -> None:
    """The native protocol has none; `unjoin query` needs some."""
    killable.start()
    try:
        engine = Server(address_of(killable.url))
        sql = "SELECT 1 AS one, 'a\\tb' AS text, [1, 2] AS list, toDateTime('2026-01-02 03:04:05') AS at"
        assert engine.select(sql) == b'{"one":1,"text":"a\\tb","list":[1,2],"at":"2026-01-02 03:04:05"}\n'
        assert engine.select(sql, "TabSeparatedWithNames") == (
            b"one\ttext\tlist\tat\n1\ta\\tb\t[1, 2]\t2026-01-02 03:04:05\n"
        )
        exported = (
            "SELECT 2 / 3, toUInt64(18446744073709551615), toDate('2026-01-02'), CAST(NULL AS Nullable(Date)), 'a\\0b'"
        )
        assert engine.select(exported, "TabSeparated") == (
            b"0.6666666666666666\t18446744073709551615\t2026-01-02\t\\N\ta\0b\n"
        )
        with pytest.raises(EngineError):
            engine.select(sql, "Parquet")
        engine.close()
    finally:
        killable.stop()


def test_address_is_read_from_a_url() -> None:
    """Escapes and defaults."""
    address = address_of("clickhouse://me:p%40ss%3Aw%2Frd@db.example:9001/unjoin")
    assert (address.host, address.port, address.user, address.password) == ("db.example", 9001, "me", PASSWORD)
    assert (address_of("clickhouse://db").port, address_of("clickhouses://db").port) == (9000, 9440)
    assert PASSWORD not in repr(address)
    assert "p%40ss" not in repr(address)


def test_address_of_replicas_is_read_from_a_url() -> None:
    """Each host with its port, or with that of the URL's kind."""
    address = address_of("clickhouses://me:p%2C%40@one,two:9001,[::1]/unjoin", cluster="c", ca="/ca.pem")
    assert address.hosts == (("one", 9440), ("two", 9001), ("::1", 9440))
    assert (address.user, address.password, address.ca, address.secure) == ("me", "p,@", "/ca.pem", True)
    assert address_of("ClickHouse://[::1]:9001,two", cluster="c").hosts == (("::1", 9001), ("two", 9000))


@pytest.mark.parametrize(
    ("url", "files", "text"),
    [
        ("clickhouse://h", {"ca": "ca.pem"}, "no effect unless UNJOIN_CLICKHOUSE_URL begins with clickhouses://"),
        ("clickhouses://h", {"certificate": "c.pem"}, "need each other"),
        ("clickhouse://h,i", {}, "names several hosts: name their cluster in UNJOIN_CLICKHOUSE_CLUSTER"),
    ],
)
def test_what_does_not_go_together_is_refused(url: str, files: dict[str, str], text: str) -> None:
    """TLS that is believed to be on, and hosts that would hold rows of their own each."""
    with pytest.raises(AddressError, match=text):
        address_of(url, **files)


@pytest.mark.parametrize(
    "url",
    ["clickhouse://u:secret@h,/unjoin", "clickhouse://u:secret@h:1,i:port/unjoin", "", "http://u:secret@h/unjoin",
     "clickhouse://u:secret@/unjoin", "clickhouse://u:secret@h:port/unjoin",
     "clickhouse://u:secret@h:70000/unjoin", "clickhouse://u:secret@h/other", "clickhouse://u:secret@h/unjoin?x=1"],
)  # fmt: skip
def test_url_that_cannot_be_used_is_named_without_being_shown(url: str) -> None:
    """It holds a password."""
    with pytest.raises(AddressError) as raised:
        address_of(url)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.server
def test_plain_table_name_gives_each_row_once_also_to_the_user_that_writes(
    server: AnyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """`unjoin query` and `unjoin export` ask through the sink's URL, whose profile sets no `final`."""
    engine = Server(address_of(server.url))
    try:
        for statement in ("CREATE DATABASE IF NOT EXISTS unjoin", "DROP TABLE IF EXISTS unjoin.contract", DDL):
            engine.run(statement)
        engine.run("SYSTEM STOP MERGES")
        for _ in range(2):
            engine.insert(block_of(row(1)))
        assert engine.select("SELECT count() FROM unjoin.contract", "TabSeparated") == b"1\n"
        assert engine.select("SELECT count() FROM unjoin.contract", "TabSeparated", final=False) == b"2\n"
        sql, value = "SELECT count(), {word:String} FROM contract", {"word": "it's\\ a\tword"}
        run_query(Settings(clickhouse_url=server.url), sql, "TSV", value)
        assert capsys.readouterr().out == "1\tit's\\\\ a\\tword\n"
    finally:
        engine.close()
