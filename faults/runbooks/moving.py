"""From one host to three brokers and a ClickHouse server: new topics and tables, and rows that are copied."""

import tempfile
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from faults.runbooks.roles import Roles
from faults.runbooks.stack import SECONDS_MAX, DrilledStack
from testkit.clickhouse_server import PASSWORD, ClickHouseServer
from testkit.kafka_cluster import BROKERS, KafkaCluster
from testkit.kafka_node import kafka_home
from testkit.processes import wait_for

COPIED = ("signals", "analytics", "personal", "labelers", "labels")
LEFT = ("unjoin_spool_records", "unjoin_sink_lag", "unjoin_door_held_labels")


def one_host_to_cluster(_: str) -> str:
    """docs/runbooks/one-host-to-cluster.md."""
    with tempfile.TemporaryDirectory(prefix="drill-moving-") as folder, ExitStack() as stopping:
        old = DrilledStack(kafka_home(), Path(folder) / "old", UNJOIN_CROWD_MIN="1", UNJOIN_CROWD_TARGET="1")
        stopping.callback(old.node.stop)
        old.node.start()
        stopping.callback(old.stop)
        old.start()
        old.load()
        old.audited()
        cluster = KafkaCluster(kafka_home(), Path(folder) / "brokers")
        stopping.callback(cluster.stop)
        cluster.start()
        (Path(folder) / "server").mkdir()
        server = ClickHouseServer(Path(folder) / "server")
        stopping.callback(server.stop)
        server.start()
        began = datetime.now(UTC).isoformat()
        new = Roles(
            kafka_home(), Path(folder) / "new",
            UNJOIN_CLICKHOUSE_URL=server.url, UNJOIN_REPLICATION_FACTOR=str(BROKERS),
        )  # fmt: skip
        new.environment["UNJOIN_KAFKA_BOOTSTRAP"] = cluster.bootstrap
        stopping.callback(new.stop)
        new.start()
        new.load()
        new.audited()
        wait_for(lambda: not any(_left(old).values()), lambda: f"left on the old host: {_left(old)}", SECONDS_MAX)
        accepted = {table: _count(server, table) for table in COPIED}
        for _time in range(2):  # twice, as somebody does who was interrupted
            for table in COPIED:
                _copy(old, server, table)
                new.commands += 2
        wanted = {table: accepted[table] + old.count(f"SELECT count() FROM {table} FINAL") for table in COPIED}
        assert {table: _count(server, table) for table in COPIED} == wanted
        new.audited("--since", began)
        new.commands, new.audits = new.commands + old.commands, new.audits + old.audits
        return f"{sum(wanted.values()):,} rows there, {sum(accepted.values()):,} of them new; {new.tally}"


def _left(old: DrilledStack) -> dict[str, float]:
    """What the old host has still to do, by what its roles tell Prometheus."""
    lines = b"".join(old.metrics().values()).decode().splitlines()
    return {name: sum(float(line.split()[-1]) for line in lines if line.startswith(name)) for name in LEFT}


def _copy(old: DrilledStack, server: ClickHouseServer, table: str) -> None:
    select = quote(f"SELECT * FROM unjoin.{table} FORMAT Native")
    with urllib.request.urlopen(f"http://127.0.0.1:{old.clickhouse_port}/?query={select}", timeout=60) as answer:
        rows = answer.read()
    _ask(server, f"INSERT INTO unjoin.{table} FORMAT Native", rows)


def _count(server: ClickHouseServer, table: str) -> int:
    return int(_ask(server, f"SELECT count() FROM unjoin.{table} FINAL", b""))


def _ask(server: ClickHouseServer, sql: str, body: bytes) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.http_port}/?query={quote(sql)}", data=body,
        headers={"X-ClickHouse-User": "writer", "X-ClickHouse-Key": PASSWORD},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
        return bytes(answer.read())
