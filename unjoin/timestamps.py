"""Times as a command is told them."""

import argparse
import datetime


def timestamp_ms(text: str) -> int:
    """Unix milliseconds of an ISO 8601 time, UTC where it names no zone; the `type` of an argument.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 2026-11-29T14:00:00Z") from None
    return int((at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp() * 1_000)
