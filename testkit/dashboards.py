"""Grafana's dashboards, made of deploy/grafana/dashboards.yml.

python -m testkit.dashboards    writes deploy/grafana/dashboards/*.json
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import yaml

GRAFANA = Path(__file__).parents[1] / "deploy" / "grafana"
SOURCE, MADE = GRAFANA / "dashboards.yml", GRAFANA / "dashboards"
PANEL_WIDTH, PANEL_HEIGHT, ROW_PANELS = 8, 8, 3
_PROMETHEUS = {"type": "prometheus", "uid": "${prometheus}"}


class Panel(msgspec.Struct, frozen=True):
    """One plot.

    Attributes:
        unit: as Grafana calls it.
        queries: legend -> PromQL.
    """

    unit: str
    queries: dict[str, str]


class Dashboard(msgspec.Struct, frozen=True):
    """Panels by title."""

    title: str
    panels: dict[str, Panel]


def dashboards() -> dict[str, Dashboard]:
    """By name."""
    return msgspec.convert(yaml.safe_load(SOURCE.read_text()), dict[str, Dashboard])


def made_of(name: str, dashboard: Dashboard) -> str:
    """The JSON that Grafana reads."""
    document: dict[str, Any] = {
        "uid": f"unjoin-{name}",
        "title": dashboard.title,
        "tags": ["unjoin"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [{"name": "prometheus", "type": "datasource", "query": "prometheus"}]},
        "panels": [
            {
                "id": at + 1,
                "type": "timeseries",
                "title": title,
                "datasource": _PROMETHEUS,
                "gridPos": {
                    "x": at % ROW_PANELS * PANEL_WIDTH,
                    "y": at // ROW_PANELS * PANEL_HEIGHT,
                    "w": PANEL_WIDTH,
                    "h": PANEL_HEIGHT,
                },
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": _PROMETHEUS}
                    for place, (legend, query) in enumerate(panel.queries.items())
                ],
            }
            for at, (title, panel) in enumerate(dashboard.panels.items())
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    MADE.mkdir(exist_ok=True)
    for name, dashboard in dashboards().items():
        (MADE / f"{name}.json").write_text(made_of(name, dashboard))


if __name__ == "__main__":
    main()
