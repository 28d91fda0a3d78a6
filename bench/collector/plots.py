"""Plots of a run: cost an event as requests grow, and the time to an answer under load."""

from pathlib import Path

from bench.collector.report import Report
from testkit.figures import COLOURS, drawn, tail

COLOUR_OF = {
    **dict(zip(("unjoin", "aiohttp_pydantic", "aiohttp_checked"), COLOURS, strict=False)),
    "granian_checked": "#3d5a80",
    "axum": "#6d597a",
    "benthos": "#2a9d8f",
}


def draw(report: Report, folder: Path) -> None:
    """Draws collector.svg and collector-latency.svg."""
    cost(report, folder / "collector.svg")
    if report.latencies:
        latency(report, folder / "collector-latency.svg")


def cost(report: Report, path: Path) -> None:
    """CPU µs an event against events a request, a panel a mix, logarithmic on both axes."""
    mixes = list(dict.fromkeys(mix for mix, _ in report.cases()))
    with drawn(path, 1, len(mixes), size=(5 * len(mixes), 4), sharey=True) as (_, panels):
        for panel, mix in zip(panels, mixes, strict=True):
            sizes = [events for of, events in report.cases() if of == mix]
            for name in report.names():
                points = [report.us(name, mix, events) for events in sizes]
                medians = [p.median for p in points]
                ranges = [[p.median - p.low for p in points], [p.high - p.median for p in points]]
                panel.errorbar(sizes, medians, yerr=ranges, label=name, marker="o", capsize=3, color=_colour(name))
            panel.set(xscale="log", yscale="log", xlabel="events a request", title=f"{mix} events")
            panel.set_xticks(sizes, list(map(str, sizes)))
            panel.minorticks_off()
            panel.grid(alpha=0.3)
        panels[0].set_ylabel("CPU µs an acknowledged event")
        panels[-1].legend(frameon=False, fontsize=8)


def latency(report: Report, path: Path) -> None:
    """Quantiles of each contender at 60 % of its own capacity, all rounds together."""
    mixes = list(dict.fromkeys(result.mix for result in report.latencies))
    with drawn(path, 1, len(mixes), size=(5 * len(mixes), 4)) as (_, panels):
        for panel, mix in zip(panels, mixes, strict=True):
            for name in dict.fromkeys(result.contender for result in report.latencies):
                rounds = [r for r in report.latencies if (r.mix, r.contender) == (mix, name)]
                points = tail([ms for result in rounds for ms in result.measured.milliseconds])
                label = f"{name}, {rounds[0].rate:,.0f} requests/s"
                panel.plot(*zip(*points, strict=True), label=label, color=_colour(name))
            panel.set(xscale="log", yscale="log", xlabel="ms to the answer", title=f"{mix} events", ylim=(1e-3, 1))
            panel.grid(alpha=0.3)
            panel.legend(frameon=False, fontsize=8)
        panels[0].set_ylabel("share of answers that take longer")


def _colour(name: str) -> str:
    return COLOUR_OF.get(name, COLOURS[-1])
