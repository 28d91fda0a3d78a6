"""Does every query of every dashboard answer on a running pipeline? And what do they look like?

python -m faults.alerts.dashboards --seconds 240 --out docs/figures

The environment of the alerts, under load with bots, with a few mishaps. Grafana is not run: its panels are drawn here
from Prometheus' answers to the queries that Grafana would send. Exit code 0 where every query has an answer.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from faults.alerts.environment import Environment, say
from faults.alerts.faults import FAULTS
from testkit.dashboards import ROW_PANELS, Dashboard, Panel, dashboards
from testkit.figures import drawn
from testkit.kafka_node import kafka_home
from testkit.prometheus import Prometheus

POINTS = 120  # a curve: as many as so small a panel shows
MISHAPS = ("SpoolInUse", "DeadLetters")
COLOURS = ("#0b6e4f", "#c44536", "#e09f3e", "#4a6fa5", "#8d99ae", "#7b2d8b", "#2f3e46", "#b08968")
UNITS = {
    "bytes": (1 / 1_048_576, "MiB"),
    "s": (1, "s"),
    "percentunit": (100, "%"),
    "cps": (1, "/s"),
    "reqps": (1, "/s"),
}

Answers = dict[tuple[str, str, str], list[dict[str, Any]]]
"""(dashboard, panel, query) -> Prometheus' series."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--out", type=Path, help="a folder for the pictures")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="dashboards-", ignore_cleanup_errors=True) as folder,
        Environment(kafka_home(), Path(folder), 15) as environment,
    ):
        began = time.time()
        environment.load(options.rate, "--bots", "0.05")
        for fault in (fault for fault in FAULTS if fault.alert in MISHAPS):
            time.sleep(options.seconds / 5)
            with fault.make(environment):
                time.sleep(15)
        time.sleep(max(0.0, options.seconds - (time.time() - began)))
        silent = pictured(environment.prometheus, began, options.out)
    return int(bool(silent))


def pictured(prometheus: Prometheus, began: float, out: Path | None) -> list[tuple[str, str, str]]:
    """Asks every query of every dashboard since a moment, and draws the answers into a folder.

    Args:
        began: Unix seconds.

    Returns:
        What has no answer: (dashboard, panel, query).
    """
    answers = _asked(prometheus, began)
    silent = [key for key, series in answers.items() if not series]
    say(f"{len(answers)} queries, {len(silent)} without an answer{''.join(f'; {key}' for key in silent)}")
    if out:
        for name, dashboard in dashboards().items():
            _draw(out / f"dashboard-{name}.svg", name, dashboard, answers)
    return silent


def _asked(prometheus: Prometheus, began: float) -> Answers:
    now = time.time()
    step = max(1.0, (now - began) / (POINTS - 1))
    return {
        (name, title, query): prometheus.query_range(query, began, now, step)
        for name, dashboard in dashboards().items()
        for title, panel in dashboard.panels.items()
        for query in panel.queries.values()
    }


def _draw(path: Path, name: str, dashboard: Dashboard, answers: Answers) -> None:
    rows = -(-len(dashboard.panels) // ROW_PANELS)
    with drawn(path, rows, ROW_PANELS, size=(11, 2.1 * rows), style={"font.size": 7}) as (figure, axes):
        figure.suptitle(dashboard.title)
        figure.supxlabel("minutes")
        for axis, (title, panel) in zip(axes, dashboard.panels.items(), strict=False):
            _plot(axis, title, panel, {query: answers[name, title, query] for query in panel.queries.values()})
        for axis in axes[len(dashboard.panels) :]:
            axis.set_axis_off()
    path.write_text(re.sub(r"(\d\.\d)\d+", r"\1", path.read_text()))  # a tenth of a point is fine enough


def _plot(axis: Axes, title: str, panel: Panel, answers: dict[str, list[dict[str, Any]]]) -> None:
    factor, unit = UNITS.get(panel.unit, (1, ""))
    series = [(legend, one) for legend, query in panel.queries.items() for one in answers[query]]
    starts, highest = [float(one["values"][0][0]) for _, one in series], 0.0
    for place, (legend, one) in enumerate(series):
        points = [(float(at), float(value) * factor) for at, value in one["values"] if value not in ("NaN", "+Inf")]
        name = re.sub(r"{{(\w+)}}", lambda found: str(one["metric"].get(found[1], "")), legend)  # noqa: B023
        xs, ys = [(at - min(starts)) / 60 for at, _ in points], [value for _, value in points]
        named = len(series) <= len(COLOURS) or any(ys)
        axis.plot(xs, ys, label=name if named else "_", color=COLOURS[place % len(COLOURS)], linewidth=1)
        highest = max(highest, *ys, 0)
    axis.set_title(f"{title}{f', {unit}' if unit else ''}", fontsize=7.5, loc="left")
    axis.set_ylim(0, highest * 1.05 or 1)
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=5.5, frameon=False, loc="best")


if __name__ == "__main__":
    sys.exit(main())
