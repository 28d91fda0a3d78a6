"""What is stored of one person, all of it and nobody else's, as JSON."""

import io
import json
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TS_MAX
from schemas.subjects.selectors import AccountSelector, Selector, SessionSelector, email_selector, tables_of
from sinks.clickhouse.embedded import Embedded
from sinks.rows.tables import TABLES
from testkit.sink_records import NOW_MS, signal, signals
from unjoin.cli import main
from unjoin.subjects import stored_rows
from unjoin.subjects.export import write_document

ADDRESS = "Zoë.O'Hara@Example.test"


def document(engine: Embedded, selector: Selector) -> dict[str, Any]:
    out = io.BytesIO()
    tables = [table for table in TABLES if table.name in tables_of(selector)]
    write_document(out, engine.select, selector, tables, lambda: {"events.signals": 7})
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def insert(engine: Embedded, table: str, **columns: str) -> None:
    values = ", ".join(f"unhex('{text.encode().hex()}')" for text in columns.values())
    engine.select(f"INSERT INTO unjoin.{table} ({', '.join(columns)}, ts) SELECT {values}, {NOW_MS}", "Null")


def test_a_long_session_is_written_whole_and_alone_page_by_page(
    engine: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of one millisecond fall on both sides of a page's end; others' rows lie between them."""
    mine = [signal(n, session="mine", event_id=f"file'\\{n}", received_at=NOW_MS + n // 20) for n in range(60)]
    other = [signal(n, session="other") for n in range(60)]
    elsewhere = [signal(n, session="mine", site="elsewhere") for n in range(60)]
    engine.insert(signals([*mine, *other, *elsewhere]))
    engine.insert(signals(mine[:10]))
    monkeypatch.setattr(stored_rows.pages, "__defaults__", (7,))
    found = document(engine, SessionSelector("dev", "mine"))
    assert {row["event_id"] for row in found["tables"]["signals"]} == {row["event_id"] for row in mine}
    assert found["counts"] == {"signals": 60, "analytics": 0} == {t: len(rows) for t, rows in found["tables"].items()}
    assert found["subject"] == {"site": "dev", "session": "mine"}


def test_times_are_given_as_stored_and_as_iso(engine: Embedded) -> None:
    engine.insert(signals([signal(0, session="mine"), signal(1, session="mine", ts=TS_MAX)]))
    row, far = document(engine, SessionSelector("dev", "mine"))["tables"]["signals"]
    assert (row["ts"], row["ts_iso"]) == (NOW_MS, "2026-09-21T14:13:20.000Z")
    assert (row["received_at"], row["received_at_iso"]) == (NOW_MS, "2026-09-21T14:13:20.000Z")
    assert (row["sent_at"], row["sent_at_iso"]) == (0, None)
    assert far["ts_iso"] == "9999-12-31T23:59:59.999Z"
    assert row["x"] == [1.5, 0.0]


def test_an_address_is_found_in_any_case_among_accounts_and_labelers(engine: Embedded) -> None:
    insert(engine, "personal", event_id="c-1", account="acme", email=ADDRESS, name="Zoë")
    insert(engine, "personal", event_id="c-2", account="acme", email="bob@example.test")
    insert(engine, "personal", event_id="k-1", account="acme", provider="p")
    insert(engine, "labelers", event_id="l-1", email=ADDRESS.upper(), note="n")
    found = document(engine, email_selector(ADDRESS.lower()))
    assert {table: [row["event_id"] for row in rows] for table, rows in found["tables"].items()} == {
        "personal": ["c-1"],
        "labelers": ["l-1"],
    }
    assert found["tables"]["personal"][0]["name"] == "Zoë"
    assert len(document(engine, AccountSelector("acme"))["tables"]["personal"]) == 3


def test_document_says_what_is_not_in_it(engine: Embedded) -> None:
    """A person who is told less than all has to know; about labels they are told why."""
    found = document(engine, AccountSelector("nobody"))
    assert found["not_yet_stored"] == {"events.signals": 7}
    whys = {entry["what"]: entry["why"] for entry in found["not_included"]}
    assert "nobody" in whys["answers to tasks (table `labels`)"]
    assert found["tables"] == {"personal": []}


def test_document_says_that_an_address_in_another_field_is_not_in_it(engine: Embedded) -> None:
    """Where a page wrote it into its properties, or where it is an account, it is found by the session or account."""
    insert(engine, "analytics", event_id="a-1", session="s-1", properties=f'{{"email": "{ADDRESS}"}}')
    insert(engine, "personal", event_id="c-1", account=ADDRESS)
    found = document(engine, email_selector(ADDRESS))
    assert found["counts"] == {"personal": 0, "labelers": 0}
    whys = {entry["what"]: entry["why"] for entry in found["not_included"]}
    why = whys["rows that hold the name of the subject in another field"]
    assert "used as an account" in why
    assert "`properties`" in why


@pytest.fixture
def source(engine: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unjoin.subjects.export.rows_of", lambda _: nullcontext(engine.select))
    monkeypatch.setattr("unjoin.subjects.export.not_yet_stored", lambda *_: {})


def said(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["subject", *arguments])
    captured = capfd.readouterr()
    return code, captured.out + captured.err


@pytest.mark.usefixtures("source")
def test_exit_code_tells_an_operator_s_script_whether_something_is_stored(
    engine: Embedded, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.insert(signals([signal(0, session="mine")]))
    target = tmp_path / "export.json"
    arguments = ["--site", "dev", "--session"]
    assert said([*arguments, "mine"], capfd) == (0, "1 row stored: 1 in signals, 0 in analytics\n")
    code, text = said([*arguments, "mine", "--format", "json"], capfd)
    assert (code, json.loads(text)) == (0, {"rows": 1, "signals": 1, "analytics": 0})
    assert said([*arguments, "nobodys"], capfd)[0] == 4
    code, text = said([*arguments, "mine", "--export", str(target)], capfd)
    assert (code, text) == (0, f"1 row stored: 1 in signals, 0 in analytics; written to {target}\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert len(json.loads(target.read_bytes())["tables"]["signals"]) == 1


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--account", "a", "--export", "/nowhere/x.json"], "name a file in a folder that is there"),
        (["--account", "a", "--export", "/"], "name a file in a folder that is there"),
        (["--account", "a", "--export", "/proc/x.json"], "cannot be written"),
        (["--session", "s"], "needs --site"),
        (["--account", "\udcff"], "1 to 256 characters"),
        ([], "name one person"),
    ],
)
def test_what_cannot_be_exported_gets_one_sentence(
    arguments: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, text = said(arguments, capfd)
    assert code == 1
    assert sentence in text
    assert text.count("\n") == 1


def test_nobody_s_answer_from_clickhouse_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNJOIN_CLICKHOUSE_HTTP_PORT", "1")
    code, text = said(["--account", "a"], capfd)
    assert (code, text.count("\n")) == (1, 1)
