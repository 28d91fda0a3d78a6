"""ClickHouse's error codes that a sink acts on, and the error of a query, whatever the engine.

Source: ClickHouse, src/Common/ErrorCodes.cpp.
"""

from sinks.engine import EngineError

MEMORY_LIMIT_EXCEEDED = 241
ACCESS_DENIED = 497
INCORRECT_DATA = 117
TOO_MANY_ROWS_OR_BYTES = 396
UNKNOWN_EXCEPTION = 1002
# Only the rows themselves can cause these codes: the sink bisects the block. Any other code (memory, disk, time, a bug
# of ours) is not the fault of a row: the sink repairs the block and tries again, and sets nothing aside.
DATA_ERRORS = {
    6: "CANNOT_PARSE_TEXT",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    33: "CANNOT_READ_ALL_DATA",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    INCORRECT_DATA: "INCORRECT_DATA",
    128: "TOO_LARGE_ARRAY_SIZE",
    131: "TOO_LARGE_STRING_SIZE",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    376: "CANNOT_PARSE_UUID",
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",  # `statements.py` raises it where a datum does not end where it should
    407: "DECIMAL_OVERFLOW",
    469: "VIOLATED_CONSTRAINT",
    748: "AVRO_EXCEPTION",
}


class QueryFailed(EngineError):
    """The engine refused a query.

    Attributes:
        code: the engine's; `UNKNOWN_EXCEPTION` where it named none.
        detail: the engine's text. It may quote the query, so only the client sees it, never a log.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"clickhouse refused the query with code {code}")
        self.code = code
        self.detail = detail
