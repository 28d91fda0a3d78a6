"""Attacks on port 8123: a literal, a parameter, a setting, a form that becomes code; and text that is only text."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from sinks.http.statement import last_settings, without_literals
from sinks.metrics import SinkMetrics
from testkit.http_interface import running_interface
from testkit.sink_records import label, labels

CANARY = "canary-8471"


@pytest.fixture(scope="module")
def port(embedded: Embedded) -> Iterator[int]:
    with running_interface(embedded, SinkMetrics()) as port:
        yield port


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a file that holds the canary, which no answer may."""
    path = tmp_path_factory.mktemp("secret") / "secret.txt"
    path.write_text(f"{CANARY}\n")
    return str(path)


def ask(port: int, sql: str, form: dict[str, str] | None = None, **url: str) -> tuple[int, str]:
    """Status and body; names of a form that begin with `@` are files."""
    sent: dict[str, str] = {}
    address, body = f"http://127.0.0.1:{port}/?{urllib.parse.urlencode(url)}", sql.encode()
    if form is not None:
        sent["Content-Type"] = "multipart/form-data; boundary=b"
        parts = []
        for name, value in {"query": sql, **form}.items():
            filename = "; filename=f" if name.startswith("@") else ""
            disposition = f'Content-Disposition: form-data; name="{name.lstrip("@")}"{filename}'
            parts.append(f"--b\r\n{disposition}\r\n\r\n{value}\r\n")
        body = ("".join(parts) + "--b--\r\n").encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, sent), timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


# `PATH` is that of the secret.
CALLED = (
    "SELECT file('PATH')",
    "SELECT `file`('PATH'), \"file\"('PATH')",
    "SELECT `fi\\x6ce`('PATH')",
    "SELECT arrayMap(file, ['PATH'])",
    "SELECT arrayMap(x -> file(x), ['PATH'])",
    "SELECT * APPLY(file) FROM (SELECT 'PATH')",
    "SELECT * APPLY file FROM (SELECT 'PATH')",
    "SELECT COLUMNS('x') APPLY(file) FROM (SELECT 'PATH' AS x)",
    "WITH file AS f SELECT f('PATH')",
    "WITH (x -> file(x)) AS f SELECT f('PATH')",
    "WITH (SELECT file('PATH')) AS f SELECT f",
    "SELECT 1 WHERE file('PATH') = ''",
    "SELECT 1 ORDER BY file('PATH')",
    "SELECT 'PATH' AS p, file(p)",
    "SELECT '\\'', file('PATH'), '\\''",
    "SELECT 'it''s', file('PATH'), ''",
    "SELECT '\\\\', file('PATH'), '\\\\'",
    "SELECT 'a\\\n', file('PATH') --'",
    "SELECT 'a', /* ' */ file('PATH') /* ' */",
    "SELECT 'a' -- '\n, file('PATH')",
    "SELECT 'a' # '\n, file('PATH')",
    "SELECT $h$ ' $h$, file('PATH'), $h$ ' $h$",
    "SELECT ‘ ’, file('PATH'), ‘ ’",
    "SELECT 1 AS `it's`, file('PATH'), 2 AS `it's too`",
    "SELECT 1 AS \"it's\", file('PATH'), 2 AS \"it's too\"",
    "SELECT x'27', file('PATH'), x'27'",
    "SELECT - -1, file('PATH'), '\\n'",
    "SELECT * FROM file('PATH', LineAsString)",
    "DESCRIBE file('PATH')",
    "SELECT 1 IN file('PATH', LineAsString)",
    "SELECT * FROM values('x UInt8, a String ALIAS file(\\'PATH\\')', 1)",
    "SELECT a FROM values('x UInt8, a String ALIAS file(\\'PATH\\')', 1)",
    "SELECT a FROM `values`('x UInt8, a String ALIAS file(\\'PATH\\')', 1)",
    "SELECT a FROM VALUES('x UInt8, a String ALIAS file(\\'PATH\\')', 1)",
    "SELECT a FROM SQLStandardValues('x UInt8, a String ALIAS file(\\'PATH\\')', 1)",
    "SELECT a FROM generateRandom('x UInt8, a String ALIAS file(\\'PATH\\')') LIMIT 1",
    "SELECT a FROM null('x UInt8, a String MATERIALIZED file(\\'PATH\\')')",
    "SELECT a FROM viewIfPermitted(SELECT 1 AS x ELSE generateRandom('x UInt8, a String ALIAS file(\\'PATH\\')'))",
    "SELECT a FROM values('x UInt8, a String ALIAS `fi\\\\x6ce`(\\'PATH\\')', 1)",
    "SELECT a FROM values((('x UInt8, a String ALIAS `fi\\\\x6ce`(\\'PATH\\')')), 1)",
    "WITH 'x UInt8, a String ALIAS `fi\\\\x6ce`(\\'PATH\\')' AS s SELECT a FROM values(s, 1)",
    "WITH concat('x UInt8, a String ALIAS fi', 'le(\\'PATH\\')') AS s SELECT a FROM values(s, 1)",
    "SELECT a FROM values(concat('x UInt8, a String ALIAS fi', 'le(\\'PATH\\')'), 1)",
    "SELECT a FROM generateRandom('x UInt8, a String ALIAS `fi\\\\x6ce`(\\'PATH\\')') LIMIT 1",
    "SELECT a FROM generateRandom(concat('x UInt8, a String ALIAS fi', 'le(\\'PATH\\')')) LIMIT 1",
    "SELECT any(a) FROM null(concat('x UInt8, a String ALIAS fi', 'le(\\'PATH\\')'))",
    "SELECT a FROM viewIfPermitted(SELECT 1 AS x ELSE null(concat('x UInt8, a String ALIAS fi', 'le(\\'PATH\\')')))",
    "DESCRIBE format(CSV, concat('x UInt8, a ALIAS CAST(1, concat(\\'Enum8(\\', char(39), replaceAll(fi', "
    "'le(\\'PATH\\'), char(10), \\'\\'), char(39), \\'=1)\\'))'), '1')",
    "SELECT a FROM format(CSV, 'x UInt8, a String ALIAS file(\\'PATH\\')', '1')",
    "SELECT a FROM view(SELECT file('PATH') AS a)",
    "SELECT * FROM eval('SELECT file(\\'PATH\\')')",
    "SELECT * FROM loop('system', 'errors')",
    "SELECT * FROM merge('sys' || 'tem', '^errors')",
    "SELECT * FROM executable('cat PATH', TSV, 'a String')",
    "SELECT * FROM dictionary('file')",
    "SELECT * FROM remote('127.0.0.1', view(SELECT file('PATH')))",
    "SELECT * FROM default.`PATH`",
    "SHOW TABLES LIKE '\\' OR file(\\'PATH\\') = \\''",
    "SHOW COLUMNS FROM labels WHERE file('PATH') != ''",
    "EXPLAIN SELECT file('PATH')",
    "SELECT * FROM (EXPLAIN SYNTAX SELECT file('PATH'))",
    "SELECT 1 INTO OUTFILE 'PATH'",
    "SELECT 1 FORMAT CSV SETTINGS readonly = 0",
    "SELECT 1 SETTINGS additional_result_filter = 'file(\\'PATH\\') = \\'\\''",
    "SELECT 1 SETTINGS additional_table_filters = {'labels': 'file(\\'PATH\\') = \\'\\''}",
    "SELECT * FROM (SELECT 1 SETTINGS additional_result_filter = 'file(\\'PATH\\') = \\'\\'')",
    "SELECT * FROM view(SELECT 1 FROM labels SETTINGS additional_table_filters = {'labels': 'file(\\'PATH\\') = 1'})",
    "SELECT (SELECT * FROM labels SETTINGS additional_table_filters = {'labels': 'throwIf(1, file(\\'PATH\\'))'})",
    "SELECT 1 SETTINGS limit = 1 UNION ALL SELECT 2 FROM labels",
    "SELECT 1 SETTINGS output_format_schema = 'PATH'",
    "SELECT 1 SETTINGS format_schema = 'PATH'",
    "SELECT 1 SETTINGS a = 1, readonly = 2",
    "SELECT 1; SELECT file('PATH')",
    "CREATE TEMPORARY TABLE t AS SELECT file('PATH')",
    "CREATE FUNCTION f AS (x) -> file(x)",
    "EXECUTE IMMEDIATE 'SELECT file(\\'PATH\\')'",
)


@pytest.mark.parametrize("sql", CALLED)
def test_no_text_becomes_code(port: int, secret: str, sql: str) -> None:
    """Each is refused; the ones that do not parse in this engine may in another."""
    status, text = ask(port, sql.replace("PATH", secret))
    assert status >= 400
    assert CANARY not in text


@pytest.mark.parametrize(
    ("sql", "url"),
    [
        ("SELECT {f:Identifier}('PATH')", {"param_f": "file"}),
        ("SELECT * FROM {f:Identifier}", {"param_f": "file"}),
        ("SELECT a FROM values({s:String}, 1)", {"param_s": "x UInt8, a String ALIAS file('PATH')"}),
        ("SELECT * FROM {d:Identifier}.{t:Identifier}", {"param_d": "default", "param_t": "PATH"}),
        ("SELECT * FROM `PATH`", {"database": "default"}),
        ("SELECT 1", {"additional_table_filters": "{'labels': 'file(1)'}"}),
        ("SELECT 1", {"output_format_schema": "PATH"}),
        ("SELECT 1", {"output_format_json_quote_denormals = 1 --": "x"}),
        ("SELECT 1", {"output_format_json_quote_denormals = 1, additional_result_filter": "file('PATH') = ''"}),
        ("SELECT 1", {"output_format_no_such": "1"}),
        ("SELECT 1", {"output_format_json_quote_denormals\0": "1"}),
        ("SELECT 1", {"database": "unjoin`; SELECT file('PATH') --"}),
        ("SELECT 1", {"default_format": "CSV INTO OUTFILE 'PATH'"}),
        ("'), file('PATH'", {"query": "SELECT ('"}),
    ],
)
def test_no_field_of_the_url_becomes_code(port: int, secret: str, sql: str, url: dict[str, str]) -> None:
    status, text = ask(
        port, sql.replace("PATH", secret), **{name: value.replace("PATH", secret) for name, value in url.items()}
    )
    assert status >= 400
    assert CANARY not in text


@pytest.mark.parametrize(
    "form",
    [
        {"t_structure": "a String DEFAULT file('PATH')"},
        {"t_structure": "x UInt8, a String ALIAS file('PATH')"},
        {"t_structure": "x UInt8, a Enum8('a' = 1) DEFAULT file('PATH')"},
        {"t_structure": "x UInt8, a Array(String) ALIAS [file('PATH')]"},
        {"t_structure": "x UInt8, a Tuple(b String DEFAULT file('PATH'))"},
        {"t_structure": "x UInt8'); SELECT file('PATH') --"},
        {"t_structure": "`a` String', 'x') FROM file('PATH'"},
        {"t_types": "UInt8, String DEFAULT file('PATH')"},
        {"t_types": "AggregateFunction(sum, UInt8)"},
        {"t_types": "UInt8", "t_format": "Values"},
        {"t_types": "UInt8", "t_format": "TSV', 'a String') FROM file('PATH"},
        {"t_types": "UInt8", "t_format": "Native"},
        {"t_types": ""},
    ],
)
def test_no_external_table_becomes_code(port: int, secret: str, form: dict[str, str]) -> None:
    """Its structure is part of a statement that runs before the session is read-only."""
    fields = {name: value.replace("PATH", secret) for name, value in form.items()}
    status, text = ask(port, "SELECT * FROM t", {**fields, "@t": "1\n"})
    assert status == 404 if form.get("t_format", "").startswith(("Values", "TSV'")) else status == 400
    assert CANARY not in text


@pytest.mark.parametrize("name", ["t; DROP TABLE labels", "a'b", "`t`", "", "x" * 65, "labels.x"])
def test_an_external_table_has_an_identifier_s_name(port: int, name: str) -> None:
    assert ask(port, "SELECT 1", {f"@{name}": "1\n"})[0] == 400


def test_an_external_table_lives_as_long_as_its_query_and_hides_no_other(port: int) -> None:
    form = {"labels_types": "UInt8", "@labels": "7\n"}
    assert ask(port, "SELECT _1 FROM labels", form) == (200, "7\n")
    assert ask(port, "SELECT _1 FROM labels")[0] == 404
    assert ask(port, "SELECT count() >= 0 FROM unjoin.labels", form) == (200, "1\n")


def as_parameter(text: str) -> str:
    """As ClickHouse reads the value of a parameter: as in TabSeparated."""
    for character, escape in {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"}.items():
        text = text.replace(character, escape)
    return text


def canonical_of(engine: Embedded, sql: str) -> str:
    return engine.read("SELECT formatQuery({q:String})", "RawBLOB", None, {"q": as_parameter(sql)}).body.decode()


def test_an_external_table_that_swells_is_refused(port: int) -> None:
    """A byte of a form can be hundreds of a row, and the engine would keep them beside the query's own bound."""
    status, text = ask(port, "SELECT count() FROM t", {"t_types": "FixedString(255)", "@t": "\n" * 1_000_000})
    assert (status, text.split(".")[0]) == (500, "Code: 241")


TEXTS = (
    "a file", "file('/etc/passwd')", "INTO OUTFILE 'x'", "eval(1)", "aiGenerate('x')", "errors in the system", "_part",
    "url('http://x')", "SHOW", "it's", "\\", "\\'", "-- x", "/* x */", "‘x’", "$$x$$", "`x`", '"x"',
    "a\nb", "a\tb", "ß😀",
    "SETTINGS readonly = 0", "\nFORMAT JSON", "\nSETTINGS max_threads = 1",
)  # fmt: skip


def test_whatever_somebody_wrote_is_found_by_its_own_text(port: int, engine: Embedded) -> None:
    """As a literal, and as a parameter: labels are what people write."""
    engine.insert(labels([label(number, f"task-{number}", text) for number, text in enumerate(TEXTS)]))
    for number, text in enumerate(TEXTS):
        literal = text.replace("\\", "\\\\").replace("'", "\\'")
        found = (200, f"task-{number}\n")
        assert ask(port, f"SELECT task FROM labels WHERE answer = '{literal}'") == found, text
        assert ask(port, f"SELECT task FROM labels WHERE answer IN ('{literal}', '')") == found, text
        assert ask(port, "SELECT task FROM labels WHERE answer = {x:String}", param_x=as_parameter(text)) == found, text


# A statement is UTF-8, which no lone surrogate is.
NASTY = st.text(st.sampled_from("'\\`\"$-#/* \n\t‘’“”(),;:={}aftile0x") | st.characters(codec="utf-8"), max_size=20)
LITERAL, CALL = "inliteral", "outside"


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A SELECT of literals with nasty text and one marker, names in nasty quotes, and calls with the other marker."""

    def item() -> str:
        text = draw(NASTY) + LITERAL + draw(NASTY)
        match draw(st.sampled_from("lcna")):
            case "l":
                return "'" + text.replace("\\", "\\\\").replace("'", draw(st.sampled_from(("\\'", "''")))) + "'"
            case "c":
                return f"{CALL}('{LITERAL}')"
            case "n":
                quote = draw(st.sampled_from('`"'))
                return f"1 AS {quote}" + draw(NASTY).replace("\\", "\\\\").replace(quote, f"\\{quote}") + f"x{quote}"
        return f"/* {draw(NASTY).replace('*', '')} */ 1 -- {draw(NASTY).replace(chr(10), '')}\n"

    return "SELECT " + ", ".join([item() for _ in range(draw(st.integers(1, 5)))])


@given(statements())
def test_the_engine_s_text_is_cut_into_literals_and_code_as_the_engine_does(embedded: Embedded, sql: str) -> None:
    """Whatever stands in a literal is not in the code, and whatever is called is."""
    try:
        canonical = canonical_of(embedded, sql)
    except QueryFailed:
        return  # it is no statement to the engine
    code = without_literals(canonical)
    assert code is None or (LITERAL not in code and code.count(f"{CALL}(") == canonical.count(f"{CALL}("))


@given(st.lists(NASTY, max_size=3))
def test_settings_are_taken_from_the_engine_s_text_as_written(embedded: Embedded, values: list[str]) -> None:
    literals = [value.replace("\\", "\\\\").replace("'", "\\'") for value in values]
    clause = ", ".join(f"s{number} = '{literal}'" for number, literal in enumerate(literals))
    canonical = canonical_of(embedded, "SELECT 1" + (f" SETTINGS {clause}" if clause else "") + " FORMAT JSON")
    settings = {f"s{number}": value for number, value in enumerate(values)}
    assert last_settings(canonical) == ("SELECT 1\nFORMAT JSON", settings)


def test_a_read_only_session_drops_settings_of_a_subquery_without_a_word(embedded: Embedded) -> None:
    """Why they are refused: they would seem to count. Once the engine says so itself, the policy need not."""
    asked = "SELECT * FROM (SELECT getSetting('max_threads') SETTINGS max_threads = 7)"
    assert embedded.read(asked, "TSV").body == b"7\n"
    assert embedded.read(asked, "TSV", {"readonly": "1"}).body != b"7\n"


def test_a_table_function_s_structure_runs_expressions_in_a_read_only_session(embedded: Embedded, secret: str) -> None:
    """Why literals count beside a table function. Once the engine refuses it, they may be data there too."""
    rows = embedded.read(
        f"SELECT a FROM values('x UInt8, a String ALIAS file(\\'{secret}\\')', 1)", "TSV", {"readonly": "1"}
    )
    assert CANARY in rows.body.decode()
