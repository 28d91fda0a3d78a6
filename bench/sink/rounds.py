"""The measurement: contenders take turns, round by round, each into an empty table."""

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from bench.sink.contenders import Contender, of_embedded, of_server
from bench.sink.rows import TABLE_OF, Kind, Stored
from sinks.clickhouse.address import address_of
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.server import Server
from sinks.engine import Engine, Table
from testkit.clickhouse_server import ClickHouseServer, missing
from testkit.processes import cpu_seconds


class Round(msgspec.Struct, frozen=True):
    """One round of one contender.

    Attributes:
        cpu_seconds: of this process, which is the sink's; an embedded engine's are in it.
        server_seconds: CPU of the server.
    """

    engine: str
    kind: Kind
    contender: str
    block_rows: int
    rows: int
    seconds: float
    cpu_seconds: float
    server_seconds: float

    @property
    def rows_a_second(self) -> float:
        return self.rows / self.seconds

    @property
    def us_a_row(self) -> float:
        """CPU of the sink's process."""
        return 1e6 * self.cpu_seconds / self.rows

    @property
    def all_us_a_row(self) -> float:
        """CPU of both."""
        return 1e6 * (self.cpu_seconds + self.server_seconds) / self.rows


class Place:
    """An engine that rows are stored in, and who stores there."""

    def __init__(self, name: str, engine: Engine, pid: int = 0) -> None:
        self.name, self._engine, self._pid = name, engine, pid
        self.contenders: dict[Kind, list[Contender]] = {}

    def run(self, contender: Contender, kind: Kind, records: Sequence[Stored], block_rows: int) -> Round:
        """One round.

        Raises:
            SystemExit: not every row was stored.
        """
        gc.collect()
        gc.set_threshold(contender.young_objects_max, *gc.get_threshold()[1:])
        server, cpu, began = self._server_seconds(), time.process_time(), time.perf_counter()
        for start in range(0, len(records), block_rows):
            contender.store(records[start : start + block_rows])
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        server = self._server_seconds() - server
        table = f"unjoin.{contender.table.name}"
        stored = int(self._engine.select(f"SELECT count() FROM {table} SETTINGS final = 0", "TabSeparated"))
        if stored != len(records):
            raise SystemExit(f"{contender.name} stored {stored} of {len(records)} rows")
        self.statement(f"TRUNCATE TABLE {table}")
        return Round(self.name, kind, contender.name, block_rows, stored, seconds, cpu, server)

    def statement(self, sql: str) -> None:
        """Runs one that answers nothing."""
        if isinstance(self._engine, Server):
            self._engine.run(sql)
        else:
            self._engine.select(sql, "Null")

    def _server_seconds(self) -> float:
        return cpu_seconds(self._pid) if self._pid else 0.0


@contextmanager
def places(kinds: Sequence[Kind], names: Sequence[str]) -> Iterator[list[Place]]:
    """The engines, started, with every contender's table; all of it ended afterwards.

    Raises:
        SystemExit: there is no server to start.
    """
    with TemporaryDirectory(prefix="unjoin-bench-") as folder:
        made: list[Place] = []
        engine = Embedded(Path(folder) / "embedded")
        ends: list[Any] = [engine.close]
        try:
            engine.migrate()
            if "embedded" in names:
                embedded = Place("embedded", engine)
                embedded.contenders = {kind: of_embedded(engine, TABLE_OF[kind]) for kind in kinds}
                embedded.statement("SYSTEM STOP MERGES")
                made.append(embedded)
            if "server" in names:
                if reason := missing():
                    raise SystemExit(f"{reason}; --engines embedded does without")
                (Path(folder) / "server").mkdir()
                process = ClickHouseServer(Path(folder) / "server")
                process.start()
                ends.append(process.stop)
                made.append(_of_server(process, kinds))
            yield made
        finally:
            for place in made:
                for contenders in place.contenders.values():
                    for contender in contenders:
                        contender.close()
            for end in reversed(ends):
                end()


def _of_server(process: ClickHouseServer, kinds: Sequence[Kind]) -> Place:
    address = address_of(process.url)
    server = Server(address)
    place = Place("server", server, process.pid)
    place.statement("CREATE DATABASE IF NOT EXISTS unjoin")

    def create(table: Table) -> None:
        columns = ", ".join(f"{name} {kind}" for name, kind, _ in table.columns)
        key = ", ".join(table.key[:-1])
        place.statement(
            f"CREATE TABLE IF NOT EXISTS unjoin.{table.name} ({columns})"
            f" ENGINE = ReplacingMergeTree({table.key[-1]}) PARTITION BY tuple() ORDER BY ({key})"
        )

    place.contenders = {kind: of_server(address, server, TABLE_OF[kind], create) for kind in kinds}
    place.statement("SYSTEM STOP MERGES")
    return place
