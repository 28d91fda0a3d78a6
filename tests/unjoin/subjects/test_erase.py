"""What `unjoin erase` refuses before it asks anybody: a typing error must not read as an erasure that was done."""

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
from unjoin.subjects.stored_rows import SelectJson


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name one person"),
        (["--session", "s"], "--session needs --site"),
        (["--account", "a", "--email", "a@b"], "name one person"),
        (["--email", "nobody"], "one @"),
        (["--from", "/nowhere.jsonl"], "cannot be read"),
        (["--from", "/dev/null"], "names nobody"),
        (["--from", "/dev/null", "--email", "a@b.test"], "leave the other selectors out"),
    ],
)
def test_call_that_names_nobody_is_refused_in_a_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No place is asked, so the sentence comes at once, whether Kafka runs or not."""
    assert main(["erase", *arguments, "--yes"]) == 1
    assert says in capsys.readouterr().err


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


class MemoryRequests:
    """What was asked for."""

    def __init__(self) -> None:
        self.newest: dict[str, Erasure] = {}

    async def add(self, erasures: Sequence[Erasure]) -> None:
        self.newest |= {one.id: one for one in erasures}


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
