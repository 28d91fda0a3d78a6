"""Every container of the Helm chart, run under podman with what its pod would give it, and its probes asked.

    scripts/stand_in_images                                  the project's image, where none can be pulled
    python -m faults.chart_containers --image unjoin:0.1.0   needs root, podman, runc, and Helm (scripts/setup test)

Command, environment, user, groups, capabilities, seccomp, read-only root, memory, CPU and mounts are those of the
rendered chart; a Secret is laid as the kubelet lays it, a claim as a volume with its fsGroup. What a pod cannot have
here: a network of its own, so that no NetworkPolicy is tried. One pod runs at a time, on loopback, with a broker
and a ClickHouse server there.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.access.sites import SitesFile
from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from testkit.chart import Document, container_of, mebibytes, merged, pod_of, rendered, workloads
from testkit.clickhouse_server import ClickHouseServer
from testkit.docker_engine import CONTAINERS
from testkit.kafka_node import KafkaNode, kafka_home
from testkit.processes import wait_for

LIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=8192:8192", "--pids-limit", "256")
LAME_DUCK_SECONDS = 3
CONFINED = """
import json, os
status = dict(line.rstrip().split(":\\t", 1) for line in open("/proc/1/status") if ":\\t" in line)
try:
    open("/written", "w"); written = True
except OSError:
    written = False
print(json.dumps({"uid": os.getuid(), "capabilities": int(status["CapEff"], 16), "bounding": int(status["CapBnd"], 16),
    "no_new_privileges": int(status["NoNewPrivs"]), "seccomp": int(status["Seccomp"]), "root_is_writable": written}))
"""
AS_THE_CHART_SAYS = {
    "uid": 10001, "capabilities": 0, "bounding": 0, "no_new_privileges": 1, "seccomp": 2, "root_is_writable": False,
}  # fmt: skip


class Pod:
    """The only container of a workload's pods.

    Args:
        secrets: by Secret's name, its values by key.
        claims: by claim's or claim template's name, a folder of this machine.
    """

    def __init__(
        self,
        workload: Document,
        image: str,
        folder: Path,
        secrets: dict[str, dict[str, bytes]],
        claims: dict[str, Path],
    ) -> None:
        self.pod, self.container = pod_of(workload), container_of(workload)
        self.name = f"unjoin-chart-{self.container['name']}-{os.getpid()}"
        self._image, self._folder, self._secrets, self._claims = image, folder, secrets, claims
        self._templates = {one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", [])}

    def start(self) -> None:
        """As the kubelet would."""
        _podman("run", "--detach", "--name", self.name, *self._options(), self._image, *self.container["args"])

    def run(self) -> str:
        """Until it ends by itself, with 0; what it said."""
        self.start()
        try:
            code = int(_podman("wait", self.name))
            assert code == 0, self.said()
            return self.said()
        finally:
            self.remove()

    def stop(self) -> tuple[int, float]:
        """SIGTERM, and SIGKILL after the grace period; exit code, and seconds that it took."""
        began = time.monotonic()
        _podman("stop", "--time", str(self.grace_seconds), self.name)
        code = int(_podman("inspect", "--format", "{{.State.ExitCode}}", self.name))
        return code, time.monotonic() - began

    def remove(self) -> None:
        _podman("rm", "--force", "--time", "0", self.name)

    def said(self) -> str:
        """Its log."""
        done = subprocess.run(["podman", "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    @property
    def grace_seconds(self) -> int:
        seconds: int = self.pod["terminationGracePeriodSeconds"]
        return seconds

    def url(self, port: str, path: str) -> str:
        (number,) = (one["containerPort"] for one in self.container["ports"] if one["name"] == port)
        return f"http://127.0.0.1:{number}{path}"

    def probe(self, name: str) -> int:
        """The status that the probe would see; 0 for none."""
        asked = self.container[name]["httpGet"]
        return status_of(self.url(asked["port"], asked["path"]), self.container[name]["timeoutSeconds"])

    def until(self, probe: str) -> float:
        """Returns once the probe holds, with the seconds that it took, within what the kubelet would wait."""
        began = time.monotonic()
        startup = self.container["startupProbe"]
        seconds_max = startup["periodSeconds"] * startup["failureThreshold"]
        wait_for(lambda: self.probe(probe) == 200, self.said, seconds_max)
        return time.monotonic() - began

    def confinement(self) -> Document:
        """What its first process has and may."""
        answer: Document = json.loads(_podman("exec", self.name, "/opt/unjoin/bin/python", "-c", CONFINED))
        return answer

    def _options(self) -> Iterator[str]:
        user, own = self.pod["securityContext"], self.container["securityContext"]
        assert user["runAsNonRoot"]
        assert user["seccompProfile"]["type"] == "RuntimeDefault"  # podman's default, as containerd's
        limits = self.container["resources"]["limits"]
        yield from ("--network", "host", "--no-hosts", *LIMITS)
        yield from ("--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--group-add", str(user["fsGroup"]))
        yield from (f"--cap-drop={name}" for name in own["capabilities"]["drop"])
        if own["readOnlyRootFilesystem"]:
            yield from ("--read-only", "--read-only-tmpfs=false")
        if not own["allowPrivilegeEscalation"]:
            yield "--security-opt=no-new-privileges"
        yield from ("--memory", f"{mebibytes(limits['memory'])}m", "--cpus", limits["cpu"])
        for one in self.container["env"]:
            yield from ("--env", f"{one['name']}={self._value_of(one)}")
        volumes = {one["name"]: one for one in self.pod["volumes"]}
        for mount in self.container["volumeMounts"]:
            yield from self._mount(volumes.get(mount["name"], {}), mount)

    def _value_of(self, one: Document) -> str:
        if "value" in one:
            return str(one["value"])
        at = one["valueFrom"]["secretKeyRef"]
        return self._secrets[at["name"]][at["key"]].decode()

    def _mount(self, volume: Document, mount: Document) -> Iterator[str]:
        path = mount["mountPath"]
        if "emptyDir" in volume:
            yield f"--tmpfs={path}:rw,mode=1777,size={mebibytes(volume['emptyDir']['sizeLimit'])}m"
            return
        if "secret" in volume:
            source = self._folder / f"{self.container['name']}-{mount['name']}"
            lay_secret(source, self._secrets[volume["secret"]["secretName"]], volume["secret"]["defaultMode"])
        else:
            template = mount["name"] in self._templates
            source = self._claims[mount["name"] if template else volume["persistentVolumeClaim"]["claimName"]]
        yield f"--volume={source}:{path}:{'ro' if mount.get('readOnly') else 'rw'}"


def lay_secret(folder: Path, values: dict[str, bytes], mode: int) -> None:
    """As the kubelet does: files of root and the group, behind links that change at once."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "..2026").mkdir(parents=True)
    for name, value in values.items():
        (folder / "..2026" / name).write_bytes(value)
        (folder / "..2026" / name).chmod(mode)
        os.chown(folder / "..2026" / name, 0, 10001)
        (folder / name).symlink_to(Path("..data") / name)
    (folder / "..data").symlink_to("..2026")
    for one in (folder, folder / "..2026"):
        os.chown(one, 0, 10001)
        one.chmod(0o2775)


def new_claim(folder: Path) -> Path:
    """A new volume with its fsGroup: of root, and open to the group."""
    folder.mkdir()
    os.chown(folder, 0, 10001)
    folder.chmod(0o2775)
    return folder


def status_of(url: str, seconds_max: float = 10) -> int:
    """The status of an answer; 0 for none."""
    try:
        with urllib.request.urlopen(url, timeout=seconds_max) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def post(url: str, key: str, events: list[Document]) -> int:
    """How many events were accepted."""
    body = json.dumps({"session": "s-chart", "events": events}).encode()
    request = urllib.request.Request(f"{url}/v1/events?key={key}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(json.load(answer)["accepted"])


def signal(number: int) -> Document:
    ts = time.time_ns() // 1_000_000
    return {"id": f"signal-{number}", "type": "pointer", "ts": ts, "t": [0], "x": [1], "y": [2]}


def label(number: int) -> Document:
    ts = time.time_ns() // 1_000_000
    return {"id": f"label-{number}", "type": "image_label", "ts": ts, "task": f"dogs-{number}", "answer": "beagle"}


class Run:
    """One run of all containers, in the order of an installation; `say` tells what held."""

    def __init__(self, image: str, folder: Path, node: KafkaNode, server: ClickHouseServer) -> None:
        self._image, self._folder, self._url = image, folder, server.url_of("sink", "sink")
        self._values = {
            "kafka": {"bootstrap": node.bootstrap},
            "clickhouse": {"port": server.port},
            # One broker, and a door that lets a single label out.
            "settings": {"replication_factor": 1, "crowd_min": 1},
            "collector": {"sites": {"secret": "sites"}, "settings": {"lame_duck_seconds": LAME_DUCK_SECONDS}},
        }
        self.key = SitesFile(folder / "sites.json").add("shop", ["https://shop.example"])
        self._secrets = {
            "db": {"url": self._url.encode()},
            "sites": {"sites.json": (folder / "sites.json").read_bytes()},
        }
        self._claims = {
            name: new_claim(folder / name) for name in ("r-unjoin-edge-keys", "r-unjoin-epoch-keys", "spool", "other")
        }
        (self._claims["spool"] / "lost+found").mkdir(mode=0o700)  # as a new file system has it
        self.failed = False

    def pod(self, role: str, values: Document | None = None, claims: dict[str, Path] | None = None) -> Pod:
        documents = workloads(rendered(merged(self._values, values or {})))
        return Pod(documents[role], self._image, self._folder, self._secrets, self._claims | (claims or {}))

    def all(self) -> None:
        self.job("topics", "created: ")
        self.job("migrations", "the tables are up to date")
        with self.running("processor"):
            pass
        self.collector()
        with self.running("collector", {"collector": {"settings": {"collect_workers": 2}}}, "collector, two workers"):
            pass
        self.other_key()
        with self.running("processor"):
            pass
        self._secrets["epoch"] = {
            path.name: path.read_bytes() for path in self._claims["r-unjoin-epoch-keys"].iterdir() if path.is_file()
        }
        with self.running("processor", {"keys": {"epoch": {"secret": "epoch"}}}, "processor, keys of a Secret"):
            pass
        self.sink()

    def job(self, role: str, expected: str) -> None:
        said = self.pod(role).run()
        self.say(role, "ended with 0", expected in said)

    @contextmanager
    def running(self, role: str, values: Document | None = None, title: str = "") -> Iterator[Pod]:
        """The role, started, alive, ready and confined; stopped in time afterwards."""
        title = title or role
        pod = self.pod(role, values)
        pod.start()
        try:
            started, ready = pod.until("startupProbe"), pod.until("readinessProbe")
            self.say(title, f"started after {started:.1f} s, ready after {started + ready:.1f} s", True)
            self.say(title, "alive", pod.probe("livenessProbe") == 200)
            confined = pod.confinement()
            self.say(title, "no root, capability, privilege or writable root; seccomp", confined == AS_THE_CHART_SAYS)
            self.say(title, "confined by Landlock", "has no Landlock" not in pod.said())
            yield pod
            code, seconds = pod.stop()
            in_time = seconds < pod.grace_seconds
            self.say(
                title, f"stopped in {seconds:.1f} s of {pod.grace_seconds}, exit code {code}", in_time and not code
            )
            self.say(title, "no traceback", "Traceback" not in pod.said())
        finally:
            (self._folder / f"{pod.name}.log").write_text(pod.said())
            pod.remove()

    def collector(self) -> None:
        with self.running("collector") as pod:
            url = pod.url("http", "")
            self.say("collector", "accepted a signal and a label", post(url, self.key, [signal(1), label(1)]) == 2)
            _podman("kill", "--signal", "TERM", pod.name)
            wait_for(lambda: pod.probe("readinessProbe") == 503, pod.said, LAME_DUCK_SECONDS)
            accepted = post(url, self.key, [signal(2)])
            self.say("collector", "told to stop: not ready, and still accepts", accepted == 1)

    def other_key(self) -> None:
        """A pod with another key of the day, as of a claim of its own."""
        pod = self.pod("collector", claims={"r-unjoin-edge-keys": self._claims["other"]})
        pod.start()
        try:
            pod.until("startupProbe")
            wait_for(
                lambda: pod.probe("readinessProbe") == 503 and "give every host the same folder of keys" in pod.said(),
                pod.said,
                60,
            )
            self.say("collector, another key of the day", "not ready, and says why", True)
        finally:
            pod.remove()

    def sink(self) -> None:
        with self.running("sink"):
            engine = Server(address_of(self._url))
            try:
                sql = "SELECT (SELECT count() FROM unjoin.signals), (SELECT count() FROM unjoin.labels)"
                wait_for(lambda: engine.select(sql, "TabSeparated").split() == [b"2", b"1"], "not every row came", 60)
            finally:
                engine.close()
            self.say("sink", "stored two signals and a label", True)

    def say(self, role: str, what: str, held: bool) -> None:
        self.failed |= not held
        sys.stdout.write(f"{'ok    ' if held else 'FAILED'} {role}: {what}\n")
        sys.stdout.flush()


def _podman(*arguments: str) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"podman {arguments[0]}: {done.stderr}"
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--image", default="localhost/unjoin:0.1.0")
    image = parser.parse_args().image
    for variable, file in (("CONTAINERS_CONF", "containers.conf"), ("CONTAINERS_STORAGE_CONF", "storage.conf")):
        if (CONTAINERS / file).exists():  # scripts/stand_in_images made it
            os.environ.setdefault(variable, str(CONTAINERS / file))
    with tempfile.TemporaryDirectory(prefix="unjoin-chart-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the containers' user goes through it
        for part in ("kafka", "clickhouse"):
            (folder / part).mkdir()
        node = KafkaNode(kafka_home(), folder / "kafka")
        passwords = {f"CLICKHOUSE_{user}_PASSWORD_SHA256": "ab" * 32 for user in ("ANALYST", "ML", "PRIVACY")}
        server = ClickHouseServer(
            folder / "clickhouse", deployed=True, environment=passwords | {"CLICKHOUSE_SINK_PASSWORD": "sink"}
        )
        node.start()
        try:
            server.start()
            run = Run(image, folder, node, server)
            run.all()
        finally:
            server.stop()
            node.stop()
    return int(run.failed)


if __name__ == "__main__":
    sys.exit(main())
