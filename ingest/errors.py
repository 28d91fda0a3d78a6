"""The refusals of the edge.

    UnjoinError
    └── Rejection    a whole request is refused: HTTP status, error, and when to try again

A `RejectedEvent` is no exception: the other events of its batch are accepted.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

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


class RejectedEvent(Redacted, frozen=True):
    """An event that was not accepted; its neighbours are unharmed."""

    index: Annotated[int, Meta(ge=0, description="Its place in the batch.")]
    # An answer never echoes an id that is not valid.
    id: Annotated[str | None, Meta(description="As sent, or null where that is no valid id.")]
    reason: RejectionReason
    field: Annotated[
        str | None,
        Meta(description="The documented field that is meant, or null; never a name that a client invented."),
    ]
    detail: Annotated[str, Meta(description="The bound that was broken, one sentence; never what was sent.")]


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error: a name from a closed list, and one fixed sentence."""

    error: RequestError
    detail: str
