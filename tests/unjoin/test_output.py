"""Tables: whole at any width, the same in every format, and one row never looks like two."""

import csv
import datetime
import importlib.metadata
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from schemas.subjects.erasures import Erasure, State
from sinks.kafka.commit_marks import Commit, Kind
from unjoin import cli, output, replay, rewind
from unjoin.audit import report
from unjoin.audit.balance import Audit, Line
from unjoin.keys.keyring import Keyring
from unjoin.output import Cell, lines_of, print_table
from unjoin.rewind import Step
from unjoin.simulator.counts import Summary, TrafficCounts, summary_figures
from unjoin.subjects import erase
from unjoin.terminal import escaped

CELLS = st.none() | st.integers(-(10**12), 10**12) | st.text(max_size=30) | st.lists(st.text(max_size=30), max_size=3)
TOPICS = ("signals", "analytics", "personal", "labelers", "labeled", "labels", "dead_letters")


def text_of(cell: Cell) -> str:
    if cell is None:
        return "NULL"
    if isinstance(cell, int | float):
        return f"{cell:,}"
    lines = [cell] if isinstance(cell, str) else cell
    return "".join(escaped(line).replace("\n", "\\n").replace("\t", "\\t") for line in lines)


def shown(text: str) -> str:
    """Whatever white space a fold put between."""
    return re.sub(r"\s", "", text)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5), st.none() | st.integers(10, 120), st.booleans())
@example([("日本語 " * 9, "naïve", ["a" * 90, "b"])], 80, False)
def test_no_character_of_any_cell_is_missing_at_any_width(
    rows: list[tuple[Cell, ...]], width: int | None, transposed: bool
) -> None:
    """Not where it is too wide, nor where a character takes two columns: what is cut has to be asked for again."""
    lines = [line for line, _ in lines_of(("one", "two", "three"), rows, width, transposed=transposed)]
    assert all(escaped(line) == line and "\n" not in line for line in lines)
    together = shown("".join(lines))
    for row in rows:
        for cell in row:
            assert sorted(shown(text_of(cell))) == sorted(
                character for character in shown(text_of(cell)) if character in together
            )
    is_table = any(line and set(line) <= {"-", " "} and "--" in line for line in lines[:40]) and width
    if is_table and lines[0].strip().startswith("one"):
        assert all(cell_len(line) <= (width or 0) for line in lines) or not rows


def test_words_stay_whole_in_a_table_and_in_a_block() -> None:
    """A key or an origin is copied from here."""
    row = ("shop", "k" * 45, "image label, text answer " * 2, ["https://one.test", "https://two.test"])
    names = ("site", "key", "categories", "origins")
    table = [line for line, _ in lines_of(names, [row], 90)]
    assert table[0].split() == list(names)
    assert {"k" * 45, "https://one.test", "https://two.test"} <= set(" ".join(table).split())
    assert max(map(len, table)) <= 90
    blocks = [line for line, _ in lines_of(names, [row, row], 40)]
    assert blocks.count(f"key         {'k' * 45}") == 2
    assert blocks.count("") == 1
    assert "origins     https://one.test" in blocks
    assert "            https://two.test" in blocks


def test_no_cell_looks_like_a_second_row() -> None:
    """What somebody sent may hold line feeds, tabs, and spaces enough for a row of its own."""
    lines = [line for line, _ in lines_of(("url",), [("a\nforged\trow",)], None)]
    assert lines == ["url", "-" * 14, r"a\nforged\trow"]


def test_nothing_to_show_is_a_heading() -> None:
    """And no blank line, at any width."""
    assert [line for line, _ in lines_of(("site", "key"), [], 5)] == ["site  key", "----  ---"]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_programs_get_stable_names_and_the_values_themselves(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No thousands' separators, no NULL, nothing escaped that the format can hold."""
    rows: list[tuple[Cell, ...]] = [('a,"b"\nc', 1_000, None), ("\x1b", -1, "x"), ("2026-11-29", True, "y")]
    dated = [(datetime.date.fromisoformat(row[0]) if str(row[0])[:4] == "2026" else row[0], *row[1:]) for row in rows]
    print_table(("text", "count", "maybe"), dated, form)
    said = capsys.readouterr().out
    if form == "json":
        names = ("text", "count", "maybe")
        assert json.loads(said) == [dict(zip(names, row, strict=True)) for row in rows]
        assert "\x1b" not in said
    else:
        assert list(csv.reader(io.StringIO(said))) == [
            ["text", "count", "maybe"], ["a,\"b\"\nc", "1000", ""], ["\x1b", "-1", "x"],
            ["2026-11-29", "true", "y"],
        ]  # fmt: skip


def test_a_long_table_needs_no_more_memory_than_a_part_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Each part has the heading, and no row is missing."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(output, "ROWS_AT_ONCE", 3)
        print_table(("n",), ((number,) for number in range(7)))
    assert capsys.readouterr().out.split() == ["n", "-", *"012", "n", "-", *"345", "n", "-", "6"]


@pytest.mark.parametrize("count", [0, 1_234_567, 98_765_432_109])
def test_audit_fits_80_columns_with_every_name_and_number_whole(
    count: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the terminal that everybody has, and in a log of a nightly job."""
    monkeypatch.setenv("COLUMNS", "80")
    audit = Audit(lines=[Line(name=topic, accepted=count, stored=count) for topic in TOPICS])
    for width in (80, None):
        monkeypatch.setattr(output, "terminal_width", lambda width=width: width)
        report.show(audit, "table")
        said = capsys.readouterr().out
        lines = said.splitlines()
        assert lines[0].strip()
        assert "…" not in said
        assert said.count(f"{count:,}") >= 2 * len(TOPICS)
        assert all(outcome.split("_")[0] in said for outcome in report.COLUMNS)
        if width:
            assert max(map(len, lines)) <= 80


def test_members_of_json_are_those_that_the_page_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs are written against it."""
    monkeypatch.setenv("UNJOIN_DATA_DIR", str(tmp_path))
    Keyring(tmp_path / "keys" / "edge").key_of(datetime.date(2026, 11, 29))
    partition = TopicPartition("events.signals", 0)
    step = Step("signals", partition, Kind.NONE, Commit(None, ""), 0, 1, Commit(0, ""))
    prints: dict[str, Callable[[], object]] = {
        "audit": lambda: report.show(Audit(lines=[]), "json"),
        "sites list": lambda: (
            cli.main(["sites", "add", "s", "--server"]) + cli.main(["sites", "list", "--format", "json"])
        ),
        "keys list": lambda: cli.main(["keys", "list", "--format", "json"]),
        "rewind": lambda: rewind.show([step], "json", really=False),
        "replay": lambda: replay.show(Counter(), "json", dry_run=True),
    }
    page = (Path(__file__).parents[2] / "docs" / "output.md").read_text()
    for command, run in prints.items():
        run()
        said = capsys.readouterr().out
        document = json.loads(said[min(said.index(start) for start in "[{" if start in said) :])
        (row,) = re.findall(rf"\| `unjoin {command}` \| an \w+.*? \| (.*) \|", page)
        found = document[0] if isinstance(document, list) else document
        named = [*found, *(found["partitions"][0] if "partitions" in found else ())]
        assert re.findall(r"`(\w+)`", row) == named, command


def on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    """What a command writes on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # how Linux says that the other end is closed
                break
            said += piece
        process.wait(60)
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


@pytest.fixture
def unjoin(tmp_path: Path) -> Callable[..., tuple[list[str], dict[str, str]]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
    environment = {**kept, "UNJOIN_DATA_DIR": str(tmp_path), "TERM": "xterm", "COLUMNS": "80"}
    return lambda *arguments, **changes: ([sys.executable, "-m", "unjoin", *arguments], {**environment, **changes})


def test_colour_is_for_a_terminal_that_wants_it(unjoin: Callable[..., tuple[list[str], dict[str, str]]]) -> None:
    """https://no-color.org; and a pipe gets neither colour nor what erases a line."""
    wrong = ("export", "labels.txt")
    coloured, plain = (on_a_terminal(*unjoin(*wrong, **more)) for more in ({}, {"NO_COLOR": "1"}))
    assert "\x1b[1;31m" in coloured
    assert "31m" not in plain
    command, environment = unjoin(*wrong)
    piped = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (piped.returncode, piped.stdout) == (1, "")
    assert piped.stderr == "unjoin: labels.txt does not say its format: name it .parquet or .csv\n"


def test_a_reader_that_has_seen_enough_and_a_locale_that_lacks_letters_are_no_traceback(
    unjoin: Callable[..., tuple[list[str], dict[str, str]]], tmp_path: Path
) -> None:
    """`| head`, and a server's `LC_ALL=C`."""
    command, environment = unjoin("sites", "list", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    added = subprocess.run(
        [*command[:-1], "add", "shop", "--server"], env=environment, capture_output=True, check=False
    )
    assert added.returncode == 0, added.stderr
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u2026" in done.stdout  # where a secret key is cut
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(command, env=environment, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("command", [("audit",), ("rewind",), ("erase", "--list"), ("replay",)])
def test_what_ends_a_command_is_one_sentence(
    unjoin: Callable[..., tuple[list[str], dict[str, str]]], command: tuple[str, ...]
) -> None:
    """What a library logs on the way is no answer to whoever has to mend it."""
    called, environment = unjoin(*command, UNJOIN_KAFKA_BOOTSTRAP="127.0.0.1:1")
    done = subprocess.run(called, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.stderr.startswith("unjoin: Kafka ")
    assert done.stderr.count("\n") == 1


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reports a fault is asked for it."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"unjoin {importlib.metadata.version('unjoin')}\n"


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["signals.parquet"], "unjoin export signals signals"),
        (["--k", "9", "out/Features.csv"], "unjoin export features out/Features"),
        (["session_features.parquet", "--votes"], "unjoin export features session_features"),
        (["./signals", "--since-last"], "unjoin export signals signals"),
        (["votes.parquet"], "unjoin export votes.parquet --votes"),
    ],
)
def test_labels_go_to_no_file_called_as_something_else_unless_they_are_named(
    arguments: list[str], command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for signals by a file's name would train on answers."""
    monkeypatch.setenv("UNJOIN_CLICKHOUSE_HTTP_PORT", "1")
    assert cli.main(["export", *arguments]) == 1
    said = capsys.readouterr().err
    assert f"by `{command}`; labels under that name by `unjoin export labels " in said
    assert said.count("\n") == 1
    for meant in (["labels", "signals.parquet"], ["consensus.parquet"], ["votes.parquet", "--votes"]):
        assert cli.main(["export", *meant]) == 1
        assert "no ClickHouse answers" in capsys.readouterr().err


def test_figures_of_simulated_traffic_are_plain_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A program adds them up; the people's table says `6,555 events/s`."""
    counts = TrafficCounts(1_790_000_000_000)
    counts.retry("503")
    summary = counts.summary(2.0)
    print_table(("figure", "of", "value"), summary_figures(summary), "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["figure"] for row in rows} <= set(Summary.__struct_fields__)
    figures = {(row["figure"], row["of"]): float(row["value"]) for row in rows}
    assert figures["sent", ""] == 0
    assert figures["retries", "503"] == figures["retries_total", ""] == 1
    assert {"p50", "p95", "p99", "max"} == {of for figure, of in figures if figure == "latency_ms"}


def test_requests_say_the_same_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    """A column that no other form has is one that nobody explains."""
    at_ms = {"accepted": 1_790_000_000_000, "rows_deleted": 1_790_000_001_000}
    one = Erasure(
        id="0" * 16, reference="T-1", kind="session", salt="", digest="", asked_at_ms=1_790_000_000_000,
        state=State.ROWS_DELETED, at_ms=at_ms, deleted={"signals": 3, "analytics": 4}, waits_for="a part",
    )  # fmt: skip
    erase._show([one], "json")
    (document,) = json.loads(capsys.readouterr().out)
    erase._show([one], "csv")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["since"], row["rows_gone"]) == ("2026-09-21T14:13:21.000Z", "7")
    assert row == {name: str(document[name]) for name in row}
    erase._show([one], "table")
    said = capsys.readouterr().out
    assert "2026-09-21 14:13:21" in said
    assert re.search(r"\b7\n", said)
    page = (Path(__file__).parents[2] / "docs" / "output.md").read_text()
    (members, columns) = re.findall(r"\| `unjoin erase`, `--list` \| an array.*? \| (.*); CSV: (.*) \|", page)[0]
    assert {*re.findall(r"`(\w+)`", members)} == {*document}
    assert re.findall(r"`(\w+)`", columns) == [*row]
