"""The alerts of deploy/prometheus, held to what they promise by promtool. That their metrics exist: tests/pipeline."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES, CASES = (ROOT / "deploy" / "prometheus" / name for name in ("alerts.yml", "alerts.test.yml"))
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]


def test_compose_file_gives_prometheus_a_configuration_that_it_takes() -> None:
    """It would not start, and nobody would be woken for it."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    config = ROOT / "deploy" / "prometheus" / "prometheus.yml"
    done = subprocess.run([program, "check", "config", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_alerts_fire_when_they_should_and_no_others_with_them() -> None:
    """Whoever is woken for nothing sleeps through the alert that counts."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run(
        [program, "test", "rules", str(CASES)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_alert_says_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    """At three in the morning a name alone helps nobody."""
    assert rule["labels"]["severity"] in ("page", "ticket")
    notes = rule["annotations"]
    assert notes["summary"].endswith(".")
    assert len(notes["description"]) > 60
    runbook = (ROOT / notes["runbook_url"]).read_text()
    assert rule["alert"] in runbook
    assert [line for line in runbook.splitlines() if line.startswith("## ")][:2] == ["## Look", "## Do"]


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    """A rule that never fired may be one that cannot."""
    fired = set(re.findall(r'alertname="(\w+)"', CASES.read_text()))
    assert fired == {rule["alert"] for rule in ALERTS}
