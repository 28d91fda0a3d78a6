"""Stock ClickHouse clients that are no Python, each run once as a program; `scripts/setup test` installs them.

Each answers a dict: what it was asked to do -> the first value that it read, or the error that it got.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
INSTALLED = FOLDER.parents[1] / ".clients"
SECONDS_MAX = 120
LABELS = "SELECT concat('{}=', toString(count())) FROM labels WHERE answer = 'a file';"
LIST = ", ".join(f"'event-{number}'" for number in range(5_000))


def go_client(port: int) -> dict[str, str]:
    """clickhouse-go over HTTP, on which Grafana's plugin stands."""
    program = INSTALLED / "go" / "stock"
    if not program.exists():
        pytest.skip("needs clickhouse-go, built by Go: scripts/setup test")
    return _said([str(program), f"127.0.0.1:{port}"])


def node_client(port: int) -> dict[str, str]:
    """@clickhouse/client."""
    if shutil.which("node") is None or not (FOLDER / "node" / "node_modules").is_dir():
        pytest.skip("needs Node 20 or newer, and @clickhouse/client: scripts/setup test")
    return _said(["node", str(FOLDER / "node" / "stock.mjs"), f"http://127.0.0.1:{port}"])


def jdbc_client(port: int, folder: Path) -> dict[str, str]:
    """ClickHouse's JDBC driver, asked by sqlline, which draws tables and columns from its metadata."""
    jars = INSTALLED / "jdbc" / "jars"
    if shutil.which("java") is None or not jars.is_dir():
        pytest.skip("needs Java 17 or newer, and ClickHouse's JDBC driver: scripts/setup test")
    url = f"jdbc:clickhouse://127.0.0.1:{port}/unjoin"
    script = [
        "!outputformat csv",
        f"!connect {url} default ''",
        LABELS.format("defaults"),
        f"SELECT concat('long=', toString(length([{LIST}])));",
        "SELECT concat('settings clause=', toString(getSetting('max_threads'))) SETTINGS max_threads = 1;",
        "!tables",
        "!columns labels",
        "!metadata getTypeInfo",
        "SELECT file('/etc/passwd');",
        f"!connect {url}?clickhouse_setting_max_threads=1&clickhouse_setting_log_comment=tableau default ''",
        "SELECT concat('settings=', toString(getSetting('max_threads')));",
        f"!connect {url}?compress=0 default ''",
        LABELS.format("compression none"),
        f"!connect {url}?decompress=1 default ''",
        LABELS.format("compression of requests"),
        f"!connect {url}?client.use_http_compression=true default ''",
        LABELS.format("compression by http"),
    ]
    (folder / "script.sql").write_text("\n".join(script) + "\n")
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", "sqlline.SqlLine", "--force=true"]
    done = subprocess.run(
        [*command, f"--run={folder / 'script.sql'}"], capture_output=True, text=True, check=False, timeout=SECONDS_MAX
    )
    printed = done.stdout + done.stderr
    said = dict(re.findall(r"^'(\w[\w ]*)=(.*)'$", printed, re.MULTILINE))
    said |= {"tables": str("'unjoin','labels','TABLE'" in printed), "columns": str("'labels','answer'," in printed)}
    said["types"] = str("'LowCardinality'" in printed)
    refused = re.search(r"^Error: (Code: 497\. .*)", printed, re.MULTILINE)
    return said | {"refused": refused[1] if refused else printed[-2_000:]}


def _said(command: list[str]) -> dict[str, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, str] = json.loads(done.stdout)
    return said
