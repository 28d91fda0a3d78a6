"""What came out: tables, ratios first, and CSV."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.collector.contenders import Contender, Unjoin
from bench.collector.rounds import Result
from testkit.figures import write_csv
from testkit.machine import Spread, spread

OURS = Unjoin.name


class Report:
    """Every round of a run.

    Args:
        contenders: all that were to be measured; who is missing something is told of beside the results.
    """

    def __init__(self, machine: dict[str, str], contenders: Sequence[Contender]) -> None:
        self.machine = machine
        self._contenders = contenders
        self.costs: list[Result] = []
        self.latencies: list[Result] = []
        self.produce: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.growth: dict[str, dict[int, list[Result]]] = {"partitions": {}, "connections": {}, "workers": {}}

    def cases(self) -> list[tuple[str, int]]:
        """Mix and events of a request."""
        return list(dict.fromkeys((result.mix, result.events) for result in self.costs))

    def us(self, contender: str, mix: str, events: int) -> Spread:
        """CPU µs an acknowledged event."""
        return spread([r.us_an_event for r in self.costs if (r.contender, r.mix, r.events) == (contender, mix, events)])

    def ratio(self, peer: str, mix: str, events: int) -> Spread:
        """The peer's CPU an event divided by the product's, round against round."""
        rounds = [
            [r.us_an_event for r in self.costs if (r.contender, r.mix, r.events) == (name, mix, events)]
            for name in (peer, OURS)
        ]
        return spread([theirs / ours for theirs, ours in zip(*rounds, strict=True)])

    def names(self) -> list[str]:
        """Names of the contenders, in the order they were given."""
        return list(dict.fromkeys(result.contender for result in self.costs))

    def show(self, console: Console) -> None:
        """Ratios, then what they are made of."""
        console.print(" · ".join(f"{name} {value}" for name, value in self.machine.items()), highlight=False)
        measured = [one for one in self._contenders if one.name in self.names()]
        peers = [one.name for one in measured if one.stores and one.name != OURS]
        floors = [one.name for one in measured if not one.stores]
        title = "CPU an event: times the product's, median (range); floors in µs"
        table = Table("mix", "N", f"{OURS} µs", *peers, *floors, "produce_batch alone", title=title)
        for mix, events in self.cases():
            ratios = [str(self.ratio(peer, mix, events)) for peer in peers]
            lowest = [*(self.us(floor, mix, events) for floor in floors), spread(self.produce[mix, events])]
            cells = [f"{us.median:,.2f}" for us in lowest]
            table.add_row(mix, str(events), str(self.us(OURS, mix, events)), *ratios, *cells)
        console.print(table)
        table = Table("contender", "what its 2xx means", title="What was compared")
        for one in self._contenders:
            table.add_row(one.name, f"not measured: {missing}" if (missing := one.missing()) else one.promise)
        console.print(table)
        table = Table("mix", "N", *self.names(), "produce_batch alone", title="CPU µs an acknowledged event")
        for mix, events in self.cases():
            cells = [str(self.us(name, mix, events)) for name in self.names()]
            table.add_row(mix, str(events), *cells, str(spread(self.produce[mix, events])))
        console.print(table)
        columns = ("events/s", "samples/s", "MB/s", "CPU: collector", "Kafka", "generator")
        table = Table("mix", "N", "contender", *columns, title="As fast as answered, everything on this machine")
        for mix, events in self.cases():
            for name in self.names():
                rounds = [r for r in self.costs if (r.contender, r.mix, r.events) == (name, mix, events)]
                table.add_row(mix, str(events), name, *(f"{spread(values).median:,.2f}" for values in _rates(rounds)))
        console.print(table)
        self._show_latencies(console)
        self._show_growth(console)

    def _show_latencies(self, console: Console) -> None:
        columns = ("requests/s", "p50 ms", "p99 ms", "max ms")
        table = Table("mix", "contender", *columns, title="At 60 % of what each can do itself, open loop")
        for mix, name in dict.fromkeys((result.mix, result.contender) for result in self.latencies):
            rounds = [r for r in self.latencies if (r.mix, r.contender) == (mix, name)]
            cells = [str(spread([r.ms(share) for r in rounds])) for share in (0.5, 0.99, 1.0)]
            table.add_row(mix, name, f"{rounds[0].rate:,.0f}", *cells)
        if self.latencies:
            console.print(table)

    def _show_growth(self, console: Console) -> None:
        table = Table("as what grows", "to", "events/s", "CPU µs an event", "p99 ms")
        for what, steps in self.growth.items():
            for step, rounds in steps.items():
                cells = [spread([read(r) for r in rounds]) for read in _GROWTH]
                table.add_row(what, str(step), *map(str, cells))
        if table.row_count:
            console.print(table)

    def write(self, folder: Path) -> None:
        """Writes collector.csv: a line a round, a line a round of the produce floor, and the machine in each."""
        folder.mkdir(parents=True, exist_ok=True)
        growth = {f"growth: {step} {what}": found for what, of in self.growth.items() for step, found in of.items()}
        measured = {"cost": self.costs, "latency at 60 % load": self.latencies, **growth}
        rows = [{"what": what, **_brief(result)} for what, results in measured.items() for result in results]
        floors = [
            dict.fromkeys(rows[0], "") | {"what": "produce alone", "mix": mix, "events": events, "us_an_event": us}
            for (mix, events), found in self.produce.items()
            for us in found
        ]
        write_csv(folder / "collector.csv", [{**row, **self.machine} for row in [*rows, *floors]])


_GROWTH: tuple[Callable[[Result], float], ...] = (
    lambda result: result.events_a_second,
    lambda result: result.us_an_event,
    lambda result: result.ms(0.99),
)


def _rates(rounds: list[Result]) -> list[list[float]]:
    """Per round: events, samples and megabytes a second, and the share of a core of each process."""
    measured = [result.measured for result in rounds]
    return [
        [m.accepted / m.seconds for m in measured],
        [m.samples / m.seconds for m in measured],
        [m.bytes_sent / m.seconds / 1e6 for m in measured],
        *([m.cpu_seconds[name] / m.seconds for m in measured] for name in ("contender", "kafka", "generator")),
    ]


def _brief(result: Result) -> dict[str, Any]:
    """A round without each single time."""
    measured = msgspec.to_builtins(result.measured)
    del measured["milliseconds"]
    cpu_seconds = {f"cpu_seconds_{name}": seconds for name, seconds in measured.pop("cpu_seconds").items()}
    return {
        "contender": result.contender, "mix": result.mix, "events": result.events, "connections": result.connections,
        "rate": round(result.rate, 1), "us_an_event": round(result.us_an_event, 3),
        "events_a_second": round(result.events_a_second), "p50_ms": result.ms(0.5), "p99_ms": result.ms(0.99),
        "stored": result.stored, **measured, **cpu_seconds,
    }  # fmt: skip
