"""What somebody sent must not command the terminal of whoever reads it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.access.sites import SitesFile
from schemas.outcomes import UnjoinError
from sinks.clickhouse.output_formats import FORMATS
from unjoin import cli, output, query
from unjoin.audit import report
from unjoin.audit.balance import Audit
from unjoin.output import FORMATS as FORMS
from unjoin.settings import Settings
from unjoin.terminal import NOTE, Escaper, escaped

CLIPBOARD = "https://a.test/\x1b]52;c;cm0gLXJmIH4=\x07\x9b31m\u202e"
SHOWN = r"https://a.test/\x1b]52;c;cm0gLXJmIH4=\x07\x9b31m\u202e"


@given(st.text())
def test_no_control_character_is_left_but_tab_and_line_feed(text: str) -> None:
    """Whatever the text; all that is no control character stays as it is."""
    shown = escaped(text)
    assert all(char in "\t\n" or char not in {chr(n) for n in (*range(32), *range(127, 160))} for char in shown)
    assert shown == text or escaped(shown) == shown


@given(st.binary(), st.integers(1, 5))
def test_a_stream_is_escaped_wherever_it_is_cut(content: bytes, size: int) -> None:
    """A character that two pieces share is one; bytes that are no UTF-8 become escapes."""
    whole, pieces = Escaper(), Escaper()
    at_once = whole.feed(content, last=True)
    cut = b"".join(pieces.feed(content[at : at + size]) for at in range(0, len(content), size))
    assert cut + pieces.feed(b"", last=True) == at_once
    assert escaped(at_once.decode()) == at_once.decode()
    assert whole.found == pieces.found == (at_once != content)


class Stored(BaseHTTPRequestHandler):
    """Port 8123 with one stored row; or what it says of a query that it refuses."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        asked = parse_qs(urlsplit(self.path).query)["default_format"][0]
        self.send_response(200)
        self.send_header("X-ClickHouse-Format", asked)
        self.end_headers()
        head = "url\nString\n" if asked.endswith("Types") else ""
        row = json.dumps({"url": CLIPBOARD}, ensure_ascii=False) if asked == "JSONEachRow" else CLIPBOARD
        self.wfile.write(f"{head}{row}\n".encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def settings() -> Iterator[Settings]:
    server = HTTPServer(("127.0.0.1", 0), Stored)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Settings(clickhouse_http_port=server.server_port)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (query, output):
        monkeypatch.setattr(module, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")


def test_query_shows_control_characters_escaped_and_says_so(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A table is for people, piped to a pager or not."""
    query.run_query(settings, "SELECT url FROM analytics", None)
    shown = capfdbinary.readouterr()
    assert shown.out.decode() == f"url\n{'-' * len(SHOWN)}\n{SHOWN}\n"
    assert shown.err.decode() == f"{NOTE}\n"


@pytest.mark.parametrize(("form", "before"), [("TSV", ""), ("csv", "url\n")])
def test_query_in_a_named_format_gives_a_program_the_bytes(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes], form: str, before: str
) -> None:
    """Into a file or a pipe, that is; a program that reads CSV wants what is stored."""
    query.run_query(settings, "SELECT url FROM analytics", form)
    assert capfdbinary.readouterr().out.decode() == f"{before}{CLIPBOARD}\n"


def test_query_as_json_is_one_document_without_control_characters(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """JSON has escapes of its own, so that a program gets what is stored and a terminal nothing to obey."""
    query.run_query(settings, "SELECT url FROM analytics", "json")
    shown = capfdbinary.readouterr().out.decode()
    assert json.loads(shown) == [{"url": CLIPBOARD}]
    assert escaped(shown) == shown


@pytest.mark.parametrize("form", [None, "TSV", "csv"])
@pytest.mark.usefixtures("on_a_terminal")
def test_query_is_escaped_on_a_terminal_in_every_format(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes], form: str | None
) -> None:
    """The clipboard does not care for the format."""
    query.run_query(settings, "SELECT url FROM analytics", form)
    shown = capfdbinary.readouterr()
    assert shown.out.decode().endswith(f"{SHOWN}\n")
    assert shown.err.decode() == f"{NOTE}\n"


@pytest.mark.parametrize("form", [None, "TSV", "json", "csv"])
@pytest.mark.usefixtures("on_a_terminal")
def test_query_of_a_server_is_escaped_too(
    form: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the native protocol, in cells that are no markup either."""

    class Asked:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def select(self, _: str, output_format: str, **__: object) -> bytes:
            return FORMATS[output_format]([("url", "String")], [(f"[red]{CLIPBOARD}[/red]",)])

        def close(self) -> None:
            pass

    monkeypatch.setattr(query, "Server", Asked)
    query.run_query(Settings(clickhouse_url="clickhouse://nowhere"), "SELECT url", form)
    shown = capfd.readouterr().out
    assert "[red]https://a.test/" in shown
    assert escaped(shown) == shown
    with pytest.raises(query.QueryError, match="table, json, csv, JSONEachRow"):
        query.run_query(Settings(clickhouse_url="clickhouse://nowhere"), "SELECT url", "Pretty")


def test_an_error_that_quotes_a_value_is_escaped(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClickHouse's texts quote what it could not read."""

    def refuse(*_: object) -> int:
        raise UnjoinError(f"Code: 6. Cannot parse {CLIPBOARD}")

    monkeypatch.setattr(cli, "_query", refuse)
    assert cli.main(["query", "SELECT 1"]) == 1
    assert SHOWN in capfd.readouterr().err


def test_audit_shows_what_was_sent_escaped(capfd: pytest.CaptureFixture[str]) -> None:
    """Its notes name topics and reasons, which whoever can write to Kafka chooses."""
    report.show(Audit(lines=[], findings=[], doubts=[], notes=[f"a topic {CLIPBOARD}"]), "table")
    assert SHOWN in capfd.readouterr().out


@pytest.mark.parametrize("form", FORMS)
def test_sites_are_listed_whole_and_escaped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A name is no markup and no command, and an origin that is cut is another one."""
    sites = SitesFile(tmp_path / "sites" / "sites.json")
    origins = [f"https://{'long-' * 9}{number}.shop.test" for number in range(3)]
    sites.add("shop", origins, ["signals"], "browser")
    text = (tmp_path / "sites" / "sites.json").read_text()
    (tmp_path / "sites" / "sites.json").write_text(text.replace("2.shop.test", "\\u001b]52.test"))
    monkeypatch.setenv("UNJOIN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "40")
    if form != "csv":  # a file of CSV has the text itself
        monkeypatch.setattr(output, "on_terminal", lambda: True)
    assert cli.main(["sites", "list", "--format", form]) == 0
    shown = capfd.readouterr().out
    assert all(origin in shown for origin in origins[:2])
    assert form == "csv" or escaped(shown) == shown
    if form == "json":
        (row,) = json.loads(shown)
        assert row["origins"][:2] == origins[:2]
        assert (row["site"], row["state"]) == ("shop", "in use")
