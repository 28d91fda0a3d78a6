"""Pure: what the HTTP interface refuses, with ClickHouse's numbers, so that clients understand.

Source: ClickHouse, src/Common/ErrorCodes.cpp.
"""

from schemas.outcomes import UnjoinError

READONLY, UNKNOWN_SETTING, ACCESS_DENIED, NOT_IMPLEMENTED, TYPE_MISMATCH = 164, 115, 497, 48, 53
TOO_MANY_SIMULTANEOUS_QUERIES, UNKNOWN_FORMAT, BAD_ARGUMENTS, INCORRECT_DATA = 202, 73, 36, 117
SESSION_NOT_FOUND, UNKNOWN_ROLE, CANNOT_DECOMPRESS, REQUEST_TOO_LARGE = 372, 511, 271, 307
SYNTAX_ERROR, SAME_ID_IS_ALREADY_RUNNING = 62, 216


class NotAllowed(UnjoinError):
    """A statement, parameter or setting that the HTTP interface refuses.

    Attributes:
        code: ClickHouse's.
        detail: the sentence that the client gets.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"refused with code {code}")
        self.code = code
        self.detail = detail
