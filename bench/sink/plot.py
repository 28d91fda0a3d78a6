"""Rows a second against rows a block, a panel an engine and kind."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "unjoin"

from matplotlib import pyplot as plt  # noqa: E402

from testkit.machine import spread  # noqa: E402

if TYPE_CHECKING:
    from bench.sink.report import Report

COLOURS = ("#0b6e4f", "#c44536", "#e09f3e", "#8d99ae")  # ours first


def rows_a_second(report: "Report", path: Path) -> None:
    """Medians and ranges, logarithmic on both axes."""
    panels = list(dict.fromkeys((engine, kind) for engine, kind, _ in report.cases()))
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 4), squeeze=False, sharey=True)
    for axis, panel in zip(axes[0], panels, strict=True):
        sizes = [size for *of, size in report.cases() if tuple(of) == panel]
        for name, colour in zip(report.names(*panel), COLOURS, strict=False):
            points = [spread([r.rows_a_second for r in report.of(*panel, size, name)]) for size in sizes]
            medians = [p.median for p in points]
            ranges = [[p.median - p.low for p in points], [p.high - p.median for p in points]]
            axis.errorbar(sizes, medians, yerr=ranges, label=name, marker="o", capsize=3, color=colour)
        axis.set(xscale="log", yscale="log", xlabel="rows a block", title=f"{panel[0]}: {panel[1]}")
        axis.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=7)
    axes[0][0].set_ylabel("rows a second")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
