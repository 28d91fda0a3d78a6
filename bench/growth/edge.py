"""What an event costs a collector, at a fixed rate: partitions, connections, or sites and their keys, grow."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.collector.contenders import Unjoin
from bench.collector.generator import key_of
from bench.collector.rounds import environment
from bench.growth.points import Point
from ingest.access.sites import Site, read_sites, site_key, write_sites
from schemas.events import BROWSER_CATEGORIES

COST = "CPU µs an event"
EVENTS, REQUESTS_A_SECOND, SECONDS = 50, 200.0, 4.0
# More and smaller requests, so that the most keys all take their turn within a round.
OF_KEYS, KEYS_REQUESTS_A_SECOND = 5, 2_500.0
CONNECTIONS = 32


class OfManySites(Unjoin):
    """A collector that knows `sites` sites beside its own, a key each, before it starts."""

    def __init__(self, sites: int) -> None:
        super().__init__()
        self._sites = sites

    def prepare(self, sites_file: Path) -> None:
        """Adds the sites."""
        browser = frozenset(BROWSER_CATEGORIES)
        more = [
            Site(
                name=f"site-{n}", origins=(f"https://{n}.example",), keys=(site_key("browser", key_of(n), browser, 0),)
            )
            for n in range(self._sites)
        ]
        write_sites(sites_file, [*read_sites(sites_file), *more])


def partitions(sizes: Sequence[int], rounds: int) -> Iterator[Point]:
    """Of each topic."""
    for size in sizes:
        yield Point("partitions", size, COST, _measured(Unjoin(), rounds, partitions=size))


def connections(sizes: Sequence[int], rounds: int) -> Iterator[Point]:
    """Kept open, and used in turn."""
    for size in sizes:
        yield Point("connections", size, COST, _measured(Unjoin(), rounds, connections=size))


def sites(sizes: Sequence[int], rounds: int) -> Iterator[Point]:
    """A key each; each request, of fewer events, comes with the next one, so beyond 4,096 heads none is remembered."""
    for size in sizes:
        yield Point("sites and keys", size, COST, _measured(OfManySites(size), rounds, keys=size))


def _measured(
    product: Unjoin, rounds: int, *, partitions: int = 2, connections: int = CONNECTIONS, keys: int = 0
) -> list[float]:
    events, rate = (OF_KEYS, KEYS_REQUESTS_A_SECOND) if keys else (EVENTS, REQUESTS_A_SECOND)
    with environment([product], partitions) as at:
        return [
            at.run(product, "small", events, connections, SECONDS, rate=rate, keys=keys).us_an_event
            for _ in range(rounds)
        ]
