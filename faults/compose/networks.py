"""Who reaches whom: asked from containers that join one network each, and from the machine."""

import json

from faults.compose.report import Report
from testkit.compose_stack import ComposeStack

ROLES = ("collector", "processor", "sink")
# Connects to every address; prints those that answer.
REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def answers(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
        return True
    except OSError:
        return False

with ThreadPoolExecutor(16) as pool:
    found = pool.map(answers, sys.argv[1:])
print(json.dumps([address for address, does in zip(sys.argv[1:], found) if does]))
"""
SCRAPE = """
import sys, urllib.request
for role in sys.argv[1:]:
    with urllib.request.urlopen(f"http://{role}:9100/metrics", timeout=10) as answer:
        print(role, sum(line.startswith(b"unjoin_") for line in answer))
"""
EVERYBODY = ("kafka:9092", "clickhouse:8123", "clickhouse:9000", *(f"{role}:9100" for role in ROLES), "collector:8080")
# Whom a container that is on this network alone may reach.
MAY_REACH = {
    "edge": {"collector:8080", "collector:9100"},
    "readers": {"clickhouse:8123", "clickhouse:9000"},
    "stream": {"kafka:9092", *(f"{role}:9100" for role in ROLES), "collector:8080"},
    "store": {"clickhouse:8123", "clickhouse:9000", "sink:9100"},
    "metrics": {*(f"{role}:9100" for role in ROLES), "collector:8080"},
}


def run(stack: ComposeStack, report: Report) -> None:
    """The stack runs."""
    with report.check("a container that joins `metrics` scrapes every role at port 9100") as check:
        said = stack.on_network("metrics", SCRAPE, *ROLES)
        counts = dict(line.split() for line in said.splitlines())
        assert all(int(count) for count in counts.values()), said
        check.said = ", ".join(f"{role} {count} lines" for role, count in counts.items())
    for network, expected in MAY_REACH.items():
        with report.check(f"who is on `{network}` alone") as check:
            reached = set(json.loads(stack.on_network(network, REACH, *EVERYBODY)))
            assert reached == expected, reached
            check.said = f"reaches {', '.join(sorted(reached))}"
    with report.check("published on loopback: the collector and ClickHouse's HTTP, nothing else"):
        bound = {
            (service, port, one["HostIp"])
            for service in stack.services
            for port, all_of_it in stack.inspect(service)["HostConfig"]["PortBindings"].items()
            for one in all_of_it
        }
        assert bound == {("collector", "8080/tcp", "127.0.0.1"), ("clickhouse", "8123/tcp", "127.0.0.1")}, bound
