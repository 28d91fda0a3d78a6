"""Which statements and settings pass, judged by text alone."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.http.interface import ENGINE_SHARE
from sinks.http.read_only import BOUNDED, ReadOnlyPolicy, capped, changeable, changeable_settings, policy_of
from sinks.http.refusals import NotAllowed
from sinks.http.request_fields import HARMLESS
from sinks.http.statement import last_settings, output_format_of
from testkit.sink_configs import http_config, query_bounds

POLICY: ReadOnlyPolicy = policy_of(
    setting_names=[
        "final",
        "max_threads",
        "max_ast_depth",
        "format_schema",
        "output_format_schema",
        "limit",
        "readonly",
        "max_execution_time",
        "max_result_rows",
        "output_format_json_quote_64bit_integers",
    ],
    table_functions=["file", "url", "s3", "s3Cluster", "numbers", "values", "format", "remote", "python"],
    functions=["file", "format", "upper"],
)


def admit(canonical: str, parameters: dict[str, str] | None = None) -> None:
    """Raises unless the statement passes."""
    POLICY.admit(canonical, POLICY.judged(canonical, parameters or {}))


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT 1",
        "WITH\n    1 AS x\nSELECT x",
        "(SELECT 1)\nUNION ALL\n(SELECT 2)",
        "SHOW TABLES",
        "DESCRIBE TABLE unjoin.signals",
        "EXPLAIN\nSELECT 1",
        "EXISTS TABLE signals",
        "SELECT format('{}', 1), upper('profile'), 'files', 'evaluation', 'AIR', 'maintain', 'https://url/'",
        "SELECT url FROM analytics WHERE url IN ('a')",
        "SELECT *\nFROM numbers(10)",
        "SELECT errors, processes\nFROM t",
        "SELECT name\nFROM system.tables",
    ],
)
def test_reading_passes(canonical: str) -> None:
    admit(canonical)


@pytest.mark.parametrize(
    "canonical",
    [
        "INSERT INTO labels",
        "KILL QUERY WHERE 1 ASYNC",
        "SET readonly = 0",
        "USE default",
        "DROP TABLE labels",
        "SYSTEM FLUSH LOGS",
        "BACKUP TABLE labels TO File('x')",
        "",
        "-- SELECT",
    ],
)
def test_anything_but_reading_is_refused(canonical: str) -> None:
    """`KILL QUERY` passes `readonly = 1`, and could end the sink's own insert."""
    with pytest.raises(NotAllowed) as raised:
        admit(canonical)
    assert raised.value.code == 164


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT file('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT FILE('/etc/passwd')",
        "SELECT * APPLY(file)",
        "SELECT arrayMap(file, ['/etc/passwd'])",
        "SELECT '\\'', file('/etc/passwd'), '\\''",
        "SELECT 'it''s', file('/etc/passwd')",
        "SELECT *\nFROM values('a String ALIAS file(\\'/etc/passwd\\')', 1)",
        "SELECT *\nFROM `values`('a String ALIAS eval(1)', 1)",
        "SHOW TABLES LIKE 'file'",
        "SELECT 'file' -- '",
        "SELECT ‘file’",
        "SELECT 'file\n'",
        "SELECT 1\nINTO OUTFILE 'x'\nFORMAT CSV",
        "SELECT *\nFROM executable('a')",
        "SELECT *\nFROM eval('SELECT 1')",
        "SELECT evalMLMethod(1)",
        "SELECT getServerSetting('path')",
        "SELECT *\nFROM system.server_settings",
        "SELECT aiGenerate('x')",
        "SELECT AIGenerate('x')",
        "SELECT *\nFROM url('http://127.0.0.1/', 'CSV', 'a String')",
        "DESCRIBE TABLE url('http://127.0.0.1/')",
        "SELECT *\nFROM `s3Cluster`('a')",
        "SELECT *\nFROM python(df)",
        "SELECT *\nFROM Python(df)",
        "SELECT *\nFROM remote ('a')",
    ],
)
def test_what_reaches_outside_is_refused_wherever_it_stands(canonical: str) -> None:
    with pytest.raises(NotAllowed) as raised:
        admit(canonical)
    assert raised.value.code == 497


TEXT_OF_PEOPLE = (
    "a file",
    "INTO OUTFILE",
    "eval(1)",
    "aiGenerate(x)",
    "errors in the system",
    "_part",
    "url('x')",
    "it's",
)


@pytest.mark.parametrize("text", TEXT_OF_PEOPLE)
def test_text_is_data_in_a_literal_and_in_a_parameter(text: str) -> None:
    """A label that somebody wrote has to be found by its own words."""
    literal = text.replace("'", "\\'")
    admit(f"SELECT count()\nFROM labels\nWHERE (answer = '{literal}') OR (answer IN ('{literal}', 'x'))")
    admit("SELECT count()\nFROM labels\nWHERE answer = {x:String}", {"x": text})


@pytest.mark.parametrize(
    ("canonical", "parameters"),
    [
        ("SELECT *\nFROM {x:Identifier}", {"x": "file"}),
        ("SELECT *\nFROM {a:Identifier}.{b:Identifier}", {"a": "system", "b": "errors"}),
        ("SELECT *\nFROM values({x:String}, 1)", {"x": "a String ALIAS file('/etc/passwd')"}),
        ("SHOW TABLES LIKE {x:String}", {"x": "file"}),
    ],
)
def test_a_parameter_is_judged_where_it_can_become_code(canonical: str, parameters: dict[str, str]) -> None:
    with pytest.raises(NotAllowed) as raised:
        admit(canonical, parameters)
    assert raised.value.code == 497


NO_QUOTE = st.text(st.characters(exclude_characters="'"), max_size=60)


@given(NO_QUOTE, st.sampled_from(["file", "outfile", "executable", "eval", "getServerSetting"]), NO_QUOTE)
def test_a_forbidden_word_is_found_in_any_surroundings(before: str, word: str, after: str) -> None:
    """Letters, digits and underscores around it would make it another word."""
    text = f"SELECT {before} {word} {after}"
    with pytest.raises(NotAllowed):
        admit(text)


def test_readonly_is_the_last_setting_of_a_session_and_every_bound_is_set() -> None:
    """What follows `readonly` could not be set; what precedes it cannot be changed after."""
    settings = POLICY.session_settings({"limit": "5"}, query_bounds())
    assert list(settings)[-1] == "readonly"
    assert settings["readonly"] == "1"
    assert settings["final"] == "1"
    assert settings["limit"] == "5"
    assert settings["max_execution_time"] == "30"
    assert settings["max_memory_usage"] == str(3 * 2**28)  # three quarters of 1 GiB


@pytest.mark.parametrize(
    ("asked", "got"), [("10", "10"), ("0", "30"), ("-1", "30"), ("31", "30"), ("1e9", "30"), ("nan", "30")]
)
def test_a_bound_can_be_lowered_and_never_lifted(asked: str, got: str) -> None:
    """0 would mean no bound to the engine."""
    assert POLICY.session_settings({"max_execution_time": asked}, query_bounds())["max_execution_time"] == got


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, ""),
        ({"final": "1", "max_execution_time": "30", "max_threads": "1"}, ""),
        ({"max_execution_time": "100", "max_threads": "64"}, "max_execution_time=30, max_threads=2"),
        ({"max_memory_usage": "99999999999"}, f"max_memory_usage={3 * 2**28}"),
        ({"max_result_rows": "0", "max_result_bytes": "1e12"}, "max_result_rows=10000000, max_result_bytes=268435456"),
        ({"max_execution_time": "0.5"}, "max_execution_time=30"),
    ],
)
def test_a_bound_that_is_not_as_it_was_asked_for_is_told(asked: dict[str, str], told: str) -> None:
    assert capped(asked, query_bounds()) == told


def test_documentation_says_what_is_capped_and_at_what() -> None:
    page = (Path(__file__).parents[3] / "docs/clickhouse.md").read_text()
    section = page.split("### Limits\n")[1].split("\n### ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) ", section, re.MULTILINE))
    assert rows == {name: str(getattr(query_bounds(), name)) for name in BOUNDED}
    assert f"small place ([below](#memory)) {int(http_config().light_bytes * ENGINE_SHARE)} |" in section


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("max_ast_depth", "1", 164),
        ("additional_table_filters", "{'labels': 'file(1)'}", 164),
        ("http_response_headers", "{'a': 'b'}", 164),
        ("readonly", "0", 164),
        ("format_schema", "x", 164),
        ("output_format_schema", "/tmp/x", 164),
        ("nonsense", "1", 115),
        ("max_threads", "many", 53),
        ("async_insert", "many", 36),
    ],
)
def test_a_setting_that_is_not_welcome_is_refused_as_a_server_does(name: str, value: str, code: int) -> None:
    """`output_format_schema` names a file that would be written."""
    with pytest.raises(NotAllowed) as raised:
        POLICY.session_settings({name: value}, query_bounds())
    assert raised.value.code == code


def test_no_setting_that_is_welcome_names_a_path() -> None:
    assert changeable("output_format_json_quote_64bit_integers")
    assert not changeable("output_format_schema")
    assert not changeable("readonly")


@pytest.mark.parametrize(
    ("canonical", "named"),
    [
        ("SELECT 1", "TabSeparated"),
        ("SELECT 1\nFORMAT JSON", "JSON"),
        ("SELECT 1\nFORMAT JSON\nSETTINGS max_threads = 1", "JSON"),
        ("SELECT '\\nFORMAT JSON'", "TabSeparated"),
    ],
)
def test_the_format_is_the_statement_s_own_or_the_default(canonical: str, named: str) -> None:
    assert output_format_of(canonical, "TabSeparated") == named


@pytest.mark.parametrize(
    ("canonical", "kept", "settings"),
    [
        ("SELECT 1\nSETTINGS a = 1, b = 'it\\'s', c = true\nFORMAT JSON", "SELECT 1\nFORMAT JSON", ["1", "it's", "1"]),
        ("SELECT 1\nFORMAT JSON\nSETTINGS a = -1.5", "SELECT 1\nFORMAT JSON", ["-1.5"]),
        ("SELECT 1\nSETTINGS a = 1\nFORMAT CSV\nSETTINGS b = 2", "SELECT 1\nFORMAT CSV", ["1", "2"]),
        ("SELECT '\\nSETTINGS a = 1'", None, []),
        ("SELECT *\nFROM\n(\n    SELECT 1\n    SETTINGS a = 1\n)", None, []),
        ("SELECT 1\nSETTINGS a = 1\nUNION ALL\nSELECT 2", None, []),
        ("SELECT 1\nSETTINGS a = {'labels': 'file(1)'}", None, []),
        ("SELECT 1\nSETTINGS a = DEFAULT", None, []),
    ],
)
def test_only_last_settings_of_plain_values_are_taken_from_a_statement(
    canonical: str, kept: str | None, settings: list[str]
) -> None:
    """What stays there is refused by the engine, for its session is read-only."""
    rest, taken = last_settings(canonical)
    assert (rest, list(taken.values())) == (kept or canonical, settings)


def test_what_changes_nothing_changes_nothing_in_a_statement_s_settings_either() -> None:
    """Tools mark their statements so: `SETTINGS log_comment = 'dbt'`."""
    asked = {name: "1" for name in HARMLESS if name != "readonly"}
    assert POLICY.session_settings(asked, query_bounds()) == POLICY.session_settings({}, query_bounds())


def test_only_a_question_about_settings_is_rewritten() -> None:
    assert changeable_settings("SELECT 1") == "SELECT 1"
    assert (
        changeable_settings("SELECT name\nFROM system.settings_changes") == "SELECT name\nFROM system.settings_changes"
    )
    assert "AS readonly" in changeable_settings("SELECT\n    name,\n    readonly\nFROM system.settings\nLIMIT 1")
