"""What each container has and may, asked from within; and whom the volumes belong to."""

import os
from pathlib import Path
from typing import Any

from faults.compose.report import Report
from testkit.compose_stack import LONG_RUNNING, ComposeStack

Document = dict[str, Any]
OWNERS = {
    "kafka-data": 1000, "clickhouse-data": 101, "collector-data": 10001, "edge-keys": 10001, "processor-data": 10001,
    "epoch-keys": 10001,
}  # fmt: skip
KEYS = ("collector-data", "edge-keys", "processor-data", "epoch-keys")
# Where something can be written: of every mount the folder, of a mounted file itself.
WRITABLE = """
touch /.written 2>/dev/null && echo /
while read -r _ _ _ _ at _; do
  if [ -d "$at" ] && touch "$at/.written" 2>/dev/null; then rm "$at/.written"; echo "$at"; fi
  if [ -f "$at" ] && [ -w "$at" ]; then echo "$at"; fi
done < /proc/self/mountinfo
"""
ENGINES_OWN = {"/dev/mqueue", "/dev/shm"}  # what every container is given


def run(stack: ComposeStack, report: Report) -> None:
    """All services that run."""
    for service in LONG_RUNNING:
        with report.check(f"{service}: no root, no capability, no new privileges, seccomp, bounds") as check:
            check.said = _confined(stack, service)
        with report.check(f"{service}: writes to its volumes and folders in memory, to nothing else") as check:
            container = stack.inspect(service)
            found = set(stack.compose("exec", "-T", service, "sh", "-c", WRITABLE).split()) - ENGINES_OWN
            volumes = {one["Destination"] for one in container["Mounts"] if one["Type"] == "volume"}
            assert found == volumes | set(container["HostConfig"]["Tmpfs"]), found
            check.said = ", ".join(sorted(found))
    with report.check("the roles confine themselves to their folders besides (Landlock)"):
        assert "has no Landlock" not in stack.logs("collector", "processor", "sink")
    with report.check("volumes belong to the user of their service; those with keys to nobody else") as check:
        for volume, owner in OWNERS.items():
            status = _folder_of(stack, volume).stat()
            assert status.st_uid == owner, (volume, status)
            assert volume not in KEYS or status.st_mode & 0o077 == 0, (volume, oct(status.st_mode))
        check.said = ", ".join(f"{volume} {owner}" for volume, owner in OWNERS.items())
    with report.check("keys of the day are files that their owner alone may read") as check:
        files = [file for name in ("edge-keys", "epoch-keys") for file in _files(_folder_of(stack, name))]
        assert files
        assert all(file.stat().st_mode & 0o077 == 0 for file in files), files
        check.said = f"{len(files)} files"


def _confined(stack: ComposeStack, service: str) -> str:
    container = stack.inspect(service)
    lines = Path(f"/proc/{container['State']['Pid']}/status").read_text().splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"][0] != "0", status["Uid"]
    assert {int(status[name][0], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}, status
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"]), status
    given, asked = container["HostConfig"], stack.services[service]
    assert given["NanoCpus"] == asked["cpus"] * 1e9
    assert given["Memory"] == int(asked["mem_limit"].rstrip("g")) << 30
    assert given["PidsLimit"] == asked.get("pids_limit", 256)
    return f"uid {status['Uid'][0]}, {asked['mem_limit']}, {asked['cpus']} CPU, {given['PidsLimit']} processes"


def _folder_of(stack: ComposeStack, volume: str) -> Path:
    return Path(stack.engine.docker("volume", "inspect", "--format", "{{.Mountpoint}}", stack.volume(volume)))


def _files(folder: Path) -> list[Path]:
    return [Path(at) / name for at, _, names in os.walk(folder) for name in names]
