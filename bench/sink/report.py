"""What came out: tables, ratios first, and CSV."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.sink.contenders import DriverRows, Unjoin
from bench.sink.pipeline import Flow
from bench.sink.rounds import Round
from testkit.figures import write_csv
from testkit.machine import Spread, spread

OURS, ROWS = Unjoin.name, DriverRows.name


class Report:
    """Every round of a run."""

    def __init__(self, machine: dict[str, str]) -> None:
        self.machine = machine
        self.rounds: list[Round] = []
        self.flows: list[Flow] = []

    def of(self, engine: str, kind: str, block_rows: int, contender: str) -> list[Round]:
        """Rounds in order."""
        asked = (engine, kind, block_rows, contender)
        return [r for r in self.rounds if (r.engine, r.kind, r.block_rows, r.contender) == asked]

    def cases(self) -> list[tuple[str, str, int]]:
        """Engine, kind, rows a block."""
        return list(dict.fromkeys((r.engine, r.kind, r.block_rows) for r in self.rounds))

    def names(self, engine: str, kind: str) -> list[str]:
        """Contenders of a case, ours first."""
        return list(dict.fromkeys(r.contender for r in self.rounds if (r.engine, r.kind) == (engine, kind)))

    def ratios(self, case: tuple[str, str, int], peer: str, engine: str = "") -> tuple[Spread, Spread]:
        """Our rows a second divided by the peer's, and the peer's CPU a row divided by ours; round against round.

        Args:
            engine: the peer's, where it is not the same.
        """
        pairs = list(zip(self.of(*case, OURS), self.of(engine or case[0], *case[1:], peer), strict=True))
        return (
            spread([ours.rows_a_second / theirs.rows_a_second for ours, theirs in pairs]),
            spread([theirs.us_a_row / ours.us_a_row for ours, theirs in pairs]),
        )

    def show(self, console: Console) -> None:
        """Ratios, then what they are made of."""
        console.print(" · ".join(f"{name} {value}" for name, value in self.machine.items()), highlight=False)
        if self.rounds:
            self._show_rounds(console)
        if self.flows:
            table = Table(
                "rows", "block", "CPU µs a row", "rows/s", title="The whole sink behind Kafka, embedded engine"
            )
            for kind in dict.fromkeys(flow.kind for flow in self.flows):
                flows = [flow for flow in self.flows if flow.kind == kind]
                cells = [spread([f.us_a_row for f in flows]), spread([f.rows_a_second for f in flows])]
                table.add_row(f"{kind}, {flows[0].rows:,}", f"{flows[0].block_rows:,}", *map(str, cells))
            console.print(table)

    def _show_rounds(self, console: Console) -> None:
        columns = ("rows/s: times the peer's", "CPU a row of the sink's process: the peer's, times ours")
        table = Table("engine", "rows", "a block", "peer", *columns, title="unjoin beside what a user would write")
        for case in self.cases():
            for peer in self.names(*case[:2])[1:]:
                table.add_row(case[0], case[1], f"{case[2]:,}", peer, *map(str, self.ratios(case, peer)))
            if case[0] == "embedded" and ("server", *case[1:]) in self.cases():
                cells = map(str, self.ratios(case, ROWS, "server"))
                table.add_row(case[0], case[1], f"{case[2]:,}", f"{ROWS}, server", *cells)
        console.print(table)
        measured = ("rows/s", "CPU µs a row", "with the server's")
        table = Table("engine", "rows", "a block", "contender", *measured, title="median (range)")
        for case in self.cases():
            for name in self.names(*case[:2]):
                rounds = self.of(*case, name)
                cells = [
                    spread([r.rows_a_second for r in rounds]),
                    spread([r.us_a_row for r in rounds]),
                    spread([r.all_us_a_row for r in rounds]),
                ]
                table.add_row(case[0], case[1], f"{case[2]:,}", name, *map(str, cells))
        console.print(table)

    def write(self, folder: Path) -> None:
        """Writes sink.csv: a line a round, and the machine in each."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = [msgspec.to_builtins(one) for one in (*self.rounds, *self.flows)]
        columns = dict.fromkeys((name for row in rows for name in row), "")
        write_csv(folder / "sink.csv", [columns | row | self.machine for row in rows])
