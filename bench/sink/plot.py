"""Rows a second against rows a block, a panel an engine and kind."""

from pathlib import Path

from bench.sink.report import Report
from testkit.figures import COLOURS, drawn
from testkit.machine import spread


def rows_a_second(report: Report, path: Path) -> None:
    """Medians and ranges, logarithmic on both axes."""
    cases = list(dict.fromkeys((engine, kind) for engine, kind, _ in report.cases()))
    with drawn(path, 1, len(cases), size=(4 * len(cases), 4), sharey=True) as (_, panels):
        for panel, case in zip(panels, cases, strict=True):
            sizes = [size for *of, size in report.cases() if tuple(of) == case]
            for name, colour in zip(report.names(*case), COLOURS, strict=False):
                points = [spread([r.rows_a_second for r in report.of(*case, size, name)]) for size in sizes]
                medians = [p.median for p in points]
                ranges = [[p.median - p.low for p in points], [p.high - p.median for p in points]]
                panel.errorbar(sizes, medians, yerr=ranges, label=name, marker="o", capsize=3, color=colour)
            panel.set(xscale="log", yscale="log", xlabel="rows a block", title=f"{case[0]}: {case[1]}")
            panel.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
            panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
            panel.legend(frameon=False, fontsize=7)
        panels[0].set_ylabel("rows a second")
