"""What port 8123 refuses ends with a sentence that says what to do instead."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from sinks.http.plain_words import STATEMENT_BYTES_MAX, VIEWS_OF_K, plainly
from sinks.metrics import SinkMetrics
from testkit.http_interface import running_interface


@pytest.fixture(scope="module")
def port(embedded: Embedded) -> Iterator[int]:
    with running_interface(embedded, SinkMetrics()) as port:
        yield port


def ask(port: int, sql: str | None = None, **url: str) -> tuple[int, str]:
    """Status and body; without SQL it is a GET."""
    address = f"http://127.0.0.1:{port}/" + (f"?{urllib.parse.urlencode(url)}" if url else "")
    try:
        with urllib.request.urlopen(address, None if sql is None else sql.encode(), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


ADVISED = (
    ("SET x = 1", "name the setting in the URL (`?NAME=VALUE`)"),
    ("SET ROLE analyst", "there are no roles here"),
    ("USE db", "name the database in the URL (`?database=NAME`)"),
    ("CREATE TEMPORARY TABLE a (b Int8)", "send its rows with the query, as an external table"),
    ("KILL QUERY WHERE 1", "a query ends by its `max_execution_time`"),
    ("INSERT INTO labels (task) VALUES ('x')", "rows come by way of the collector alone"),
    ("DROP TABLE labels", "rows come by way of the collector alone"),
    ("SELECT 1 SETTINGS additional_table_filters = {'labels': '1'}", "write the condition into WHERE"),
    ("SELECT 1 SETTINGS max_threads = 1, additional_table_filters = {'a': '1'}", "write the condition into WHERE"),
    ("SELECT * FROM (SELECT 1 SETTINGS additional_result_filter = 'a')", "write the condition into WHERE"),
    ("SELECT * FROM (SELECT 1 SETTINGS final = 0)", "Cannot modify 'final' so: in a subquery"),
    ("SELECT 1 FORMAT Template", "it needs a template file"),
    ("SELECT * FROM label_export", "write `label_export(k = 5)`"),
    ("SELECT * FROM unjoin.label_export WHERE k = 5", "write `label_export(k = 5)`"),
    ("SELECT count() FROM label_export_votes", "write `label_export_votes(k = 5)`"),
    ("SELECT answer FROM `label_export` AS e", "write `label_export(k = 5)`"),
    ("DESCRIBE label_export", "write `label_export(k = 5)`"),
    ("SELECT '" + "x" * 300_000 + "'", f"The statement is over {STATEMENT_BYTES_MAX} bytes"),
    ("", "the request has no statement"),
)


@pytest.mark.parametrize(("sql", "advice"), ADVISED, ids=[sql[:60] for sql, _ in ADVISED])
def test_a_refusal_says_what_to_do_instead(port: int, sql: str, advice: str) -> None:
    status, text = ask(port, sql)
    assert status >= 400
    assert advice in text
    assert text.count("\n") == 1
    assert "/proc/" not in text
    assert "can be increased" not in text


def test_every_view_with_a_parameter_is_known(embedded: Embedded) -> None:
    """A further one would be refused in the engine's words."""
    found = embedded.select(
        "SELECT name FROM system.tables WHERE database = 'unjoin' AND create_table_query LIKE '%{k:%'", "TSV"
    )
    assert sorted(found.decode().split()) == sorted(VIEWS_OF_K)


def test_other_errors_of_a_view_stay_the_engine_s(port: int) -> None:
    status, text = ask(port, "SELECT nosuch FROM label_export(k = 5) AS label_export")
    assert (status, "nosuch" in text) == (404, True)
    other = QueryFailed(47, "Unknown identifier. (UNKNOWN_IDENTIFIER)")
    assert plainly(other, "SELECT label_export\nFROM t") is other


def test_a_statement_may_be_as_long_as_the_documentation_says(port: int) -> None:
    """The engine's own text of it, with each item on a line, is several times as long."""
    items = "1," * 40_000 + "1"
    assert 3 * len(items) < STATEMENT_BYTES_MAX
    status, text = ask(port, f"SELECT {items}")
    assert (status, text.count("1")) == (200, 40_001)
    answer = "x" * (STATEMENT_BYTES_MAX - 20)
    assert ask(port, f"SELECT '{answer}'") == (200, f"{answer}\n")


@pytest.mark.parametrize("url", [{"querry": "SELECT 1"}, {"query": ""}, {"query": " \n"}, {"database": "unjoin"}])
def test_a_request_with_parameters_and_no_query_is_refused(port: int, url: dict[str, str]) -> None:
    """A misspelt `query` was answered with "Ok."; without any parameter that is the answer of a health check."""
    status, text = ask(port, **url)
    assert status == 400
    assert "Empty query: the request has no statement. Give it as `query` in the URL" in text
    assert ask(port) == (200, "Ok.\n")
