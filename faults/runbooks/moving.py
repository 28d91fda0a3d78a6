"""From one host to brokers and a server elsewhere: new topics and tables, and rows that are copied."""

import tempfile
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from faults.runbooks.roles import Roles
from faults.runbooks.stack import SECONDS_MAX, DrilledStack
from testkit.clickhouse_server import PASSWORD, ClickHouseServer
from testkit.kafka_node import kafka_home

COPIED = ("signals", "analytics", "personal", "labelers", "labels")


def one_host_to_cluster(_: str) -> str:
    """docs/runbooks/one-host-to-cluster.md, to one broker and one server: their number changes no command."""
    with tempfile.TemporaryDirectory(prefix="drill-moving-") as folder, ExitStack() as stopping:
        old = DrilledStack(kafka_home(), Path(folder) / "old")
        _start(old, stopping)
        old.load()
        old.audited()
        (Path(folder) / "server").mkdir()
        server = ClickHouseServer(Path(folder) / "server")
        server.start()
        stopping.callback(server.stop)
        began = datetime.now(UTC).isoformat()
        new = Roles(kafka_home(), Path(folder) / "new", UNJOIN_CLICKHOUSE_URL=server.url)
        new.clickhouse_port = server.http_port
        _start(new, stopping)
        new.ok("migrate")
        new.load()
        new.audited()
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


def _start(stack: DrilledStack, stopping: ExitStack) -> None:
    stopping.callback(stack.node.stop)
    stack.node.start()
    stopping.callback(stack.stop)
    stack.start()


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
