"""The Helm chart, rendered: valid to Kubernetes, and with the promises of docker-compose.yml."""

import copy
import os
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from ingest.process.shutdown_times import supervised_seconds_max
from testkit.chart import (
    CHART,
    LONG_RUNNING,
    ROLES,
    Document,
    Refused,
    container_of,
    environment_of,
    helm,
    mebibytes,
    missing,
    named,
    pod_of,
    rendered,
    workloads,
)
from testkit.processes import wait_for
from tests.deploy.compose import ROOT
from tests.deploy.test_compose import FIXED, SERVICES
from unjoin.cli import main
from unjoin.host.kafka import free_port
from unjoin.settings import PREFIX, Settings, settings_of

if reason := missing():
    pytest.skip(reason, allow_module_level=True)

# Every setting that an operator may choose, with the value that it has anyway.
SETTABLE = {
    name: value if isinstance(value, int) else str(value)
    for name in Settings.__struct_fields__
    if name not in FIXED | {"kafka_bootstrap"}
    for value in [getattr(Settings(), name)]
}
PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
EVERYTHING: Document = {
    "settings": SETTABLE,
    "kafka": {"peers": [PEER]},
    "clickhouse": {"peers": [PEER]},
    "keys": {"edge": {"accessMode": "ReadWriteMany", "storageClassName": "shared"}, "epoch": {"secret": "epoch"}},
    "metrics": {"from": [PEER], "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "networkPolicy": {"egress": [{"ports": [{"protocol": "TCP", "port": 443}]}]},
    "serviceAccountName": "unjoin",
    "image": {"pullSecrets": [{"name": "registry"}]},
    "collector": {
        "settings": {"collect_workers": 2},
        "sites": {"secret": "sites"},
        "spool": {"storageClassName": "fast"},
        "from": [PEER],
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "annotations": {"a": "b"},
            "hosts": ["events.example.org"],
            "tls": [{"hosts": ["events.example.org"], "secretName": "tls"}],
        },
        "autoscaling": {"enabled": True},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}],
        "volumeMounts": [{"name": "tls", "mountPath": "/etc/unjoin/tls", "readOnly": True}],
    },
    "processor": {"autoscaling": {"enabled": True, "metric": "door_lag", "selector": {"group": "unjoin-door"}}},
    "sink": {"autoscaling": {"enabled": True, "metric": "sink_lag"}},
}
VALUES = {"least": {}, "everything": EVERYTHING}
# Of Prometheus Operator, which Kubernetes' own schemas do not hold.
FOREIGN = {"ServiceMonitor"}


def _mounted(workload: Document) -> set[str]:
    return {mount["mountPath"] for mount in container_of(workload)["volumeMounts"]}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_finds_nothing_to_say(values: Document) -> None:
    """Lint checks the values against their schema, the templates, and the names that Kubernetes has retired."""
    done = helm("lint", str(CHART), "--strict", values=values)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", ["1.27", "1.37"])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_kubernetes_would_take_every_document(values: Document, version: str) -> None:
    """Strict: a field that Kubernetes does not know is dropped by it, and a promise with it."""
    documents = [one for one in rendered(values) if one["kind"] not in FOREIGN]
    assert len(documents) >= 19
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_kubernetes_would_refuse_a_field_that_it_does_not_know() -> None:
    """The check above can fail."""
    document = copy.deepcopy(workloads(rendered())["sink"])
    pod_of(document)["securityContext"]["runAsNobody"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.37", strict=True)


@pytest.mark.parametrize("role", [*LONG_RUNNING, "topics"])
def test_every_setting_reaches_each_role_as_in_compose(role: str) -> None:
    """A setting that is dropped on its way is a privacy setting that was believed to hold."""
    environment = environment_of(workloads(rendered({"settings": SETTABLE}))[role])
    assert environment.keys() == SERVICES[role]["environment"].keys()
    given = {name: value for name, value in environment.items() if value is not None}
    taken = settings_of(given)
    own = {"lame_duck_seconds"} if role == "collector" else set()
    assert {name: getattr(taken, name) for name in SETTABLE.keys() - own} == {
        name: getattr(Settings(), name) for name in SETTABLE.keys() - own
    }


def test_setting_of_a_role_goes_before_that_of_all() -> None:
    """Otherwise an exception for one role would have to be repeated for all others."""
    documents = workloads(
        rendered({"settings": {"block_ms_max": 7}, "sink": {"settings": {"block_ms_max": 268_435_456}}})
    )
    assert environment_of(documents["sink"])["UNJOIN_BLOCK_MS_MAX"] == "268435456"
    assert environment_of(documents["processor"])["UNJOIN_BLOCK_MS_MAX"] == "7"


def test_secret_setting_reaches_its_role_alone_and_stands_nowhere_in_clear() -> None:
    """Credentials differ by role where brokers have ACLs: the door's alone reads labels."""
    secret = {"secret": "door", "key": "password"}
    documents = workloads(rendered({"processor": {"secretSettings": {"door_identity": secret}}}))
    (found,) = (one for one in container_of(documents["processor"])["env"] if one["name"] == "UNJOIN_DOOR_IDENTITY")
    assert found["valueFrom"] == {"secretKeyRef": {"name": "door", "key": "password"}}
    for role in set(ROLES) - {"processor"}:
        assert "UNJOIN_DOOR_IDENTITY" not in environment_of(documents[role])


def test_migrations_are_told_nothing_of_brokers_that_they_never_reach() -> None:
    """They would look for certificates that nobody mounts, and stop the install."""
    secret = {"secret": "all", "key": "password"}
    values: Document = {
        "settings": {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_username": "u",
        },
        "secretSettings": {"kafka_sasl_password": secret},
    }
    documents = workloads(rendered(values))
    assert {"UNJOIN_KAFKA_SECURITY_PROTOCOL", "UNJOIN_KAFKA_SASL_PASSWORD"} <= environment_of(documents["sink"]).keys()
    assert not [name for name in environment_of(documents["migrations"]) if name.startswith("UNJOIN_KAFKA_")]


def test_database_is_known_to_the_sink_and_the_migrations_alone() -> None:
    """Its URL holds a password that writes every table."""
    holders = {role for role, one in workloads(rendered()).items() if f"{PREFIX}CLICKHOUSE_URL" in environment_of(one)}
    assert holders == {"sink", "migrations"}
    assert "UNJOIN_CLICKHOUSE_URL" in SERVICES["sink"]["environment"]


@pytest.mark.parametrize("role", ROLES)
def test_what_the_chart_decides_nobody_else_may_set(role: str) -> None:
    """A port that differs from its probe's is a pod that never starts."""
    for name in environment_of(workloads(rendered({"settings": {}}))[role]):
        field = name.removeprefix(PREFIX).lower()
        if field not in ("lame_duck_seconds", "replication_factor"):
            with pytest.raises(Refused, match=f"leave {field} out of settings"):
                rendered({role: {"settings": {field: "1"}}})
            with pytest.raises(Refused, match=f"leave {field} out of settings"):
                rendered({"secretSettings": {field: {"secret": "s", "key": "k"}}})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kafka": {"bootstrap": ""}}, "kafka.bootstrap: name the brokers"),
        ({"kafka": {"bootstrap": "kafka"}}, "does not match pattern"),
        ({"clickhouse": {"url": {"secret": ""}}}, "clickhouse.url.secret: name the Secret"),
        ({"settings": {"kafka_sasl_password": "p"}}, "kafka_sasl_password: name a Secret that holds it"),
        ({"sink": {"settings": {"kafka_sasl_password": "p"}}}, "kafka_sasl_password: name a Secret that holds it"),
        ({"settings": {"crowdMin": 50}}, "'crowdMin' does not match pattern"),
        ({"setting": {}}, "additional properties 'setting' not allowed"),
        ({"collector": {"replicas": 2}}, "several pods of the collector need the same keys"),
        ({"collector": {"autoscaling": {"enabled": True}}}, "several pods of the collector need the same keys"),
        ({"processor": {"replicas": 2}}, "several pods of the processor need the same keys"),
        ({"sink": {"autoscaling": {"enabled": True}}}, "name the external metric of the lag"),
    ],
)
def test_values_that_cannot_work_are_refused_with_a_sentence(values: Document, sentence: str) -> None:
    """Before anything is installed, not by a pod that restarts for ever."""
    with pytest.raises(Refused, match=sentence):
        rendered(values)


@pytest.mark.parametrize(
    "keys",
    [{"accessMode": "ReadWriteMany"}, {"claim": "shared"}, {"secret": "keys"}],
    ids=lambda keys: next(iter(keys)),
)
def test_pods_of_a_role_share_their_keys(keys: Document) -> None:
    """Two keys make two voters of one session; a Secret is read-only, and the chart then makes no claim."""
    documents = rendered(
        {"keys": {"edge": keys, "epoch": keys}, "collector": {"replicas": 3}, "processor": {"replicas": 2}}
    )
    claims = [one["metadata"]["name"] for one in documents if one["kind"] == "PersistentVolumeClaim"]
    assert len(claims) == (2 if "accessMode" in keys else 0)
    for role in ("collector", "processor"):
        (volume,) = (one for one in pod_of(workloads(documents)[role])["volumes"] if one["name"] == "keys")
        (mount,) = (one for one in container_of(workloads(documents)[role])["volumeMounts"] if one["name"] == "keys")
        assert mount.get("readOnly", False) == ("secret" in volume)


def test_each_kind_of_key_is_mounted_by_its_role_alone() -> None:
    """Edge and door keys together join a label to a session: the same mounts of keys as in the compose file."""
    for role in ROLES:
        volumes = SERVICES.get(role, {}).get("volumes", [])
        expected = {target for volume in volumes for target in volume.split(":")[1:2] if "/keys/" in target}
        assert {path for path in _mounted(workloads(rendered())[role]) if "/keys" in path} == expected, role
    claims = [one for one in rendered() if one["kind"] == "PersistentVolumeClaim"]
    assert {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in claims} == {"keep"}


def test_networks_lead_where_those_of_compose_lead() -> None:
    """A broken collector reaches Kafka alone; only the sink sees both sides."""
    documents = rendered(EVERYTHING)
    on = {name: set(service["networks"]) for name, service in SERVICES.items()}
    for role in (*LONG_RUNNING, "topics"):
        policy = named(documents, "NetworkPolicy", role)["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        ports = [{port["port"] for port in rule["ports"]} for rule in policy["egress"]]
        to_kafka = [{9092, 9094}] if on[role] & on["kafka"] else []
        to_clickhouse = [{9000}] if on[role] & on["clickhouse"] else []
        assert ports == [{53}, *to_kafka, *to_clickhouse, {443}], role
        assert all(rule["to"] == [PEER] for rule in policy["egress"][1:-1])
        let_in = [{port["port"] for port in rule["ports"]} for rule in policy["ingress"]]
        http = [{"http"}] if SERVICES[role].get("ports") else []
        metrics = {"metrics", "metrics-2"} if role == "collector" else {"metrics"}
        assert let_in == [*http, *([metrics] if "metrics" in on[role] else [])], role
        assert all(rule["from"] == [PEER] for rule in policy["ingress"])
    migrations = named(documents, "NetworkPolicy", "migrations")["spec"]
    assert [{port["port"] for port in rule["ports"]} for rule in migrations["egress"]] == [{53}, {9000}, {443}]


def test_nobody_scrapes_unless_somebody_is_named() -> None:
    """Metrics are totals, and still nobody's business by default."""
    for role in ROLES:
        ports = [
            port["port"]
            for rule in named(rendered(), "NetworkPolicy", role)["spec"]["ingress"]
            for port in rule["ports"]
        ]
        assert ports == (["http"] if role == "collector" else [])


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_selector_finds_the_pods_of_one_role(values: Document) -> None:
    """A policy that selects no pod, or two roles', is a hole that nothing reports."""
    documents = rendered(values)
    pods = {role: one["spec"]["template"]["metadata"]["labels"].items() for role, one in workloads(documents).items()}
    selectors = {
        "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        "Service": lambda spec: spec["selector"],
        "StatefulSet": lambda spec: spec["selector"]["matchLabels"],
        "Deployment": lambda spec: spec["selector"]["matchLabels"],
    }
    for document in documents:
        if select := selectors.get(document["kind"]):
            found = [role for role, labels in pods.items() if select(document["spec"]).items() <= labels]
            assert found == [document["metadata"]["labels"]["app.kubernetes.io/component"]], document["metadata"]
    for scaler in (one for one in documents if one["kind"] == "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        workload = next(
            one for one in documents if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])
        )
        assert "replicas" not in workload["spec"], "an upgrade would undo what was scaled"


@pytest.mark.parametrize("role", ROLES)
def test_pod_is_confined(role: str) -> None:
    """What breaks into one finds no rights, no writable root, no token, and no more memory or CPU than in compose."""
    for values in VALUES.values():
        workload = workloads(rendered(values))[role]
        pod, container = pod_of(workload), container_of(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == "10001:10001"
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all("sizeLimit" in one["emptyDir"] for one in pod["volumes"] if "emptyDir" in one)
        if role in SERVICES:
            limits = container["resources"]["limits"]
            assert mebibytes(limits["memory"]) == mebibytes(SERVICES[role]["mem_limit"])
            assert float(limits["cpu"]) == SERVICES[role]["cpus"]


def test_services_of_the_namespace_set_no_variables() -> None:
    """A Service called unjoin-collector would set UNJOIN_COLLECTOR_SERVICE_HOST, and no role would start."""
    assert all(pod_of(one)["enableServiceLinks"] is False for one in workloads(rendered()).values())


@pytest.mark.parametrize("role", ROLES)
def test_command_is_one_of_unjoin(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The image's entry point is `unjoin`; the rest of the command line has to be its."""
    container = container_of(workloads(rendered())[role])
    assert "command" not in container
    with pytest.raises(SystemExit) as stopped:
        main([*container["args"], "--help"])
    assert stopped.value.code == 0
    assert f"unjoin {container['args'][0]}" in capsys.readouterr().out


def test_chart_is_the_version_of_the_package() -> None:
    """The image that is pulled is the one whose settings the chart knows."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {container_of(one)["image"] for one in workloads(rendered()).values()}
    assert images == {f"unjoin:{version}"}


@pytest.mark.parametrize(
    "settings",
    [{}, {"lame_duck_seconds": 45, "body_seconds_max": 2, "produce_seconds_max": 7}, {"collect_workers": 3}],
    ids=["defaults", "long", "workers"],
)
def test_collector_is_given_the_time_that_its_stop_may_take(settings: Document) -> None:
    """Killed before, it would leave what it could still have sent in its spool."""
    workload = workloads(rendered({"collector": {"settings": settings}}))["collector"]
    given = {name: value for name, value in environment_of(workload).items() if value is not None}
    taken = settings_of(given)
    levels = 1 + (taken.collect_workers > 1)
    needed = taken.lame_duck_seconds + supervised_seconds_max(taken.body_seconds_max, taken.produce_seconds_max, levels)
    assert needed <= pod_of(workload)["terminationGracePeriodSeconds"] <= needed + 4
    assert "lifecycle" not in container_of(workload)
    assert taken.lame_duck_seconds > 0


def test_jobs_come_before_what_needs_them_and_need_nothing_of_the_chart() -> None:
    """A hook runs before the chart's own objects are there; its policy has to be a hook as well, and an earlier one."""
    documents = rendered()
    hooks = [one for one in documents if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    weights = {(one["kind"], one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in hooks}
    assert weights == {("Job", "0"), ("NetworkPolicy", "-10")}
    assert {one["metadata"]["annotations"]["helm.sh/hook"] for one in hooks} == {"pre-install,pre-upgrade"}
    for job in (one for one in hooks if one["kind"] == "Job"):
        assert all("emptyDir" in volume for volume in pod_of(job)["volumes"])
    for role in ("topics", "migrations"):
        assert role not in workloads(rendered({role: {"enabled": False}}))


def test_metrics_of_every_worker_are_scraped() -> None:
    """Each worker counts for itself."""
    monitor = named(rendered(EVERYTHING), "ServiceMonitor", "collector")["spec"]
    assert [one["port"] for one in monitor["endpoints"]] == ["metrics", "metrics-2"]
    container = container_of(workloads(rendered(EVERYTHING))["collector"])
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"http": 8080, "metrics": 9100, "metrics-2": 9101}


def test_acknowledged_events_outlive_their_pod() -> None:
    """A spool on a pod's own disk would be deleted with the pod."""
    collector = workloads(rendered())["collector"]
    (claim,) = collector["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "spool"
    assert str(settings_of({"UNJOIN_DATA_DIR": "/var/lib/unjoin"}).spool_folder) in _mounted(collector)
    assert set(collector["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    assert (
        settings_of(
            {name: value for name, value in environment_of(collector).items() if value is not None}
        ).replication_factor
        == 3
    )


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Any]:
    """Starts a role with what the chart gives it, but for addresses of this machine, at which nobody answers."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(role: str) -> dict[str, str]:
        container = container_of(workloads(rendered())[role])
        ports = {"http": free_port(), "metrics": free_port()}
        environment = {one["name"]: one.get("value", "") for one in container["env"]} | {
            "UNJOIN_DATA_DIR": str(tmp_path),
            "UNJOIN_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "UNJOIN_METRICS_PORT": str(ports["metrics"]),
        }
        if role == "collector":
            environment |= {"UNJOIN_HTTP_PORT": str(ports["http"]), "UNJOIN_LAME_DUCK_SECONDS": "0"}
        if role == "sink":
            environment["UNJOIN_CLICKHOUSE_URL"] = "clickhouse://sink:secret@127.0.0.1:1/unjoin"
        plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "unjoin", *container["args"]], env=plain | environment, stdout=log, stderr=log
            )
        processes.append(process)
        urls = {}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            urls[probe] = f"http://127.0.0.1:{ports[asked['port']]}{asked['path']}"
        wait_for(lambda: _status(urls["startupProbe"]) == 200, (tmp_path / "log").read_text, 60, [process])
        return urls

    yield start
    for process in processes:
        process.terminate()
        assert process.wait(30) == 0


def _status(url: str) -> int:
    """The answer's status; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.parametrize(("role", "ready"), [("collector", 503), ("processor", 503), ("sink", 503)])
def test_role_is_alive_while_kafka_and_clickhouse_are_away(alone: Any, role: str, ready: int) -> None:
    """A liveness probe that fails with the broker restarts every pod of an outage, again and again.

    A collector would be ready with its spool, but for labels it has to have read of the door's key once.
    """
    urls = alone(role)
    assert _status(urls["livenessProbe"]) == 200
    assert _status(urls["readinessProbe"]) == ready
