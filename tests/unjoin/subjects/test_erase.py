"""What `unjoin erase` refuses before it asks anybody: a typing error must not read as an erasure that was done."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.subjects.erasures import Erasure
from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import signal, signals
from unjoin.cli import main
from unjoin.subjects import erase
from unjoin.subjects.search import verify
from unjoin.subjects.stored_rows import SelectJson


class MemoryRequests:
    """What was asked for."""

    def __init__(self) -> None:
        self.newest: dict[str, Erasure] = {}

    async def add(self, erasures: Sequence[Erasure]) -> None:
        self.newest |= {one.id: one for one in erasures}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name one person"),
        (["--session", "s"], "--session needs --site"),
        (["--account", "a", "--email", "a@b"], "name one person"),
        (["--email", "nobody"], "one @"),
        (["--from", "/nowhere.jsonl"], "cannot be read"),
        (["--from", "/dev/null"], "names nobody"),
        (["--from", "/dev/null", "--email", "a@b.test"], "--email goes not with --from"),
    ],
)
def test_call_that_names_nobody_is_refused_in_a_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No place is asked, so the sentence comes at once, whether Kafka runs or not."""
    assert main(["erase", *arguments, "--yes"]) == 1
    assert says in capsys.readouterr().err


GIVEN = {
    "session": ["--session", ""],
    "site": ["--site", ""],
    "account": ["--account", ""],
    "email": ["--email", ""],
    "from": ["--from", ""],
    "reference": ["--reference", ""],
    "yes": ["--yes"],
    "no-wait": ["--no-wait"],
    "also": ["--also", ""],
    "report": ["--report", ""],
    "export": ["--export", ""],
    "format": ["--format", "json"],
    "list": ["--list"],
    "search": ["--search"],
    "verify": ["--verify", ""],
}
WHO = {"session", "site", "account", "email"}
ALLOWED = {
    ("erase",): {*WHO, "from", "reference", "yes", "no-wait", "format", "list", "verify"},
    ("erase", "--from", "f"): {"reference", "yes", "no-wait", "format", "list", "verify"},
    ("erase", "--list"): {"format"},
    ("erase", "--verify", "ab"): {*WHO, "also", "report", "format"},
    ("subject",): {*WHO, "export", "format", "search"},
    ("subject", "--export", "-"): WHO,
    ("subject", "--search"): {*WHO, "also", "report", "format"},
}


def test_every_option_that_a_mode_would_pass_over_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """`erase --email P --also T --report F` was meant to verify; `erase --list --email P` to list one person."""
    for mode, allowed in ALLOWED.items():
        with pytest.raises(SystemExit):
            main([mode[0], "--help"])
        options = set(re.findall(r"--([a-z-]+)", capsys.readouterr().out.partition("options:")[0])) - {"help"}
        assert options <= GIVEN.keys()
        for option in options - allowed - {word[2:] for word in mode[1:2]}:
            assert main([*mode, *GIVEN[option]]) == 1
            said = capsys.readouterr().err
            assert f"--{option}" in said, (mode, option)
            assert "not with" in said, (mode, option)


@pytest.mark.parametrize("id_", ["", "0123456789abcdef"])
def test_verify_with_any_value_never_asks_for_an_erasure(
    id_: str, requests: MemoryRequests, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script whose variable is empty has to hear of it, and nobody has to be gone."""
    monkeypatch.setattr(verify, "requests_of", erase.requests_of)
    assert main(["erase", "--verify", id_, "--session", "s-small", "--site", "dev"]) == 1
    assert ("--verify needs the request's id" if not id_ else "there is no such request") in capsys.readouterr().err
    assert not requests.newest


def test_person_who_is_named_twice_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The second would take the first one's place, who would be believed to be gone."""
    with pytest.raises(SystemExit) as left:
        main(["erase", "--email", "ann@a.test", "--email", "bob@b.test"])
    assert left.value.code == 2
    assert "--email is given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"session": "s-1"}', "--session needs --site"),
        (b'{"email": "a@b.test", "note": 1}', "no JSON object of a selector"),
        (b"\xff\xfe", "no JSON object of a selector"),
        (b'["a@b.test"]', "no JSON object of a selector"),
    ],
)
def test_line_of_a_file_that_names_nobody_is_told_by_its_number_and_not_by_what_it_says(
    line: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody of the file is asked for: half of a list erased is hard to tell from all of it."""
    people = tmp_path / "people.jsonl"
    people.write_bytes(b'{"email": "ann@example.test"}\n' + line + b"\n")
    assert main(["erase", "--from", str(people)]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "line 2 of" in said
    assert "a@b.test" not in said


@pytest.fixture
def requests(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> MemoryRequests:
    """Requests in memory, and the embedded engine for what they are about: 30 events of one session, 10 of another."""
    embedded.select("TRUNCATE TABLE unjoin.signals", "Null")
    embedded.insert(signals([signal(number, session="s-large" if number < 30 else "s-small") for number in range(40)]))
    made = MemoryRequests()

    @asynccontextmanager
    async def requests_of(_: Any) -> AsyncIterator[MemoryRequests]:
        yield made

    @contextmanager
    def rows_of(_: Any) -> Iterator[SelectJson]:
        yield embedded.select

    monkeypatch.setattr(erase, "requests_of", requests_of)
    monkeypatch.setattr(erase, "rows_of", rows_of)
    return made


@pytest.mark.parametrize(
    ("session", "says"),
    [("s-large", "30 rows of signals: more than half of signals"), ("s-nobody", "no row of analytics, signals")],
)
def test_most_of_a_table_or_nothing_at_all_is_asked_for_with_yes_alone(
    session: str, says: str, requests: MemoryRequests, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both look like a mistake: one would empty a table, the other would read as if somebody were gone."""
    arguments = ["erase", "--session", session, "--site", "dev", "--no-wait"]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "yes" in said
    assert session not in said
    assert not requests.newest
    assert main([*arguments, "--yes"]) == 0
    assert [one.kind for one in requests.newest.values()] == ["session"]
    assert session not in str(requests.newest)


def test_ordinary_person_is_asked_for_without_more_ado(requests: MemoryRequests) -> None:
    """A quarter of a table is no mistake."""
    assert main(["erase", "--session", "s-small", "--site", "dev", "--no-wait"]) == 0
    assert len(requests.newest) == 1


def test_lines_of_a_file_that_match_nothing_are_named_and_need_yes(
    requests: MemoryRequests, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is as likely a typing error as a single selector is; the others must not hide it."""
    people = tmp_path / "people.jsonl"
    names = ["s-small", "s-tipo", "s-smal", "s-small"]
    people.write_text("\n".join(json.dumps({"session": name, "site": "dev"}) for name in names))
    arguments = ["erase", "--from", str(people), "--no-wait"]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "3 selectors match 10 rows of signals; lines 2, 3 match no row of analytics, signals" in said
    assert "With --yes" in said
    assert not requests.newest
    assert main([*arguments, "--yes"]) == 0
    assert "lines 2, 3 match no row" in capsys.readouterr().out
    assert len(requests.newest) == 3
    people.write_text('{"session": "s-small", "site": "dev"}\n\n{"session": "s-none", "site": "dev"}\n')
    assert main(arguments) == 1
    assert "line 3 matches no row" in capsys.readouterr().err


def test_file_takes_the_session_that_the_option_takes(requests: MemoryRequests, tmp_path: Path) -> None:
    """A long anonymousId of a Segment SDK is stored as a hash, which nobody has to make by hand."""
    long = "a" * 70
    people = tmp_path / "people.jsonl"
    people.write_text(json.dumps({"session": long, "site": "dev"}))
    assert main(["erase", "--session", long, "--site", "dev", "--no-wait", "--yes"]) == 0
    assert main(["erase", "--from", str(people), "--no-wait", "--yes"]) == 0
    assert len({one.digest for one in requests.newest.values()}) == 1
    assert len(requests.newest) == 2


def test_one_row_is_a_row(requests: MemoryRequests, embedded: Embedded, capsys: pytest.CaptureFixture[str]) -> None:
    embedded.insert(signals([signal(99, session="s-one")]))
    assert main(["erase", "--session", "s-one", "--site", "dev", "--no-wait"]) == 0
    assert "the selector matches 1 row of signals" in capsys.readouterr().out
