"""Every kind of exception of clickhouse-driver, and what it says about the rows."""

import inspect
import io
import struct

import pytest
from clickhouse_driver import errors

from sinks.clickhouse.driver_errors import DEPLOYMENT_ERRORS, DRIVER_ERRORS, REFUSALS, insert_failure, server_exception
from sinks.clickhouse.errors import DATA_ERRORS
from sinks.engine import Refused, Unknown

NO_ANSWER = [
    EOFError(),
    TimeoutError(),
    ConnectionResetError(),
    ConnectionRefusedError(),
    BrokenPipeError(),
    OSError(),
    errors.NetworkError(),
    errors.SocketTimeoutError(),
    errors.UnexpectedPacketFromServerError(),
    errors.UnknownPacketFromServerError(),
    errors.ChecksumDoesntMatchError(),
    errors.UnknownCompressionMethod(),
    errors.LogicalError(),
    errors.PartiallyConsumedQueryError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "read from the answer"),
    struct.error("read from the answer"),
    IndexError(),
]
DOES_NOT_FIT = [
    errors.TypeMismatchError(),
    errors.UnknownTypeError(),
    errors.TooLargeStringSize(),
    errors.CannotParseUuidError(),
    errors.CannotParseDomainError(),
    ValueError(),
    TypeError(),
    KeyError(),
    AttributeError(),
    OverflowError(),
    struct.error("argument out of range"),
]


@pytest.mark.parametrize("error", NO_ANSWER, ids=lambda error: type(error).__name__)
def test_lost_conversation_is_unknown(error: Exception) -> None:
    """The server may have stored everything before the line went dead: a repair, never a repetition."""
    assert isinstance(insert_failure(error, sent=True), Unknown)


@pytest.mark.parametrize("error", DOES_NOT_FIT, ids=lambda error: type(error).__name__)
def test_value_that_cannot_be_written_is_refused_and_the_same_error_later_is_unknown(error: Exception) -> None:
    """Before the end of a block the server runs nothing; after it, the error came of reading an answer."""
    assert isinstance(insert_failure(error, sent=False), Refused)
    assert isinstance(insert_failure(error, sent=True), Unknown)


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_refusal_of_the_server_is_definite(code: int) -> None:
    """The block is one block of rows: checked whole before any of it is stored."""
    failure = insert_failure(errors.ServerException("'secret'", code), sent=True)
    assert isinstance(failure, Refused)
    assert "secret" not in str(failure)


@pytest.mark.parametrize(
    "code",
    [
        errors.ErrorCodes.CANNOT_WRITE_TO_FILE_DESCRIPTOR,
        errors.ErrorCodes.TIMEOUT_EXCEEDED,
        errors.ErrorCodes.READONLY,
        errors.ErrorCodes.QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
        errors.ErrorCodes.MEMORY_LIMIT_EXCEEDED,
        errors.ErrorCodes.NOT_ENOUGH_SPACE,
        errors.ErrorCodes.TOO_MANY_PARTS,
        errors.ErrorCodes.QUERY_WAS_CANCELLED,
        errors.ErrorCodes.REQUIRED_PASSWORD,
        errors.ErrorCodes.UNKNOWN_EXCEPTION,
        -1,
    ],
)
def test_any_other_failure_of_the_server_is_unknown(code: int) -> None:
    """When the disk fills up, some of several parts may be in place; and no row is at fault."""
    failure = insert_failure(errors.ServerException("'secret'", code), sent=True)
    assert isinstance(failure, Unknown)
    assert "secret" not in str(failure)


def test_no_class_of_the_driver_is_forgotten() -> None:
    """A release that brings another one fails here, not in an outage."""
    known = {type(error) for error in (*NO_ANSWER, *DOES_NOT_FIT)} | {errors.Error, errors.ServerException}
    found = {each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)}
    assert found <= known
    assert all(issubclass(each, DRIVER_ERRORS) for each in found)


def test_no_code_is_both_the_rows_fault_and_the_deployments() -> None:
    """One halts the sink where all rows have it; both bisect."""
    assert not DATA_ERRORS.keys() & DEPLOYMENT_ERRORS.keys()


def test_servers_text_in_any_bytes_keeps_its_code() -> None:
    """A quoted value that was cut within a character must not turn a refusal into an outage that never ends."""

    def text(value: bytes) -> bytes:
        return bytes([len(value)]) + value

    def wire(code: int, message: bytes, nested: bytes = b"") -> bytes:
        name = b"DB::Exception"
        return struct.pack("<i", code) + text(name) + text(message) + text(b"\xff") + bytes([bool(nested)]) + nested

    class Stream(io.BytesIO):
        def read_one(self) -> int:
            return self.read(1)[0]

    found = server_exception(Stream(wire(6, b"cannot parse '\xc3", wire(70, b"inner"))))
    assert (found.code, found.nested.code) == (6, 70)
