"""The questions of docs/questions: each is answered by the embedded engine and by a server, and both say the same."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from schemas.topics import ANALYTICS
from sinks.clickhouse.address import address_of
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.server import Server
from sinks.rows.tables import TABLES
from testkit.analyst_rows import SHARES, insert
from testkit.clickhouse_server import AnyServer
from testkit.questions import FOLDER, Question, questions, value_of
from testkit.sink_records import label, labels

SIGNALS_ROWS = 20_000
ALL = questions()
DAY = 86_400_000
MONDAY_MS = 1_790_000_000_000 - 1_790_000_000_000 % DAY  # 2026-09-21

Ask = Callable[[str, dict[str, str]], bytes]


def fill(run: Callable[[str], object]) -> None:
    for table in (table.name for table in TABLES):
        run(f"TRUNCATE TABLE unjoin.{table}")
        rows = SIGNALS_ROWS * SHARES[table] // 100 if table in SHARES else 0
        if rows:
            run(insert(table, "unjoin", rows, 0, rows))


@pytest.fixture(scope="module")
def filled(embedded: Embedded) -> Iterator[Ask]:
    """The embedded engine with the rows that the benches ask."""
    fill(embedded.select)
    yield lambda sql, parameters: bytes(embedded.read(sql, "TSV", {"final": "1"}, parameters).body)
    for table in TABLES:
        embedded.select(f"TRUNCATE TABLE unjoin.{table.name}")


@pytest.fixture(scope="module")
def served(server: AnyServer) -> Iterator[Ask]:
    """A server with the same rows."""
    engine = Server(address_of(server.url))
    engine.run("DROP DATABASE IF EXISTS unjoin SYNC")
    engine.migrate()
    fill(engine.run)
    engine.close()
    reader = Server(address_of(server.url), database="unjoin")
    yield lambda sql, parameters: reader.select(sql, "TabSeparated", parameters=parameters)
    reader.close()


@pytest.mark.server
def test_every_question_is_answered_alike_by_the_embedded_engine_and_a_server(filled: Ask, served: Ask) -> None:
    """Whoever starts on one machine asks the same of a server later; a question without an answer teaches nothing."""
    for question in ALL:
        given = {name: value_of(name, lambda sql: filled(sql, {}).decode().strip()) for name in question.parameters}
        assert filled(question.sql, given).count(b"\n") == served(question.sql, given).count(b"\n") >= 1, question.name
        digest = f"SELECT count(), sum(cityHash64(*)) FROM (\n{question.sql})"
        assert filled(digest, given) == served(digest, given), question.name


@pytest.mark.parametrize("question", ALL, ids=lambda question: question.name)
def test_question_says_what_it_answers_and_what_its_parameters_mean(question: Question) -> None:
    """The file is read by somebody who has never seen the tables; README.md there lists it."""
    said = re.findall(r"^-- (.*)$", question.sql, re.M)
    assert "?" in said[0]
    for parameter in question.parameters:
        assert re.search(rf"\b{parameter}\b.*:", " ".join(said[1:])), parameter
    assert question.tables
    listed = f"| [{question.name}]({question.name}.sql) | {question.asks} |"
    assert listed in (FOLDER / "README.md").read_text()


def asked(engine: Embedded, name: str, **parameters: str) -> list[dict[str, Any]]:
    (question,) = (question for question in ALL if question.name.endswith(name))
    answer = engine.read(question.sql, "JSONEachRow", {"final": "1"}, parameters)
    return [json.loads(line) for line in bytes(answer.body).splitlines()]


def store(engine: Embedded, table: str, rows: list[dict[str, Any]]) -> None:
    lines = "\n".join(json.dumps({"event_id": str(number), **row}) for number, row in enumerate(rows))
    engine.select(f"INSERT INTO unjoin.{table} FORMAT JSONEachRow\n{lines}")


def at(ms: int) -> dict[str, Any]:
    return {"ts": ms, "received_at": ms / 1_000}


def test_funnel_counts_sessions_that_saw_the_pages_in_order_and_in_time(engine: Embedded) -> None:
    """The way back to an earlier page is no step on."""
    ways = {"all": [(0, "/a"), (1, "/b?x=1"), (2, "/c")], "late": [(0, "/a"), (1, "/b"), (90, "/c")],
            "back": [(0, "/b"), (1, "/a"), (2, "/c")], "other": [(0, "/c")]}  # fmt: skip
    rows = [
        {
            "site": "s",
            "session": session,
            "type": "page_view",
            "url": f"https://x.test{path}",
            **at(MONDAY_MS + 60_000 * m),
        }
        for session, way in ways.items()
        for m, path in way
    ]
    store(engine, ANALYTICS.removeprefix("events."), rows)
    (row,) = asked(engine, "funnel", site="s", first="/a", second="/b", third="/c", minutes="30")
    assert (row["saw_first"], row["then_second"], row["then_third"]) == (3, 2, 1)


def test_integrators_are_followed_from_the_week_in_which_they_came(engine: Embedded) -> None:
    """An identity check names no role, and counts as something that the account did."""
    came = [("a", "integrator", 0), ("a", "", 9), ("a", "", 10), ("b", "integrator", 3), ("c", "customer", 0),
            ("d", "integrator", 8), ("d", "", 25)]  # fmt: skip
    rows = [{"site": "s", "account": account, "role": role, **at(MONDAY_MS + day * DAY)} for account, role, day in came]
    store(engine, "personal", rows)
    found = [tuple(row.values()) for row in asked(engine, "integrators_that_stay", weeks="2")]
    assert found == [("2026-09-21", 0, 2), ("2026-09-21", 1, 1), ("2026-09-28", 0, 1), ("2026-09-28", 2, 1)]


def test_agreement_by_day_is_that_with_the_answer_of_all_days(engine: Embedded) -> None:
    """A day on which everybody was wrong agrees by 0, not by 1."""
    votes = [(0, "pug")] * 3 + [(1, "beagle")] * 2
    engine.insert(
        labels([{**label(n, "dogs-1", answer), "day": 20_717 + day} for n, (day, answer) in enumerate(votes)])
    )
    found = asked(engine, "agreement_by_day", prefix="dogs", days="30")
    assert [(row["day"], row["answer"], row["votes"], row["total"]) for row in found] == [
        ("2026-09-21", "pug", 3, 3),
        ("2026-09-22", "pug", 0, 2),
    ]
