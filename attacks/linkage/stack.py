"""A pipeline of the recorder's own: `unjoin up` on free ports over a folder that is thrown away."""

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from schemas.outcomes import UnjoinError
from unjoin.host.kafka import free_port

READY_S_MAX = 120.0
STOP_S_MAX = 90.0
KEY = "dev-browser-key"
SITE = "dev"


class RecordingError(UnjoinError):
    """The day could not be recorded; the text says why."""


class Stack:
    """Starts with the context and has stopped when it ends.

    Args:
        data_dir: an empty folder for its state.
        settings: environment variables of `unjoin up`.
    """

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self._settings = settings
        self._http_port, self._clickhouse_port, self._kafka_port = free_port(), free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self._kafka_port}"
        self._collector = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=60)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Stack":
        # What the operator has set for a pipeline that may be running must not reach this one, but Kafka's jars.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
        if "UNJOIN_KAFKA_HOME" in os.environ:
            kept["UNJOIN_KAFKA_HOME"] = os.environ["UNJOIN_KAFKA_HOME"]
        environment = {
            **kept,
            "COLUMNS": "200",  # what says that it is ready stays on one line
            "UNJOIN_DATA_DIR": str(self.data_dir),
            "UNJOIN_HTTP_PORT": str(self._http_port),
            "UNJOIN_CLICKHOUSE_HTTP_PORT": str(self._clickhouse_port),
            "UNJOIN_KAFKA_PORT": str(self._kafka_port),
            **self._settings,
        }
        log = self.data_dir / "up.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "unjoin", "up"], env=environment, stdout=out, stderr=out
            )
        deadline = time.monotonic() + READY_S_MAX
        while b"Ctrl-C stops" not in log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise RecordingError(f"`unjoin up` did not start: {' '.join(last) or 'it said nothing'}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Drains and ends it. Once it has stopped, its folders may be opened."""
        self._collector.close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise RecordingError("`unjoin up` did not stop in time") from None

    def post(self, batch: dict[str, Any]) -> None:
        """Posts one batch, which must be accepted whole.

        Raises:
            RecordingError: it was not.
        """
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        self._collector.request("POST", "/v1/events", json.dumps(batch), headers)
        answer = self._collector.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200 or body["rejected"]:
            raise RecordingError(f"the collector did not take a batch: {answer.status}")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query, as an analyst gets them."""
        connection = http.client.HTTPConnection("127.0.0.1", self._clickhouse_port, timeout=120)
        settings = {
            "database": "unjoin",
            "default_format": "JSONEachRow",
            "output_format_json_quote_64bit_integers": "0",
        }
        connection.request("POST", f"/?{urlencode(settings)}", sql.encode())
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise RecordingError(f"ClickHouse refused a query: {answer.status}")
        return [json.loads(line) for line in body.splitlines()]

    def wait_for_rows(self, table: str, rows: int, seconds_max: float = 120.0) -> None:
        """Returns once a table holds as many.

        Raises:
            RecordingError: it does not, even then.
        """
        deadline = time.monotonic() + seconds_max
        while (found := int(self.rows(f"SELECT count() AS n FROM {table}")[0]["n"])) != rows:
            if time.monotonic() > deadline:
                raise RecordingError(f"{table} holds {found} rows instead of {rows}")
            time.sleep(0.2)
