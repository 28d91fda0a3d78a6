"""The sink's protocol in front of three replicas, one of which may lag behind what a majority has stored."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from sinks.clickhouse import server
from sinks.engine import Block, Refused, Unknown
from sinks.rows import tables
from tests.contract.memory_engine import row_of
from tests.simulation.clock import Universe
from tests.simulation.engine import SimulatedEngine, key_of
from tests.simulation.processes import SinkProcess
from tests.simulation.sink_world import SinkWorld

REPLICAS = 3
LAG_SECONDS_MAX = 30.0


class ReplicaWorld(SinkWorld):
    """One run. An insert that was acknowledged is on two replicas, and comes to the third at some time.

    A sink asks another replica after a failure, as it does where its own is cut off. Physical rows are counted: only
    inserts that end late, which replicas drop by their token, are not here. Two sinks race as in front of one server.
    """

    def __init__(self, universe: Universe) -> None:
        self.behind: list[Counter[tuple[Any, ...]]] = [Counter() for _ in range(REPLICAS)]  # row keys, by replica
        super().__init__(universe)

    def _sink(self) -> SinkProcess:
        engine = ReplicaEngine(self, refuses=lambda row: row["type"] == "poison")
        return SinkProcess(self.universe, tables.SIGNALS, engine, self.limits)


class ReplicaEngine(SimulatedEngine):
    """The replicas as one sink process calls them."""

    def __init__(self, world: ReplicaWorld, *, refuses: Callable[[dict[str, Any]], bool]) -> None:
        super().__init__(
            world.universe, world.storage, world.broker, refuses=refuses, faulty=world.faulty, server=world.server
        )
        self._world, self._replica = world, world.universe.random.randrange(REPLICAS)

    def _store(self, method: str, block: Block, choose: Callable[[list[Any], list[Any]], list[Any]]) -> int:
        universe, behind = self.universe, self._world.behind
        self._check_intent(block)
        universe.say(method, block.partition, f"[{block.first}, {block.end})", len(block.datums), self._replica)
        if self.storage.away_until > universe.now or universe.odds("replica does not answer", self.faulty):
            self._replica = universe.random.randrange(REPLICAS)
            raise Unknown("no answer")
        rows = [row_of(block, datum) for datum in block.datums]
        if any(self.refuses(row) for row in rows):
            raise Refused("a row is refused")
        hidden = behind[self._replica]
        if method == "insert_missing" and hidden.total() and server.REPLICATED["select_sequential_consistency"]:
            universe.faults["repair on a replica that lags"] += 1
            self._replica = (self._replica + 1) % REPLICAS
            raise Unknown("the replica is not in the quorum")
        chosen = choose(rows, [row for row in self._stored(block) if not hidden[key_of(block.table, row)]])
        self._add(block, chosen)
        lagging = universe.random.choice([number for number in range(REPLICAS) if number != self._replica])
        if universe.random.random() < 0.5:  # that one replica lags is no fault
            keys = Counter(key_of(block.table, row) for row in chosen)
            behind[lagging] += keys
            universe.later(universe.random.uniform(0, LAG_SECONDS_MAX), behind[lagging].subtract, keys)
        if universe.odds("killed in an insert, all visible", self.faulty):
            self._die()
        if universe.odds("insert's reply lost", self.faulty):
            self._replica = universe.random.randrange(REPLICAS)
            raise Unknown("the reply is lost")
        return len(chosen)
