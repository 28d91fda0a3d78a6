"""Pure: which statements and settings the HTTP interface lets through to the embedded engine.

`readonly = 1` alone does not make chdb read-only: scalar `file()`, `INTO OUTFILE`, `KILL QUERY` and `DESCRIBE url(…)`
pass it. So the policy examines the text that `formatQuery` makes of a statement, which has no comments, escapes or
keywords in odd case, and the engine runs this text. Of this text only what can be called or named counts: a string
literal or a parameter is data, but where the engine would read it as code (`ReadOnlyPolicy.judged`).

The structure that a table function is given is code too (`values('a String ALIAS file(…)', 1)`), whatever makes it: an
escape in a literal, an alias, `concat`. So it has to be written as one literal, of types of a closed list.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from sinks.http.external_tables import is_plain_structure
from sinks.http.plain_words import FORMATTED_BYTES_MAX
from sinks.http.refusals import ACCESS_DENIED, READONLY, TYPE_MISMATCH, UNKNOWN_SETTING, NotAllowed
from sinks.http.request_fields import HARMLESS, check_harmless
from sinks.http.statement import numbered_literals, without_literals

READING = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "EXPLAIN", "EXISTS"})

# These names are refused anywhere in what counts of a statement, called or not: `APPLY(file)` calls without brackets.
FORBIDDEN = re.compile(
    r"(?<![\w$])(?:file|outfile|executable|eval|getServerSetting|server_settings)(?![\w$])"
    r"|(?<![\w$])eval\w*[`\"]?\s*\("
    r"|(?<![\w$])ai\w*[`\"]?\s*\(",
    re.IGNORECASE,
)
FORBIDDEN_AI = re.compile(r"(?<![\w$])(?:ai[A-Z]|AI[A-Z][a-z])\w*")

# System tables that no reader may see. Error texts and running queries hold the literals of other readers' queries and
# of rows that were refused; parts and merges tell to the second when a label came. A statement is refused that has a
# word of each of these two patterns, in any order and quotes.
CLOSED = re.compile(
    r"(?<![\w$])(?:errors|processes|processlist|merges|moves|mutations|\w+_log|(?:\w+_)?parts(?:_\w+)?"
    r"|part_moves_between_shards|query_condition_cache|query_cache|remote_data_paths|asynchronous_inserts)(?![\w$])",
    re.IGNORECASE,
)
OF_THE_ENGINE = re.compile(r"(?<![\w$])(?:system|processlist)(?![\w$])|\A[\s(]*SHOW\s+MERGES", re.IGNORECASE)

# Virtual columns and functions that tell which part a row lies in, and so which labels left together. They are refused
# anywhere in a statement: joins, aliases and views need the name as well, and `*` and `COLUMNS(…)` never give them.
OF_A_PART = re.compile(
    r"(?<![\w$])(?:_part|_part_\w+|_partition_\w+|_block_\w+|_sample_factor|_row_exists|_disk_name|_data_version"
    r"|blockNumber|blockSize|blockSerializedSize|rowNumberInBlock|rowNumberInAllBlocks|indexHint"
    r"|lowCardinalityIndices|lowCardinalityKeys"
    r"|neighbor|runningDifference\w*|runningAccumulate|runningConcurrency)(?![\w$])",
    re.IGNORECASE,
)

# What `last_settings` has left in a statement. Those of a subquery the engine drops without a word in a read-only
# session; they are refused, for they would seem to count, and some hold SQL (`additional_table_filters`).
SETTINGS_WITHIN = re.compile(r"(?<![\w$])SETTINGS\s+\w+\s*=[^\n]*")

# SHOW is rewritten by the engine as another statement; a placeholder of an Identifier puts a value where names stand.
MAKES_CODE = re.compile(r"\A[\s(]*SHOW(?!\w)|(?<!\w)Identifier(?!\w)", re.IGNORECASE)

# All kinds of EXPLAIN but those of the text alone: the others count the parts that a condition on the key reaches.
EXPLAIN_OF_PARTS = re.compile(r"^[\s(]*EXPLAIN(?! (?:AST|SYNTAX|QUERY TREE)$)", re.MULTILINE)

# How many rows were read for a key says which parts it may lie in, wherever a statement may be about labels.
OF_LABELS = re.compile(r"label", re.IGNORECASE)
NO_COUNTS_OF_READ = {"output_format_write_statistics": "0"}

# Rows of the table come merged by their key; the engine's own choice of how to read FINAL gives one part's rows after
# the other's. The views of it give sums alone, and stay fast.
LABELS_ROWS = re.compile(r"(?<![\w$])labels(?![\w$])", re.IGNORECASE)
MERGED_BY_KEY = {
    "enable_vertical_final": "0",
    "split_parts_ranges_into_intersecting_and_non_intersecting_final": "0",
    "split_intersecting_parts_ranges_into_layers_final": "0",
}
NOT_FOR_LABELS = frozenset({"max_rows_to_read", "max_bytes_to_read", "read_overflow_mode"})
PROGRESS = re.compile(r"Progress", re.IGNORECASE)

# Without FINAL the rows of a table come part by part. So of labels there are counts alone then, grouped by what a row
# holds, as an audit asks: whatever gives one row before another says which of them left together.
COUNTS_OF_LABELS = re.compile(
    r"SELECT|FROM|WHERE|AND|OR|IN|GROUP|BY|AS|FORMAT|TabSeparated|TSV|CSV|JSON\w*"
    r"|unjoin|labels|row_id|day|task|kind|answer|version|row_hash|row_version|row_ms|event|copy"
    r"|count|concat|startsWith|toString|length|lower|hex|substring|SHA256|cityHash64|toInt64|toUInt16|[\d.]+"
    r"|sum|countSubstringsCaseInsensitiveUTF8|toUInt64|unhex"
)
NOT_WITH_COUNTS = frozenset(
    {
        *("max_rows_to_group_by", "group_by_overflow_mode", "limit", "offset", "extremes"),
        *("result_overflow_mode", "timeout_overflow_mode"),
    }
)

# Table functions that reach nothing but the tables which a reader may read anyway. `merge` is none of them: it names
# tables by a pattern, in which no forbidden name can be found. Nor are `generateRandom` and `null`, whose structure
# may be an expression, or `viewIfPermitted`, which takes any table function.
INWARD = frozenset(
    {
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "values", "SQLStandardValues"),
        *("generateSeries", "generate_series", "view"),
    }
)

# A call of VALUES, and what it may begin with: a structure, a number, or a tuple that begins with a literal.
VALUES = re.compile(r"(?<![\w$])(?:values|SQLStandardValues)[`\"]?\s*\(", re.IGNORECASE)
VALUES_BEGIN = re.compile(r"\s*(?:'(?P<structure>\d+)'\s*[,)]|-?[\d.]|\(\s*(?:'\d+'|-?[\d.]+|NULL)\s*,)")

# Settings that a client may change, beside `output_format_…`; none of them lets a statement reach more.
CHANGEABLE = frozenset(
    {
        *("final", "extremes", "limit", "offset", "max_block_size", "max_threads", "session_timezone"),
        *("max_result_rows", "max_result_bytes", "result_overflow_mode", "max_execution_time", "max_memory_usage"),
        *("max_rows_to_read", "max_bytes_to_read", "read_overflow_mode", "timeout_overflow_mode"),
        *("max_rows_to_group_by", "group_by_overflow_mode", "join_use_nulls", "any_join_distinct_right_table_keys"),
        *("totals_mode", "aggregate_functions_null_for_empty", "group_by_use_nulls", "transform_null_in"),
        *("prefer_column_name_to_alias", "date_time_output_format", "cast_keep_nullable", "use_uncompressed_cache"),
        *("optimize_read_in_order", "joined_subquery_requires_alias", "format_csv_delimiter"),
    }
)
OUTPUT_FORMAT = "output_format_"
NOT_CHANGEABLE = frozenset({"output_format_schema"})  # the engine writes to this path

# Settings that stock clients offer as arguments of their own, and what to do in place of them.
_FILTER = "its text is SQL that a statement's judge would not see; write the condition into WHERE"
INSTEAD = {
    "additional_table_filters": _FILTER,
    "additional_result_filter": _FILTER,
    "http_response_headers": "an answer has the headers of this port alone",
}

# What to do in place of a statement that does not read, by what it begins with. The last one matches any.
_INSTEAD_OF = {
    r"SET ROLE|SET DEFAULT ROLE": "there are no roles here, who reaches the port may read",
    r"SET\b": (
        "there are no sessions here that SET could last in; name the setting in the URL (`?NAME=VALUE`), or in "
        "SETTINGS at the statement's end"
    ),
    r"USE\b": (
        "there are no sessions here that USE could last in; name the database in the URL (`?database=NAME`), or before "
        "the table's name"
    ),
    r"(?:CREATE|CREATE OR REPLACE|REPLACE) TEMPORARY\b": (
        "there are no sessions here that a temporary table could last in; send its rows with the query, as an external "
        "table (a file of a form), or write WITH name AS (SELECT …)"
    ),
    r"KILL\b": "nobody ends another's query here; a query ends by its `max_execution_time`",
    r"": "SELECT, WITH, SHOW, DESCRIBE, EXPLAIN and EXISTS are run here; rows come by way of the collector alone",
}

# Settings with an upper bound, which is also what a client gets that sets none. To the engine 0 means no bound.
BOUNDED = ("max_execution_time", "max_memory_usage", "max_result_rows", "max_result_bytes", "max_threads")


class QueryBounds(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one query may cost; each attribute is the ClickHouse setting of its name.

    Attributes:
        max_execution_time: seconds.
        max_memory_usage: bytes that the engine allocates for it.
        max_result_rows, max_result_bytes: the size of the result before it is formatted.
        max_threads: threads of the engine.
    """

    max_execution_time: int
    max_memory_usage: int
    max_result_rows: int
    max_result_bytes: int
    max_threads: int


class ReadOnlyPolicy(msgspec.Struct, frozen=True):
    """Decides which statements and settings one engine gets.

    Attributes:
        setting_names: all settings of the engine.
        outward: matches a call of a table function that reads or writes outside the tables.
    """

    setting_names: frozenset[str]
    outward: re.Pattern[str]

    def judged(self, canonical: str, parameters: Mapping[str, str], database: str = "unjoin") -> str:
        """What counts of a statement: its text without literals, and the names that came beside it.

        Literals and parameters stay in it where they can become code or names: in SHOW, which the engine rewrites as
        another statement, with a placeholder of an Identifier, and where it cannot be told what is a literal.

        Args:
            canonical: the statement as `formatQuery` writes it.
            parameters: the values of its placeholders.
            database: the default database of its names.
        """
        code = without_literals(canonical)
        if code is None or MAKES_CODE.search(code):
            return "\n".join((canonical, *parameters.values(), database))
        return f"{code}\n{database}"

    def admit(self, canonical: str, judged: str) -> None:
        """Raises unless the statement only reads tables.

        Args:
            canonical: the statement as `formatQuery` writes it.
            judged: what counts of it.

        Raises:
            NotAllowed: READONLY or ACCESS_DENIED.
        """
        word = re.match(r"[\s(]*(\w*)", canonical)
        if word is None or word[1].upper() not in READING:
            raise NotAllowed(READONLY, f"Cannot execute query in readonly mode: {_instead_of(canonical)}. (READONLY)")
        if within := SETTINGS_WITHIN.search(judged):
            names = re.findall(r"(\w+)\s*=", within[0])
            for name in names:
                _refuse_with_advice(name)
            raise NotAllowed(
                READONLY,
                f"Cannot modify '{names[0]}' so: in a subquery no setting can be modified here, elsewhere each takes a "
                "number or a string. Write SETTINGS at the statement's end, or name it in the URL. (READONLY)",
            )
        if CLOSED.search(judged) and OF_THE_ENGINE.search(judged):
            raise NotAllowed(
                ACCESS_DENIED, "Not enough privileges. This table of the engine is closed. (ACCESS_DENIED)"
            )
        if OF_A_PART.search(judged):
            raise NotAllowed(
                ACCESS_DENIED, "Not enough privileges. Nobody is told which part a row lies in. (ACCESS_DENIED)"
            )
        if may_read_labels(judged) and EXPLAIN_OF_PARTS.search(canonical):
            raise NotAllowed(
                ACCESS_DENIED,
                "Not enough privileges. Of labels there are EXPLAIN AST, SYNTAX and QUERY TREE: the other kinds count "
                "parts. (ACCESS_DENIED)",
            )
        if FORBIDDEN.search(judged) or FORBIDDEN_AI.search(judged) or self.outward.search(judged):
            raise NotAllowed(
                ACCESS_DENIED,
                "Not enough privileges. This interface reads tables only: names of functions that reach outside "
                "are refused as names, and in literals of a statement that can make code of them: one with an "
                "Identifier's placeholder or SHOW. (ACCESS_DENIED)",
            )
        if not _values_are_plain(canonical):
            raise NotAllowed(
                ACCESS_DENIED,
                "Not enough privileges. The structure of `values` has to be one literal of names and ordinary types, "
                "without expressions: values('a String, b UInt8', ('x', 1)). (ACCESS_DENIED)",
            )

    def session_settings(self, asked: Mapping[str, str], bounds: QueryBounds) -> dict[str, str]:
        """The settings of a request's session, `readonly` last.

        Args:
            asked: what the request and the statement's last SETTINGS set.

        Raises:
            NotAllowed: READONLY or UNKNOWN_SETTING, as a server answers; TYPE_MISMATCH where a bound is no number.
        """
        settings = {"final": "1"}
        for name, value in asked.items():
            if not changeable(name) or name not in self.setting_names:  # a name becomes part of a statement
                if name in HARMLESS and name != "readonly":  # in a statement's SETTINGS; a request has lost them
                    check_harmless(name, value)
                    continue
                _refuse_with_advice(name)
                if name in self.setting_names:
                    raise NotAllowed(READONLY, f"Cannot modify '{name}' setting in readonly mode. (READONLY)")
                raise NotAllowed(UNKNOWN_SETTING, f"Unknown setting '{name[:100]}'. (UNKNOWN_SETTING)")
            settings[name] = value
        for name in BOUNDED:
            settings[name] = _bounded(name, settings.get(name, "0"), getattr(bounds, name))
        settings.setdefault("result_overflow_mode", "throw")
        # A statement's text may hold personal data, so the engine must not log it.
        return {**settings, "max_query_size": str(FORMATTED_BYTES_MAX), "log_queries": "0", "readonly": "1"}


def policy_of(setting_names: Iterable[str], table_functions: Iterable[str], functions: Iterable[str]) -> ReadOnlyPolicy:
    """The policy of one engine.

    Args:
        functions: names of scalar functions. One that shares its name with a table function (`format`) is refused
            where a table stands; elsewhere `readonly = 1` refuses the table function. DESCRIBE runs it all the same.
    """
    outward = set(table_functions) - INWARD
    calls, shared = _any(outward - set(functions)), _any(outward & set(functions))
    return ReadOnlyPolicy(
        setting_names=frozenset(setting_names),
        outward=re.compile(
            rf"(?<![\w$]){calls}[`\"]?\s*\(|(?<![\w$])(?:FROM|JOIN|TABLE|IN|DESC|DESCRIBE)\s+[`\"]?{shared}[`\"]?\s*\(",
            re.IGNORECASE,
        ),
    )


def _any(names: Iterable[str]) -> str:
    """A pattern that matches each of the names, and nothing where there is none."""
    return f"(?:{'|'.join(map(re.escape, sorted(names))) or '(?!)'})"


def _values_are_plain(canonical: str) -> bool:
    """Whether no VALUES is given a structure with expressions, or one that only the engine can tell."""
    code, literals = numbered_literals(canonical)
    if without_literals(canonical) is None and VALUES.search(canonical):
        return False
    for call in VALUES.finditer(code):
        begin = VALUES_BEGIN.match(code, call.end())
        if begin is None or (begin["structure"] and not is_plain_structure(literals[int(begin["structure"])])):
            return False
    return True


def _instead_of(canonical: str) -> str:
    """What to do in place of a statement that does not read: the end of a sentence."""
    return next(advice for pattern, advice in _INSTEAD_OF.items() if re.match(rf"[\s(]*{pattern}", canonical))


def _refuse_with_advice(name: str) -> None:
    if name in INSTEAD:
        raise NotAllowed(READONLY, f"Cannot modify '{name}' here: {INSTEAD[name]}. (READONLY)")


def capped(asked: Mapping[str, str], bounds: QueryBounds) -> str:
    """The bounds that a request gets other than it asked for, as `name=value, …`; empty where there is none.

    Args:
        asked: as `ReadOnlyPolicy.session_settings` has accepted it.
        bounds: the most of each.
    """
    got = {name: _bounded(name, asked[name], getattr(bounds, name)) for name in BOUNDED if name in asked}
    return ", ".join(f"{name}={value}" for name, value in got.items() if float(asked[name]) != float(value))


def may_read_labels(judged: str) -> bool:
    """Whether a statement may be about labels: every table and view of them has the word in its name."""
    return bool(OF_LABELS.search(judged))


def settings_of_labels(judged: str, asked: Mapping[str, str]) -> dict[str, str]:
    """What a statement about labels cannot change; empty for any other.

    `final = 0` is for an audit, which counts the rows that a merge will drop: of labels it gives counts alone.

    Raises:
        NotAllowed: READONLY, a request asks for another value.
    """
    if not may_read_labels(judged):
        return {}
    rows = LABELS_ROWS.search(judged)
    fixed = {**NO_COUNTS_OF_READ, **(MERGED_BY_KEY if rows else {})}
    for name, value in asked.items():
        if name in NOT_FOR_LABELS or fixed.get(name, value) != value:
            raise NotAllowed(READONLY, f"Cannot modify '{name}' setting where labels are read. (READONLY)")
    if rows and asked.get("final", "1") not in ("1", "true") and not _counts_labels(judged, asked):
        raise NotAllowed(
            READONLY,
            "Cannot modify 'final' setting where rows of labels are read: without it they come part by part, so it is "
            "for counts alone. (READONLY)",
        )
    return fixed


def _counts_labels(judged: str, asked: Mapping[str, str]) -> bool:
    for select in judged.split("\nUNION ALL\n"):
        words = re.findall(r"[\w$`\"]+", select)
        if LABELS_ROWS.search(select) and not (
            words.count("SELECT") == 1 and "count()" in select and all(map(COUNTS_OF_LABELS.fullmatch, words))
        ):
            return False
    return NOT_WITH_COUNTS.isdisjoint(asked)


def changeable(name: str) -> bool:
    """Whether a client may set this setting."""
    return name in CHANGEABLE or (name.startswith(OUTPUT_FORMAT) and name not in NOT_CHANGEABLE)


def changeable_settings(canonical: str) -> str:
    """The statement with a `system.settings` that says which settings a client may change here.

    Under `readonly = 1` this table calls every setting fixed, and clients that read it first (clickhouse-connect) would
    not send the settings that are changeable.
    """
    if not re.search(r"^FROM system\.settings$", canonical, re.MULTILINE):
        return canonical
    names = ", ".join(f"'{name}'" for name in sorted(CHANGEABLE))
    may_change = f"name IN ({names}) OR startsWith(name, '{OUTPUT_FORMAT}')"
    shown = f"FROM (SELECT * REPLACE (if({may_change}, 0, 1) AS readonly) FROM system.settings) AS settings"  # noqa: S608
    return re.sub(r"^FROM system\.settings$", lambda _: shown, canonical, flags=re.MULTILINE)


def _bounded(name: str, asked: str, most: int) -> str:
    try:
        wanted = float(asked)
    except ValueError:
        raise NotAllowed(TYPE_MISMATCH, f"Setting '{name}' must be a number. (TYPE_MISMATCH)") from None
    return f"{wanted:.0f}" if 1 <= wanted <= most else str(most)
