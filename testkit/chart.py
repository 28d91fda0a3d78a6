"""deploy/helm/unjoin, rendered by Helm: its documents by kind and name."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "unjoin"
HELM = ROOT / ".helm" / "helm"
NEEDED = {"kafka": {"bootstrap": "kafka-0.example:9092,kafka-1.example:9094"}, "clickhouse": {"url": {"secret": "db"}}}
ROLES = ("collector", "processor", "sink", "topics", "migrations")
LONG_RUNNING = ("collector", "processor", "sink")

Document = dict[str, Any]


class Refused(Exception):
    """Helm renders nothing; its text."""


def missing() -> str:
    """What is missing to render it; empty where nothing is."""
    return "" if HELM.exists() else "Helm is not built (scripts/setup test does it, with Go 1.26 or newer)"


def helm(*arguments: str, values: Document | None = None) -> subprocess.CompletedProcess[str]:
    """Helm with arguments, and with values beside the two that a chart needs."""
    return subprocess.run(
        [HELM, *arguments, "--values", "-"],
        input=json.dumps(merged(NEEDED, values or {})),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def merged(one: Document, other: Document) -> Document:
    """Both, the other's values before the one's."""
    return one | {
        name: merged(one[name], value) if isinstance(value, dict) and isinstance(one.get(name), dict) else value
        for name, value in other.items()
    }


def rendered(values: Document | None = None) -> list[Document]:
    """The chart's documents, as the release `r` in the namespace `n`.

    Raises:
        Refused: the values cannot be.
    """
    return _rendered(json.dumps(values or {}))


@cache
def _rendered(values: str) -> list[Document]:
    done = helm("template", "r", str(CHART), "--namespace", "n", values=json.loads(values))
    if done.returncode:
        raise Refused(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def named(documents: list[Document], kind: str, component: str) -> Document:
    """The only document of a kind and a component."""
    (found,) = (
        document
        for document in documents
        if document["kind"] == kind
        and document["metadata"]["labels"]["app.kubernetes.io/component"] == component
        and not document["metadata"]["name"].endswith("-metrics")
    )
    return found


def workloads(documents: list[Document]) -> dict[str, Document]:
    """By component, what makes its pods."""
    return {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: document
        for document in documents
        if document["kind"] in ("Deployment", "StatefulSet", "Job")
    }


def pod_of(workload: Document) -> Document:
    """Its pods' spec."""
    spec: Document = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: Document) -> Document:
    """The only container of its pods."""
    (container,) = pod_of(workload)["containers"]
    only: Document = container
    return only


def environment_of(workload: Document) -> dict[str, str | None]:
    """The environment of its container; None where a Secret holds the value."""
    return {one["name"]: one.get("value") for one in container_of(workload)["env"]}


def mebibytes(text: str) -> int:
    """What Kubernetes' `1Gi` and Compose's `1g` say, which its parser makes `1gb`."""
    number, unit = re.fullmatch(r"(\d+)([MmGg])[ib]?", text).groups()  # type: ignore[union-attr]
    return int(number) * (1_024 if unit in "Gg" else 1)
