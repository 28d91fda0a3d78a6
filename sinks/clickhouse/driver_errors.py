"""Whether an exception of clickhouse-driver means that the rows of an insert were refused, or perhaps stored.

    raised while                  what                                            the rows were
    the block is written          a value that does not fit its column            refused: the query was never whole
    any time                      ServerException, a code of DATA or DEPLOYMENT   refused: one block is checked whole
                                                                                  before any of it is stored
    any time                      ServerException, any other code                 perhaps stored
    any time                      EOFError, OSError, time-out, broken protocol    perhaps stored

"Perhaps stored" is always safe to say: the sink then inserts only the missing rows. "Refused" must be certain: the sink
inserts the halves of a refused block as if none of its rows were there.
"""

import struct
from typing import Any

from clickhouse_driver import errors
from clickhouse_driver.reader import read_binary_bytes, read_binary_int32, read_binary_uint8

from sinks.clickhouse.errors import DATA_ERRORS
from sinks.engine import EngineError, Refused, Unknown

# These codes are final, and no row causes them: the table does not fit this code. The sink halts when everything is
# refused. A code in neither list (too many parts, memory, time, read-only, access, a full disk) may pass, and the sink
# tries again.
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
MAJORITY_IS_WAITED_FOR = 286  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE: nothing of this insert was stored

# The driver raises these while it writes the external table: the server never saw the end of it and runs nothing.
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


class Unreachable(Exception):
    """No server greets; the text says of each one why."""


# What the driver raises while it connects and is greeted.
CONNECT_ERRORS = (errors.Error, EOFError, OSError)
# All errors that the driver raises about its connection to a server; any other is a bug, and ends the process.
DRIVER_ERRORS = (*CONNECT_ERRORS, Unreachable, *_DOES_NOT_FIT, IndexError)
_ENDS = "ends the connection before it greets"
_URL = "UNJOIN_CLICKHOUSE_URL"
_WITHOUT_TLS = f"does not speak TLS there; name its port for TLS in {_URL}, or begin it with clickhouse://"
_WITH_TLS = f"{_ENDS}; if that is its port for TLS, begin {_URL} with clickhouses://, and 8123 is for HTTP alone"
_CERTIFICATE = "UNJOIN_CLICKHOUSE_TLS_CERT"
# By what stands in the driver's text, which repeats OpenSSL's; the first that fits.
_REASONS = (
    ("mismatch", f"shows a certificate of another name; name the host in {_URL} as its certificate does"),
    ("certificate has expired", "shows a certificate that has expired"),
    ("CERTIFICATE_VERIFY_FAILED", "shows a certificate that no authority of UNJOIN_CLICKHOUSE_TLS_CA signed"),
    ("ALERT_UNKNOWN_CA", f"does not know the authority that signed {_CERTIFICATE}"),
    ("ALERT_BAD_CERTIFICATE", f"refuses the certificate of {_CERTIFICATE}"),
    ("Connection refused", "refuses the connection"),
    ("Name or service not known", "is a name that nobody knows"),
    ("No address associated", "is a name that nobody knows"),
    ("timed out", "does not greet in time"),
)


def insert_failure(error: BaseException, *, sent: bool) -> EngineError:
    """`Refused` or `Unknown`, for an insert that ended with one of `DRIVER_ERRORS`; the text holds no value.

    Args:
        sent: whether the query and its whole block were written to the socket, so that the server may have run it.
    """
    if isinstance(error, errors.ServerException):
        if error.code in REFUSALS:
            return Refused(f"clickhouse refused the block: {error.code} ({REFUSALS[error.code]})")
        return Unknown(f"clickhouse failed on the block with code {error.code}")
    if not sent and isinstance(error, _DOES_NOT_FIT):
        return Refused(f"the block does not fit the table: {type(error).__name__}")
    return no_answer(error)


def no_answer(error: BaseException) -> Unknown:
    """What an error of the connection means to whoever asked."""
    return Unknown(f"no answer from clickhouse: {error if isinstance(error, Unreachable) else type(error).__name__}")


def why_unreachable(error: BaseException, *, secure: bool, connected: bool) -> str:
    """What a host did, and what to do, when a connection to it ended before it greeted.

    Args:
        connected: whether it took the connection, and agreed on TLS where that is spoken.
    """
    for text, reason in _REASONS:
        if text in str(error):
            return reason
    if not secure:
        return _WITH_TLS
    return f"{_ENDS}, as where it wants another {_CERTIFICATE} and _KEY" if connected else _WITHOUT_TLS


def server_exception(stream: Any) -> errors.ServerException:
    """Reads an exception from the connection, even if its text is not UTF-8.

    The driver's own reader (clickhouse-driver 0.2.11) decodes strictly: where the server cut a quoted value in the
    middle of a character, it would lose the code, and with it whether the rows were refused.
    """
    code = read_binary_int32(stream)
    read_binary_bytes(stream)  # the name, always DB::Exception
    text = read_binary_bytes(stream).decode("utf-8", "replace")
    read_binary_bytes(stream)  # the stack
    nested = server_exception(stream) if read_binary_uint8(stream) else None
    return errors.ServerException(text, code, nested=nested)
