"""What the edge says no with.

    UnjoinError
    └── Rejection    a whole request is refused: HTTP status, error, what to do about it

A `Rejected` is no error: it is one event of a batch whose neighbours are unharmed.
"""

import msgspec

from schemas.events import Redacted
from schemas.outcomes import EXPLANATION, RejectionReason, RequestError, UnjoinError


class Rejection(UnjoinError):
    """A whole request is refused.

    Args:
        status: of the HTTP answer.
        detail: one fixed sentence, never input; the error's explanation where it is absent.
        retry_after_s: seconds after which the same request may succeed, or None where it never will.
    """

    def __init__(
        self, status: int, error: RequestError, detail: str | None = None, retry_after_s: int | None = None
    ) -> None:
        self.status = status
        self.error = error
        self.detail = detail or EXPLANATION[error]
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)


class Rejected(Redacted, frozen=True):
    """One event that was not accepted.

    Attributes:
        index: its place in the batch as it was sent.
        id: as sent, or None where it is no valid id: an answer never echoes anything else.
    """

    index: int
    id: str | None
    reason: RejectionReason


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error: a name from a closed list, and one fixed sentence."""

    error: str
    detail: str
