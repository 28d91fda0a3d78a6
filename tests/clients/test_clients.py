"""Port 8123 asked by stock ClickHouse clients, unchanged: each mode works, or ends with a sentence as the docs list."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from sinks.clickhouse.embedded import Embedded
from sinks.metrics import SinkMetrics
from testkit.http_interface import running_interface
from testkit.sink_records import label, labels
from tests.clients.programs import go_client, jdbc_client, node_client

ROOT = Path(__file__).parents[2]
LABELS = "SELECT count() FROM labels WHERE answer = 'a file'"
LONG = "x" * 200_000
# A mode's column in the documentation, and what must come of it, by the beginnings of its names below.
EXPECTED = {
    "defaults": "60",
    "bound": "60",
    "compression": "60",
    "long": {"5000", "200000"},
    "external": "45",
    "settings": "1",
    "tables": "True",
    "columns": "True",
    "types": "True",
}
COLUMNS = ("defaults", "compression", "long", "external", "settings")


@pytest.fixture(scope="module")
def port(embedded: Embedded) -> Iterator[int]:
    for table in ("signals", "labels"):
        embedded.select(f"TRUNCATE TABLE unjoin.{table}", "Null")
    embedded.insert(labels([label(number, f"task-{number % 6}", "a file") for number in range(60)]))
    with running_interface(embedded, SinkMetrics()) as port:
        yield port


@pytest.fixture(scope="module")
def said(port: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each client got, by the name that the documentation calls it."""
    return {
        "curl": curl(port),
        "clickhouse-connect": connect(port),
        "clickhouse-go": go_client(port),
        "@clickhouse/client": node_client(port),
        "clickhouse-jdbc": jdbc_client(port, tmp_path_factory.mktemp("jdbc")),
    }


def curl(port: int) -> dict[str, str]:
    """Everybody's first client; what it compresses and sends as a form it does by itself."""

    def ask(*options: str, **fields: str) -> str:
        url = f"http://127.0.0.1:{port}/?" + "&".join(f"{name}={value}" for name, value in fields.items())
        command = ["curl", "-sS", "--noproxy", "*", url, *options]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30, input=LONG
        ).stdout.strip()

    data = ["--data-binary"]
    return {
        "defaults": ask(*data, LABELS),
        "defaults by headers": ask(*data, "SELECT count() FROM labels", "-H", "X-ClickHouse-Database: unjoin"),
        "compression": ask(*data, LABELS, "--compressed"),
        "compression as servers want it": ask(*data, LABELS, "--compressed", enable_http_compression="1"),
        "bound": ask(*data, "SELECT count() FROM labels WHERE answer = {a:String}", param_a="a+file"),
        "long": ask("-F", "query=SELECT length({p:String})", "-F", "param_p=<-"),
        "external": ask(
            *("-F", "query=SELECT sum(a) FROM ext", "-F", "ext_structure=a UInt8, b String"),
            *("-F", "ext=44\tfile\n1\tx;filename=ext.tsv;type=text/plain"),
        ),
        "settings": ask(*data, "SELECT getSetting('max_threads')", max_threads="1", session_id="s"),
        "settings clause": ask(*data, "SELECT getSetting('max_threads') SETTINGS max_threads = 1"),
        "refused": ask(*data, "SELECT file('/etc/passwd')"),
    }


def connect(port: int) -> dict[str, str]:
    """clickhouse-connect, as a notebook uses it; SQLAlchemy's dialect and Superset's stand on it."""

    def ask(query: str, options: dict[str, Any] | None = None, **asked: Any) -> str:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=port, database="unjoin", **options or {})
        try:
            return str(client.query(query, **asked).result_rows[0][0])
        except DatabaseError as error:
            return str(error)
        finally:
            client.close()

    table = ExternalData(file_name="ext", data=b"44,file\n1,x\n", fmt="CSV", structure=["a UInt8", "b String"])
    return {
        "defaults": ask(LABELS),
        "bound": ask("SELECT count() FROM labels WHERE answer = {a:String}", parameters={"a": "a file"}),
        **{f"compression {coding}": ask(LABELS, {"compress": coding}) for coding in ("lz4", "zstd", "gzip", "br")},
        "compression none": ask(LABELS, {"compress": False}),
        "long": ask("SELECT length({p:String})", {"form_encode_query_params": True}, parameters={"p": LONG}),
        "external": ask("SELECT sum(a) FROM ext", external_data=table),
        "settings": ask("SELECT getSetting('max_threads')", {"session_id": "s"}, settings={"max_threads": 1}),
        "settings clause": ask("SELECT getSetting('max_threads') SETTINGS max_threads = 1"),
        "refused": ask("SELECT file('/etc/passwd')"),
    }


def failures(answers: dict[str, str], column: str) -> dict[str, str]:
    """What of one mode went otherwise than it must."""
    wanted = EXPECTED[column]
    accepted = wanted if isinstance(wanted, set) else {wanted}
    return {mode: got for mode, got in answers.items() if mode.split()[0] == column and str(got) not in accepted}


def test_stock_clients_read_what_they_ask_for_in_every_mode_that_they_have(said: dict[str, dict[str, str]]) -> None:
    """Whoever has a dashboard or a notebook has one of these in it, and cannot change what it sends."""
    wrong = {(client, column): failures(said[client], column) for client in said for column in EXPECTED}
    assert {where: what for where, what in wrong.items() if what} == {}


def test_documented_table_of_clients_is_what_they_got(said: dict[str, dict[str, str]]) -> None:
    """A cell is `works` where the mode was tried and worked, and a dash where the client has no such mode."""
    rows = re.findall(r"^\| `?([\w@/-][^|`]*?)`? \|(.*)\|$", (ROOT / "docs/clickhouse.md").read_text(), re.MULTILINE)
    documented = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows if name in said}
    tried = {
        client: [
            "works" if any(mode.split()[0] == column for mode in answers) and not failures(answers, column) else "–"
            for column in COLUMNS
        ]
        for client, answers in said.items()
    }
    assert documented == tried


def test_a_refusal_reaches_the_user_of_every_client_as_the_sentence_it_is(said: dict[str, dict[str, str]]) -> None:
    for client, answers in said.items():
        assert "This interface reads tables only" in answers["refused"], (client, json.dumps(answers["refused"]))
    assert "cannot hold Dynamic here" in said["clickhouse-go"]["unread"]
