"""A real Prometheus (Debian's) as a child process, scraping what it is told."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unjoin.host.kafka import free_port

READY_SECONDS_MAX = 60.0
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=for: )(\d+)([smhd])\b")


def missing() -> str:
    """Why none can run here; "" where one can."""
    return "" if shutil.which("prometheus") else "prometheus is not installed (Debian: apt-get install prometheus)"


def scaled(rules: str, factor: int) -> str:
    """Rules whose every window and `for` is shorter by a factor, at least 2 s; quantities stay as they are."""

    def shorter(found: re.Match[str]) -> str:
        number, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
        return f"{max(2, int(number) * UNIT_SECONDS[unit] // factor)}s"

    return _DURATION.sub(shorter, rules)


class Prometheus:
    """One server on a free port.

    Args:
        folder: its files; made here.
        targets: instance -> host:port or URL of what it tells.
        rules: the text of a file of rules; "" for none.
    """

    def __init__(self, folder: Path, targets: Mapping[str, str], rules: str = "", scrape_seconds: int = 1) -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        self._folder = folder
        jobs = [
            {
                "job_name": f"unjoin-{name}" if name != "audit" else name,
                "metrics_path": path,
                "static_configs": [{"targets": [address], "labels": {"instance": name}}],
            }
            for name, target in targets.items()
            for address, path in [_split(target)]
        ]
        every = f"{scrape_seconds}s"
        config: dict[str, Any] = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": "1s"},
            "scrape_configs": jobs,
        }
        if rules:
            (folder / "rules.yml").write_text(rules)
            config["rule_files"] = [str(folder / "rules.yml")]
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        command = [
            "prometheus", f"--config.file={self._folder}/prometheus.yml", f"--storage.tsdb.path={self._folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]  # fmt: skip
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                self._get("/-/ready")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise AssertionError((self._folder / "log").read_text()[-2_000:]) from None
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of now: [{metric, value: [time, text]}]."""
        return self._result("query", query=expression)

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Series over time: [{metric, values: [[time, text], …]}]."""
        return self._result("query_range", query=expression, start=str(start), end=str(end), step=str(step))

    def firing(self, instance: str = "") -> set[str]:
        """Names of the alerts that fire now, of one instance or of any."""
        alerts = json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]
        fire = (alert["labels"] for alert in alerts if alert["state"] == "firing")
        return {labels["alertname"] for labels in fire if not instance or labels.get("instance") == instance}

    def fired(self, seconds: float) -> set[str]:
        """Names of the alerts that fired at any moment of so many seconds until now."""
        alerts = self.query(f'last_over_time(ALERTS{{alertstate="firing"}}[{max(1, round(seconds))}s])')
        return {alert["metric"]["alertname"] for alert in alerts}

    def _result(self, what: str, **parameters: str) -> list[dict[str, Any]]:
        answer = json.loads(self._get(f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}"))
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            body: bytes = answer.read()
            return body


def _split(target: str) -> tuple[str, str]:
    if "://" not in target:
        return target, "/metrics"
    parts = urllib.parse.urlsplit(target)
    return parts.netloc, parts.path
