"""docker-compose.yml, held to its promises without an engine: syntax by two parsers, meaning by what it says."""

import os
import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
from compose_spec import PyCompose

from tests.deploy.compose import FILE, ROOT, VARIABLE, document, environment, variables
from unjoin.cli import main
from unjoin.settings import PREFIX, Settings, settings_of

VARIABLE_NAMES = re.compile(r"\$\{(\w+):\?")
ROLES = ("collector", "processor", "sink", "topics")
MONITORING = ("prometheus", "grafana")
LONG_RUNNING = ("kafka", "clickhouse", "collector", "processor", "sink", *MONITORING)
SECRETS = {
    "CLICKHOUSE_SINK_PASSWORD",
    "CLICKHOUSE_ANALYST_PASSWORD_SHA256",
    "CLICKHOUSE_ML_PASSWORD_SHA256",
    "CLICKHOUSE_PRIVACY_PASSWORD_SHA256",
}

# What the file decides, since it knows its own ports and folders; and what is for tests.
FIXED = {
    *("data_dir", "kafka_home", "spool_dir", "datasets", "test_clickhouse"),
    *("http_host", "http_port", "metrics_host", "metrics_port"),
    *("kafka_port", "clickhouse_http_host", "clickhouse_http_port", "clickhouse_url"),
}

COMPOSE = document(environment())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def _mounts(service: str) -> dict[str, str]:
    """A service's volumes: target -> source."""
    mounts = {}
    for volume in SERVICES[service].get("volumes", []):
        source, target, *_ = volume.split(":")
        mounts[target] = source
    return mounts


def test_docker_compose_accepts_the_file_and_sees_the_same_services() -> None:
    """The specification's parser and the program that runs it are not the same code."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    done = subprocess.run(
        [program, "--file", str(FILE), "--profile", "monitoring", "config"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = PyCompose.from_yaml(done.stdout).to_dict()["services"]
    assert seen.keys() == SERVICES.keys()
    for name, service in SERVICES.items():
        assert seen[name].get("command") == service.get("command")
        assert seen[name].get("cap_drop") == ["ALL"]


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_a_missing_password_stops_the_start(missing: str) -> None:
    """A default password is a published one."""
    kind, _ = variables()[missing]
    assert kind == "?"
    given = environment()
    del given[missing]
    with pytest.raises(KeyError, match=missing):
        document(given)


def test_no_secret_stands_in_clear_text() -> None:
    """Whatever is called a password, key or token comes from the environment, in the file and in its example."""
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            # No value: what .env or the shell says.
            if value is not None and re.search(r"PASSWORD|SECRET|TOKEN|_URL$", variable):
                assert "set-clickhouse_" in str(value), (name, variable)
    example = (ROOT / ".env.example").read_text()
    given = dict(re.findall(r"^(\w+)=(.*)$", example, flags=re.MULTILINE))
    assert given.keys() == SECRETS
    assert set(given.values()) == {""}


def test_the_example_names_every_variable_and_no_other() -> None:
    """A variable that nobody is told of cannot be set."""
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_0-9]+)=", example, flags=re.MULTILINE)) == set(variables())
    defaults = {name: default for name, (kind, default) in variables().items() if kind == "-"}
    assert dict(re.findall(r"^#([A-Z_0-9]+)=(.*)$", example, flags=re.MULTILINE)) == defaults


def test_each_role_can_come_to_brokers_as_its_own_user() -> None:
    """With one user for all, a broken collector reads what the door alone may read."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    users = ROOT / "deploy" / "compose.kafka-users.yml"
    passwords = {name: f"set-{name}" for name in VARIABLE_NAMES.findall(users.read_text())}
    shared = {"UNJOIN_KAFKA_BOOTSTRAP": "kafka.example:9093", "UNJOIN_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    shared["UNJOIN_KAFKA_SASL_MECHANISM"] = "SCRAM-SHA-512"
    done = subprocess.run(
        [program, "--file", str(FILE), "--file", str(users), "config"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment(), **passwords, **shared},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = PyCompose.from_yaml(done.stdout).to_dict()["services"]
    for role in ROLES:
        given = services[role]["environment"]
        settings = settings_of({key: str(value) for key, value in given.items() if value is not None})
        assert settings.kafka_sasl_username == f"unjoin-{role}"
        assert settings.kafka_sasl_password == f"set-KAFKA_{role.upper()}_PASSWORD"
        assert any(volume.endswith("/deploy/kafka/tls:/etc/unjoin/kafka:ro") for volume in services[role]["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_pinned(name: str) -> None:
    """`latest`, or no tag, is another image tomorrow."""
    image, _, tag = SERVICES[name]["image"].rpartition(":")
    assert image
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)*", tag), tag


def test_versions_are_those_that_are_tested_here() -> None:
    """Kafka is the one that `unjoin up` starts, our image the package, ClickHouse the engine that is embedded."""
    chdb = pytest.importorskip("chdb")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {SERVICES[role]["image"] for role in ROLES} == {f"unjoin:{project['version']}"}
    kafka = re.search(
        r"kafka_2\.13</artifactId>\s*<version>([\d.]+)<", (ROOT / "deploy" / "kafka" / "pom.xml").read_text()
    )
    assert kafka is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka[1]}"
    tag = SERVICES["clickhouse"]["image"].rpartition(":")[2]
    assert chdb.engine_version.startswith(f"{tag}.")


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_confined(name: str) -> None:
    """What breaks into one service finds no rights, no writable root, no room to grow and no disk to fill."""
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_over_a_folder_of_the_image_names_its_owner(name: str) -> None:
    """runc before 1.1.8 (Debian 12) gives such a tmpfs to root with the folder's mode, whatever `mode` says."""
    for mount in SERVICES[name].get("tmpfs", []):
        target, _, options = mount.partition(":")
        assert target == "/tmp" or {"uid", "gid"} <= {one.partition("=")[0] for one in options.split(",")}, mount


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_long_running_service_is_watched_and_restarted(name: str) -> None:
    """A process that died or hangs is noticed and comes back without a person."""
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]["test"]
    assert isinstance(check, str) or check[0] == "CMD"  # a string is what the parser makes of CMD-SHELL
    assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys()
    assert service["stop_grace_period"] == "1m"


@pytest.mark.parametrize("name", ROLES)
def test_command_is_one_of_unjoin(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The image's entry point is `unjoin`; the rest of the command line has to be its."""
    with pytest.raises(SystemExit) as stopped:
        main([*SERVICES[name]["command"], "--help"])
    assert stopped.value.code == 0
    assert f"unjoin {SERVICES[name]['command'][0]}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ROLES)
def test_every_setting_of_a_role_exists_and_is_in_bounds(name: str) -> None:
    """The settings refuse an unknown name only when a container starts; here it is earlier."""
    given = {key: str(value) for key, value in SERVICES[name]["environment"].items() if value is not None}
    assert all(key.startswith(PREFIX) for key in given)
    assert settings_of(given).bootstrap == "kafka:9092"
    passed_on = [key for key in variables() if key.startswith(PREFIX)]
    assert {key.removeprefix(PREFIX).lower() for key in passed_on} <= set(Settings.__struct_fields__)


@pytest.mark.parametrize("name", ROLES)
def test_setting_of_the_readme_reaches_every_role(name: str) -> None:
    """A setting that is dropped on its way is a privacy setting that was believed to hold."""
    given = SERVICES[name]["environment"]
    for field in set(Settings.__struct_fields__) - FIXED:
        assert PREFIX + field.upper() in given
        # No value: what .env or the shell says, or nothing.
        assert given[PREFIX + field.upper()] is None or field == "kafka_bootstrap"


def test_each_kind_of_key_is_mounted_by_its_role_alone() -> None:
    """Edge and door keys together join a label to a session: no container holds both, and the sink none."""
    image_dir = "/var/lib/unjoin"
    settings = settings_of({"UNJOIN_DATA_DIR": image_dir})
    edge, epoch = str(settings.edge_keys_dir), str(settings.epoch_keys_dir)
    holders = {name: {source for source in _mounts(name).values() if "keys" in source} for name in SERVICES}
    assert {name: held for name, held in holders.items() if held} == {
        "collector": {"edge-keys"},
        "processor": {"epoch-keys"},
    }
    assert _mounts("collector")[edge] == "edge-keys"
    assert _mounts("processor")[epoch] == "epoch-keys"
    assert "volumes" not in SERVICES["sink"]


def test_no_volume_of_state_is_shared() -> None:
    """Two services write one volume only by mistake."""
    named = [source for name in SERVICES for source in _mounts(name).values() if not source.startswith(".")]
    assert len(named) == len(set(named))
    assert set(named) == set(COMPOSE["volumes"])


def test_mounted_files_exist_and_are_read_only() -> None:
    """Docker makes a folder where a file is missing, and ClickHouse then starts with its default user."""
    files = {
        name: [volume.split(":") for volume in service.get("volumes", []) if volume.startswith(".")]
        for name, service in SERVICES.items()
    }
    assert {name: len(found) for name, found in files.items() if found} == {
        "clickhouse": 2,
        "prometheus": 2,
        "grafana": 2,
    }
    for name, found in files.items():
        for source, target, mode in found:
            assert (ROOT / source).is_file() or (name == "grafana" and (ROOT / source).is_dir())
            assert target.startswith("/etc/")
            assert mode == "ro"


def test_monitoring_is_a_profile_and_asks_nobody_to_be_trusted() -> None:
    """Whoever does not want it starts nothing of it; whoever does gets no default password with it."""
    assert {name for name, service in SERVICES.items() if service.get("profiles")} == set(MONITORING)
    grafana = SERVICES["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert (grafana["GF_AUTH_DISABLE_LOGIN_FORM"], grafana["GF_AUTH_BASIC_ENABLED"]) == ("true", "false")


def test_networks_keep_the_edge_from_the_store() -> None:
    """A broken collector reaches Kafka alone; only the sink sees both sides."""
    on = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert on == {
        "kafka": {"stream"},
        "topics": {"stream"},
        "collector": {"edge", "stream", "metrics"},
        "processor": {"stream", "metrics"},
        "sink": {"stream", "store", "metrics"},
        "clickhouse": {"store", "readers"},
        "prometheus": {"metrics", "panels"},
        "grafana": {"panels", "watchers"},
    }
    assert not on["collector"] & on["clickhouse"]
    assert all(COMPOSE["networks"][name]["internal"] for name in ("stream", "store", "metrics", "panels"))
    assert not document({**environment(), "STREAM_INTERNAL": "false"})["networks"]["stream"].get("internal")


def test_metrics_can_be_scraped_from_another_container() -> None:
    """On loopback of its own container nobody would see them; the network that leads to them leads nowhere else."""
    for name in ("collector", "processor", "sink"):
        assert SERVICES[name]["environment"]["UNJOIN_METRICS_HOST"] == "0.0.0.0"
        assert "9100" not in str(SERVICES[name].get("ports"))


def test_a_rebuild_is_what_runs() -> None:
    """With a fixed tag and no policy an engine goes on with the image that it has."""
    assert {SERVICES[name]["pull_policy"] for name in ROLES} == {"build"}


def test_ports_are_published_on_loopback_unless_somebody_says_otherwise() -> None:
    """A published port passes by the host's firewall."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {
        "collector": ["127.0.0.1:8080:8080"],
        "clickhouse": ["127.0.0.1:8123:8123"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_roles_wait_for_what_they_need() -> None:
    """Topics are not made by the first record: a role that came too early would find none."""
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    made = {"condition": "service_completed_successfully"}
    healthy = {"condition": "service_healthy"}
    assert needs["topics"] == {"kafka": healthy}
    assert needs["collector"] == needs["processor"] == {"topics": made}
    assert needs["sink"] == {"topics": made, "clickhouse": healthy}


def test_health_checks_run_on_what_the_images_have() -> None:
    """The slim Python image has no curl; the check of a role is Python, compiled here to see that it is."""
    for name in ("collector", "processor", "sink"):
        kind, python, option, code = SERVICES[name]["healthcheck"]["test"]
        assert (kind, python, option) == ("CMD", "python", "-c")
        compile(code, name, "exec")
    assert (
        f":{SERVICES['collector']['environment']['UNJOIN_HTTP_PORT']}/readyz"
        in SERVICES["collector"]["healthcheck"]["test"][3]
    )
    for name in ("processor", "sink"):
        port = SERVICES[name]["environment"]["UNJOIN_METRICS_PORT"]
        assert f":{port}/metrics" in SERVICES[name]["healthcheck"]["test"][3]


def test_every_variable_is_written_in_the_form_that_is_checked() -> None:
    """`$NAME` and `${NAME}` fall silently to nothing when unset."""
    text = FILE.read_text()
    assert VARIABLE.sub("", text).count("$") == 0
    assert {name for name in variables() if name.startswith(PREFIX)} == {"UNJOIN_KAFKA_BOOTSTRAP"}
    assert all(kind for kind, _ in variables().values())
