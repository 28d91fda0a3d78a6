"""Pure: sentences in place of the engine's words, where those name a remedy that is refused here, or none.

The code stays the engine's, so that clients understand.
"""

import re

from sinks.clickhouse.errors import QueryFailed

STATEMENT_BYTES_MAX = 262_144  # the engine's own `max_query_size`
# The engine runs the text that `formatQuery` makes of a statement: each item on a line of its own, indented.
FORMATTED_BYTES_MAX = 8 * STATEMENT_BYTES_MAX

# Views with a parameter. Without it the engine finds no columns, and says so in as many ways as there are to ask.
VIEWS_OF_K = ("label_export_votes", "label_export")
_WITHOUT_K = re.compile(
    r"(?:FROM|JOIN|TABLE|DESCRIBE)\s+(?:[`\"]?unjoin[`\"]?\s*\.\s*)?[`\"]?"
    rf"(?P<view>{'|'.join(VIEWS_OF_K)})(?![\w$])[`\"]?(?!\s*\()"
)
_NO_COLUMNS = (1, 10, 47, 51, 90, 456)
_TOO_LONG = re.compile(r"\A(?:Syntax error: )?Max query size exceeded")


def plainly(error: QueryFailed, judged: str = "") -> QueryFailed:
    """The error with a sentence that says what to do, where there is one; else as it is.

    Args:
        judged: what counts of the statement (`ReadOnlyPolicy.judged`); empty before that is known.
    """
    if _TOO_LONG.match(error.detail):
        return QueryFailed(
            error.code,
            f"The statement is over {STATEMENT_BYTES_MAX} bytes, or over {FORMATTED_BYTES_MAX} as it is formatted: "
            "send long values as parameters (`param_NAME`), long lists as an external table. (SYNTAX_ERROR)",
        )
    if error.code in _NO_COLUMNS and (named := _WITHOUT_K.search(judged)):
        symbol = re.search(r"\([A-Z_]+\)\Z", error.detail)
        view = named["view"]
        sentence = f"The view `{view}` wants the fewest votes that a row may have: write `{view}(k = 5)`."
        return QueryFailed(error.code, f"{sentence} {symbol[0]}" if symbol else sentence)
    return error
