"""The dashboards of deploy/grafana. Their metrics exist: tests/pipeline; they show something: faults.alerts."""

import json

import pytest

from testkit.dashboards import MADE, dashboards, made_of

DASHBOARDS = dashboards()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_is_what_its_source_says(name: str) -> None:
    """Edited by hand, it is overwritten; made and not committed, nobody has it: `python -m testkit.dashboards`."""
    assert (MADE / f"{name}.json").read_text() == made_of(name, DASHBOARDS[name])


def test_nothing_else_lies_there_and_every_panel_has_a_place_of_its_own() -> None:
    """Two panels in one place hide each other."""
    assert {path.stem for path in MADE.glob("*.json")} == set(DASHBOARDS)
    for name in DASHBOARDS:
        panels = json.loads((MADE / f"{name}.json").read_text())["panels"]
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
        assert len(places) == len(panels)
