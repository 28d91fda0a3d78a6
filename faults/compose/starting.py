"""The first start: in which order, and that events of every category become rows."""

import json
import time
from typing import Any

from faults.compose.report import Report
from faults.compose.traffic import TABLES, Traffic
from testkit.compose_stack import LONG_RUNNING, PROJECT, ComposeStack

Document = dict[str, Any]
SERVICE = "com.docker.compose.service"
ORDER = (
    (("kafka", "healthy"), ("topics", "start")),
    *((("topics", "die"), (role, "start")) for role in ("collector", "processor", "sink")),
    (("clickhouse", "healthy"), ("sink", "start")),
)


def run(stack: ComposeStack, report: Report) -> None:
    """`up` on empty volumes."""
    began = time.time()
    with report.check("`up` on empty volumes") as check:
        check.said = f"every service healthy after {stack.up():.0f} s"
    with report.check(
        "`topics` after Kafka's health, roles after `topics`, the sink after ClickHouse's health"
    ) as check:
        happened = _happened(stack, began)
        for before, after in ORDER:
            assert happened[before] <= happened[after], f"{after} came before {before}: {happened}"
        first = happened["kafka", "start"]
        check.said = ", ".join(
            f"{service} healthy at {happened[service, 'healthy'] - first:.1f} s" for service in LONG_RUNNING
        )
    with report.check("nothing was started twice"):
        again = {service: stack.inspect(service)["RestartCount"] for service in (*LONG_RUNNING, "topics")}
        assert not any(again.values()), again


def rows(traffic: Traffic, report: Report) -> None:
    """From HTTP to the tables."""
    with report.check("an event of every category, posted to the published port, is a row") as check:
        traffic.post()
        traffic.wait_for_rows()
        check.said = ", ".join(TABLES)


def _happened(stack: ComposeStack, since: float) -> dict[tuple[str, str], float]:
    """When what happened first to which service: (service, start, die or healthy) → seconds since 1970."""
    listed = stack.engine.docker(
        *("events", "--since", f"{since:.0f}", "--until", f"{time.time() + 1:.0f}", "--format", "{{json .}}"),
        *("--filter", "type=container", "--filter", f"label=com.docker.compose.project={PROJECT}"),
    )
    happened: dict[tuple[str, str], float] = {}
    for line in listed.splitlines():
        event: Document = json.loads(line)
        what = event["Action"].rpartition(": ")[2]
        happened.setdefault((event["Actor"]["Attributes"][SERVICE], what), event["timeNano"] / 1e9)
    return happened
