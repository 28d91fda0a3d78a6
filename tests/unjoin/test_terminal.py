"""What somebody sent must not command the terminal of whoever reads it."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ingest.access.sites import SitesFile
from schemas.outcomes import UnjoinError
from unjoin import cli, query
from unjoin.audit import report
from unjoin.audit.balance import Audit
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
        self.send_response(500 if self.path.endswith("refuse=1") else 200)
        self.end_headers()
        self.wfile.write(f"{CLIPBOARD}\n".encode())

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


def test_query_shows_control_characters_escaped_and_says_so(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A table is for people, piped to a pager or not."""
    query.run_query(settings, "SELECT url FROM analytics", None, Console())
    shown = capfdbinary.readouterr()
    assert shown.out.decode() == f"{SHOWN}\n"
    assert shown.err.decode() == f"{NOTE}\n"


def test_query_in_a_named_format_gives_a_program_the_bytes(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Into a file or a pipe, that is; a program that reads CSV wants what is stored."""
    query.run_query(settings, "SELECT url FROM analytics", "TSV", Console())
    assert capfdbinary.readouterr().out.decode() == f"{CLIPBOARD}\n"


def test_query_in_a_named_format_is_escaped_on_a_terminal(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clipboard does not care for the format."""
    monkeypatch.setattr(query.sys.stdout, "isatty", lambda: True, raising=False)
    query.run_query(settings, "SELECT url FROM analytics", "TSV", Console())
    assert capfdbinary.readouterr().out.decode() == f"{SHOWN}\n"


@pytest.mark.parametrize("output_format", [None, "TSV"])
def test_query_of_a_server_is_escaped_too(
    output_format: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the native protocol, in a table whose cells are no markup either."""

    class Server:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def run(self, *_: object) -> object:
            return [(f"[red]{CLIPBOARD}[/red]",)], [("url", "String")]

        def close(self) -> None:
            pass

    monkeypatch.setattr(query, "Server", Server)
    monkeypatch.setattr(query.sys.stdout, "isatty", lambda: True, raising=False)
    out = io.StringIO()
    console = Console(file=out, width=200)
    query.run_query(Settings(clickhouse_url="clickhouse://nowhere"), "SELECT url", output_format, console)
    captured = capfd.readouterr()
    assert f"[red]{SHOWN}[/red]" in out.getvalue() + captured.out
    assert "\x1b]" not in out.getvalue() + captured.out
    assert NOTE in captured.err


def test_an_error_that_quotes_a_value_is_escaped(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClickHouse's texts quote what it could not read."""

    def refuse(*_: object) -> int:
        raise UnjoinError(f"Code: 6. Cannot parse {CLIPBOARD}")

    monkeypatch.setattr(cli, "_query", refuse)
    assert cli.main(["query", "SELECT 1"]) == 1
    assert SHOWN in capfd.readouterr().err


def test_audit_shows_what_was_sent_escaped() -> None:
    """Its notes name topics and reasons, which whoever can write to Kafka chooses."""
    out = io.StringIO()
    audit = Audit(lines=[], findings=[], doubts=[], notes=[f"a topic {CLIPBOARD}"])
    report.show(audit, Console(file=out, width=200))
    assert SHOWN in out.getvalue()


def test_sites_are_listed_escaped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A name is no markup and no command."""
    from unjoin.sites import _table

    sites = SitesFile(tmp_path / "sites.json")
    sites.add("shop", ["https://shop.test"], ["signals"], "browser")
    text = (tmp_path / "sites.json").read_text()
    (tmp_path / "sites.json").write_text(text.replace("shop.test", "\\u001b]52.test"))
    out = io.StringIO()
    Console(file=out, width=200).print(_table(sites))
    assert r"\x1b]52.test" in out.getvalue()
