"""A ClickHouse engine in virtual time: `MemoryEngine` whose inserts are cut short, answered by nobody, or refused.

embedded: one process's own; what it is doing when the process is killed it never finishes.
server: everybody's; it may finish an insert long after whoever asked has given up or died.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sinks.engine import Block, Refused, Unknown
from tests.contract.memory_engine import MemoryEngine, row_of
from tests.simulation.broker import Broker
from tests.simulation.clock import SimulatedLoop, Universe, Violation

LATE_SECONDS_MAX = 20.0


class Storage:
    """What is on the engine's disk: physical rows, never merged.

    Attributes:
        rows: table name -> its rows in the order they came.
        keys: table name -> how often each whole row key is there.
        moments: of the marks of its sinks' commits.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.keys: dict[str, Counter[tuple[Any, ...]]] = {}
        self.moments: dict[str, set[str]] = {"database": set()}
        self.tokens: set[Any] = set()
        self.away_until = self.full_until = 0.0


class Disaster(Exception):
    """The process died in the middle; nobody sees this."""


class SimulatedEngine(MemoryEngine):
    """The engine as one sink process calls it.

    Attributes:
        faulty: share of calls that end badly.
        server: whether other processes use the same one.
    """

    def __init__(
        self,
        universe: Universe,
        storage: Storage,
        broker: Broker,
        *,
        refuses: Callable[[dict[str, Any]], bool] | None = None,
        faulty: float = 0.0,
        server: bool = False,
    ) -> None:
        super().__init__(refuses=refuses)
        self.universe, self.storage, self.broker = universe, storage, broker
        self.rows = storage.rows
        self.faulty, self.server = faulty, server
        self.loop: SimulatedLoop | None = None

    def _store(self, method: str, block: Block, choose: Callable[[list[Any], list[Any]], list[Any]]) -> int:
        universe, storage = self.universe, self.storage
        self._check_intent(block)
        universe.say(method, block.table.name, block.partition, f"[{block.first}, {block.end})", len(block.datums))
        if storage.away_until > universe.now or universe.odds("engine does not answer", self.faulty):
            raise Unknown("no answer")
        rows = [row_of(block, datum) for datum in block.datums]
        if any(self.refuses(row) for row in rows):
            raise Refused("a row is refused")
        if storage.full_until > universe.now:
            universe.faults["insert on a full disk"] += 1
            raise Unknown("no space left on device")
        if universe.odds("killed in an insert, nothing visible", self.faulty):
            self._die()
        if len(rows) > 1 and universe.odds("killed or cut in an insert, a part visible", self.faulty):
            self._add(block, choose(rows[: universe.random.randint(1, len(rows))], self._stored(block)))
            if universe.random.random() < 0.5:
                self._die()
            raise Unknown("a part of it is there")
        if self.server and universe.odds("insert finished late", self.faulty):
            universe.later(universe.random.uniform(0, LATE_SECONDS_MAX), self._late, block, choose, rows)
            raise Unknown("timed out")
        chosen = choose(rows, self._stored(block))
        self._add(block, chosen)
        self.inserts.append((method, block.partition, block.first, block.end))
        if universe.odds("killed in an insert, all visible", self.faulty):
            self._die()
        if universe.odds("insert's reply lost", self.faulty):
            raise Unknown("the reply is lost")
        return len(chosen)

    def _late(self, block: Block, choose: Callable[[list[Any], list[Any]], list[Any]], rows: list[Any]) -> None:
        self._add(block, choose(rows, self._stored(block)))

    def _seen(self, block: Block) -> bool:
        """Whether any row of it is visible."""
        keys = self.storage.keys.get(block.table.name, Counter())
        return any(keys[key_of(block.table, row_of(block, datum))] for datum in block.datums)

    def _stored(self, block: Block) -> list[dict[str, Any]]:
        return self.storage.rows.setdefault(block.table.name, [])

    def _add(self, block: Block, rows: Sequence[dict[str, Any]]) -> None:
        self._stored(block).extend(rows)
        keys = self.storage.keys.setdefault(block.table.name, Counter())
        keys.update(key_of(block.table, row) for row in rows)

    def _die(self) -> None:
        assert self.loop is not None
        if self.loop.alive:
            self.universe.kill(self.loop)
        raise Disaster

    def _check_intent(self, block: Block) -> None:
        """Never a range that is not the committed intent; on a server a zombie's may be that of a while ago."""
        history = self.broker.group(f"unjoin-sink-{block.table.name}").intents[block.topic, block.partition]
        offset, end = history[-1] if history else (-1, -1)
        if self.server:
            fits = any(at <= block.first and until == block.end for at, until in history)
        else:
            fits = offset <= block.first and end == block.end
        if not fits:
            raise Violation(f"inserted [{block.first}, {block.end}), the committed intent is [{offset}, {end})")


def key_of(table: Any, row: dict[str, Any]) -> tuple[Any, ...]:
    """The whole row key."""
    return tuple(row[name] for name in table.key)
