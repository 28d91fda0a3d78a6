"""What a role says where nobody watches it: one JSON object a line, and never what a client sent."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unjoin.host.logs import JsonLines, TextLines, event_of, start_logging


@pytest.fixture(name="written")
def _written() -> Iterator[StringIO]:
    """What a logger of this name writes as JSON."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines("sink"))
    log = logging.getLogger("of.a.test")
    log.propagate = False
    log.addHandler(handler)
    yield stream
    log.removeHandler(handler)


def record_of(message: str, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("sinks.main", logging.WARNING, "main.py", 1, message, (), None)
    record.created = 1_790_000_000.5
    if fields:
        record.fields = fields
    return record


def test_line_has_the_fields_that_the_documentation_names() -> None:
    """Whoever collects logs writes rules on these names."""
    assert json.loads(JsonLines("sink").format(record_of("a block was stored", table="signals", rows=3))) == {
        "time": "2026-09-21T14:13:20.500Z", "level": "warning", "role": "sink", "logger": "sinks.main",
        "event": "a block was stored", "table": "signals", "rows": 3,
    }  # fmt: skip
    text = TextLines("%(message)s").format(record_of("a block was stored", table="signals", rows=3))
    assert text == "a block was stored table=signals rows=3"


@pytest.mark.parametrize(("command", "shown"), [("erase", False), ("audit", False), ("sink", True), ("up", True)])
def test_command_that_waits_for_brokers_says_so_itself(command: str, shown: bool) -> None:
    """The library's own lines came 30 a second while an erasure waited, and hid the sentence."""
    names = ("aiokafka", "faust", "mode")
    before = [logging.getLogger(name).level for name in names]
    try:
        start_logging(command)
        assert logging.getLogger("aiokafka.client").isEnabledFor(logging.ERROR) is shown
    finally:
        for name, level in zip(names, before, strict=True):
            logging.getLogger(name).setLevel(level)


@given(st.text(st.characters()))
def test_any_message_is_one_line_of_ascii_and_comes_back(message: str) -> None:
    """A line feed in a message would forge the next line, an escape would steer a terminal."""
    line = JsonLines("sink").format(record_of(message))
    assert line.isascii()
    assert line.isprintable()
    assert event_of(line) == message


@pytest.mark.parametrize("line", ["no disk", "[1]", "{", '{"event"', "{}", "12", '"event"', ""])
def test_what_is_no_json_of_ours_is_shown_as_it_is(line: str) -> None:
    """Java, Python's own last words and a shell write to the same file."""
    assert event_of(line) == line


def test_exception_is_its_type_and_place_and_not_its_text(written: StringIO) -> None:
    """The text of an exception may hold what a client sent."""
    try:
        int("s-6f1c")
    except ValueError:
        logging.getLogger("of.a.test").exception("a request failed inside")
    line = json.loads(written.getvalue())
    assert (line["error"], line["event"]) == ("ValueError", "a request failed inside")
    assert "test_logs.py:" in line["place"]
    assert "s-6f1c" not in written.getvalue()


def test_role_says_everything_in_json_also_why_it_cannot_start(tmp_path: os.PathLike[str]) -> None:
    """The last line of a container that ended is the one that is read."""
    settings = {
        "UNJOIN_DATA_DIR": str(tmp_path), "UNJOIN_CLICKHOUSE_URL": "clickhouse://sink:x@127.0.0.1:1/unjoin",
        "UNJOIN_CLICKHOUSE_TLS_CA": "/nowhere.pem",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "unjoin", "sink"],
        env={"PATH": os.environ["PATH"], **settings}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, done.stdout) == (1, "")
    assert (lines[-1]["level"], lines[-1]["role"]) == ("error", "sink")
    assert "/nowhere.pem" in lines[-1]["event"] or "TLS" in lines[-1]["event"]
