"""What an exception of clickhouse-driver says about the rows of an insert, in one place.

    raised while                  what                                            the rows were
    the block is written          a value that does not fit its column            refused: the query was never whole
    any time                      ServerException, a code of DATA or DEPLOYMENT   refused: one block is checked whole
                                                                                  before any of it is stored
    any time                      ServerException, any other code                 perhaps stored
    any time                      EOFError, OSError, time-out, broken protocol    perhaps stored

"Perhaps" is repaired by inserting what is missing, so it is always safe to say; "refused" is not, for the halves of a
refused block are inserted as if nothing of it were there.
"""

import struct
from typing import Any

from clickhouse_driver import errors
from clickhouse_driver.reader import read_binary_bytes, read_binary_int32, read_binary_uint8

from sinks.clickhouse.errors import DATA_ERRORS
from sinks.engine import EngineError, Refused, Unknown

# Definite, and no row's fault: the table and this code do not belong together. A sink that is refused everything
# halts and says so. Whatever is in neither list (too many parts, memory, time, read-only, access, a full disk) may
# pass, and is tried again.
DEPLOYMENT_ERRORS = {
    16: "NO_SUCH_COLUMN_IN_TABLE",
    20: "NUMBER_OF_COLUMNS_DOESNT_MATCH",
    43: "ILLEGAL_TYPE_OF_ARGUMENT",
    46: "UNKNOWN_FUNCTION",
    47: "UNKNOWN_IDENTIFIER",
    50: "UNKNOWN_TYPE",
    60: "UNKNOWN_TABLE",
    62: "SYNTAX_ERROR",
    81: "UNKNOWN_DATABASE",
}
REFUSALS = DATA_ERRORS | DEPLOYMENT_ERRORS
SAME_ID_IS_RUNNING = 216

# Raised by the driver while it writes the external table: the server never saw the end of it and runs nothing.
_DOES_NOT_FIT = (
    errors.TypeMismatchError,
    errors.UnknownTypeError,
    errors.TooLargeStringSize,
    errors.CannotParseUuidError,
    errors.CannotParseDomainError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    struct.error,
)
# All that the driver raises about a conversation with a server; anything else is a bug, and ends the process.
DRIVER_ERRORS = (errors.Error, EOFError, OSError, *_DOES_NOT_FIT, IndexError)


def insert_failure(error: BaseException, *, sent: bool) -> EngineError:
    """The fate of an insert's rows after one of `DRIVER_ERRORS`; its text is without any value.

    Args:
        sent: the query and its whole block were handed to the socket, so the server may have run it.
    """
    if isinstance(error, errors.ServerException):
        if error.code in REFUSALS:
            return Refused(f"clickhouse refused the block: {error.code} ({REFUSALS[error.code]})")
        return Unknown(f"clickhouse failed on the block with code {error.code}")
    if not sent and isinstance(error, _DOES_NOT_FIT):
        return Refused(f"the block does not fit the table: {type(error).__name__}")
    return Unknown(f"no answer from clickhouse: {type(error).__name__}")


def server_exception(stream: Any) -> errors.ServerException:
    """Reads an exception off the wire, whatever bytes its text holds.

    The driver's own reader decodes strictly: a text that quotes a value, cut in the middle of a character, would cost
    the code, and with it the difference between refused and unknown (clickhouse-driver 0.2.11).
    """
    code = read_binary_int32(stream)
    read_binary_bytes(stream)  # the name, always DB::Exception
    text = read_binary_bytes(stream).decode("utf-8", "replace")
    read_binary_bytes(stream)  # the stack
    nested = server_exception(stream) if read_binary_uint8(stream) else None
    return errors.ServerException(text, code, nested=nested)
