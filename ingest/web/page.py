"""The interface of a page that a collector may serve at `/` beside its own routes."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from starlette.routing import Route


class CollectorView(msgspec.Struct, frozen=True):
    """What a page sees of its collector.

    Attributes:
        reaches_kafka: whether Kafka takes what is accepted now.
    """

    reaches_kafka: Callable[[], bool]


class Page(Protocol):
    """A page at `/`."""

    def routes(self) -> Sequence[Route]:
        """The routes of the page."""

    def end(self) -> None:
        """Ends every streamed answer, so that a stop need not wait for its clients."""

    async def close(self) -> None:
        """Closes its connections."""


PageOf = Callable[[CollectorView], Page]
