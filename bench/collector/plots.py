"""Plots of a run: cost an event as requests grow, and the time to an answer under load."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "unjoin"

from matplotlib import pyplot as plt  # noqa: E402

if TYPE_CHECKING:
    from bench.collector.report import Report

COLOURS = {"unjoin": "#0b6e4f", "aiohttp_pydantic": "#c44536", "aiohttp_checked": "#e09f3e"}
OTHER = "#8d99ae"


def cost(report: "Report", path: Path) -> None:
    """CPU µs an event against events a request, a panel a mix, logarithmic on both axes."""
    mixes = list(dict.fromkeys(mix for mix, _ in report.cases()))
    figure, axes = plt.subplots(1, len(mixes), figsize=(5 * len(mixes), 4), squeeze=False, sharey=True)
    for axis, mix in zip(axes[0], mixes, strict=True):
        sizes = [events for of, events in report.cases() if of == mix]
        for name in report.names():
            points = [report.us(name, mix, events) for events in sizes]
            low = [p.median - p.low for p in points]
            high = [p.high - p.median for p in points]
            medians = [p.median for p in points]
            axis.errorbar(
                sizes, medians, yerr=[low, high], label=name, marker="o", capsize=3, color=COLOURS.get(name, OTHER)
            )
        axis.set(xscale="log", yscale="log", xlabel="events a request", title=f"{mix} events")
        axis.set_xticks(sizes, list(map(str, sizes)))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("CPU µs an acknowledged event")
    axes[0][-1].legend(frameon=False, fontsize=8)
    _save(figure, path)


def latency(report: "Report", path: Path) -> None:
    """Quantiles of each contender at 60 % of its own capacity, all rounds together."""
    if not report.latencies:
        return
    mixes = list(dict.fromkeys(result.mix for result in report.latencies))
    figure, axes = plt.subplots(1, len(mixes), figsize=(5 * len(mixes), 4), squeeze=False)
    for axis, mix in zip(axes[0], mixes, strict=True):
        for name in dict.fromkeys(result.contender for result in report.latencies):
            rounds = [r for r in report.latencies if (r.mix, r.contender) == (mix, name)]
            times = sorted(ms for result in rounds for ms in result.measured.milliseconds)
            left = [1 - n / len(times) for n in range(len(times))]
            axis.plot(times, left, label=f"{name}, {rounds[0].rate:,.0f} requests/s", color=COLOURS.get(name, OTHER))
        axis.set(xscale="log", yscale="log", xlabel="ms to the answer", title=f"{mix} events", ylim=(1e-3, 1))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    axes[0][0].set_ylabel("share of answers that take longer")
    _save(figure, path)


def _save(figure: "plt.Figure", path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
