"""The example's model on features of the database, on little data: that it runs, not how good it is."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pandas as pd
import pytest

from attacks.detector.baseline import features_of, judged
from attacks.detector.plays import bots_of, simulated_plays
from examples.verdicts.__main__ import main
from schemas.events import Verdict
from sinks.clickhouse.embedded import Embedded


@pytest.fixture(scope="module")
def told(embedded: Embedded) -> pd.DataFrame:
    """Features of a few people and bots, as the SDK tells them."""
    rng = Random(1)
    people = simulated_plays(12, rng)
    return features_of(embedded, [*people, *bots_of(people, rng)], rng, is_reduced=True)


def test_every_play_with_signals_has_a_row_and_what_sends_labels_alone_has_none(told: pd.DataFrame) -> None:
    assert set(told["kind"].value_counts()) == {12}
    assert "labels alone" not in set(told["kind"])
    assert told["hand_from_zero_share"].min() == 1
    assert told["hand_whole_share"].min() == 1


def test_model_finds_what_moves_in_straight_lines(told: pd.DataFrame) -> None:
    """It could else be blind, and nobody would notice."""
    some = told[told["kind"].isin(["simulated", "straight lines"])]
    found, curve = judged(some, "the SDK", "group", seed=1, resamples=50)
    assert [one.bot for one in found] == ["straight lines", "all"]
    assert found[0].auc > 0.8
    assert found[0].lower <= found[0].auc <= found[0].upper
    assert curve[-1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("module", "arguments", "needed"),
    [
        ("attacks.detector.baseline", ["--simulated", "20", "--training", "t.parquet"], "sklearn, matplotlib"),
        ("examples.verdicts", ["--training", "t.parquet", "--site", "dev", "--key", "k"], "sklearn"),
    ],
)
def test_commands_of_the_page_say_what_to_install(
    module: str, arguments: list[str], needed: str, tmp_path: Path
) -> None:
    """What `make run` sets up has neither; a missing module is no answer to whoever copies a command."""
    code = (
        "import runpy, sys\n"
        "for name in ('sklearn', 'matplotlib', 'scipy', 'yaml'): sys.modules[name] = None\n"
        "runpy.run_module(sys.argv.pop(1), run_name='__main__')"
    )
    command = [sys.executable, "-c", code, module, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f" needs {needed}: scripts/setup test\n")
    assert done.stderr.count("\n") == 1


def test_example_posts_a_verdict_for_each_session_that_it_is_sure_of(
    told: pd.DataFrame, embedded: Embedded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the view to the collector's door; the collector here only notes what came."""
    training = tmp_path / "training.parquet"
    told.drop(columns=["kind", "group", "person"]).to_parquet(training)
    posted: list[dict[str, Any]] = []

    class Both(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The view: as port 8123 would say it, of however long ago."""
            asked = parse_qs(urlsplit(self.path).query)
            query = asked["query"][0].replace("now()", "toDateTime('2026-09-21 14:14:00', 'UTC')")
            parameters = {name: asked[f"param_{name}"][0] for name in ("site", "minutes")}
            self._answer(bytes(embedded.read(query, "Parquet", parameters=parameters).body))

        def do_POST(self) -> None:
            """The collector."""
            assert self.headers["Authorization"] == "Bearer dev-server-key"
            batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posted.extend(batch["events"])
            self._answer(json.dumps({"accepted": len(batch["events"]), "rejected": []}).encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Both)
    Thread(target=server.serve_forever).start()
    url = f"http://127.0.0.1:{server.server_port}"
    arguments = ["--training", str(training), "--site", "dev", "--key", "dev-server-key", "--clickhouse", url]
    try:
        assert main([*arguments, "--collector", url]) == 0
    finally:
        server.shutdown()
        server.server_close()
    assert posted
    assert {msgspec.convert(event, Verdict).human for event in posted} == {True, False}
    is_bot = dict(zip(told["session"], told["is_bot"], strict=True))
    assert sum(event["human"] == is_bot[event["session"]] for event in posted) <= len(posted) // 10
    assert capsys.readouterr().out.endswith(f"{len(posted)} verdicts accepted\n")
    assert len({event["id"] for event in posted}) == len(posted)


def test_example_says_in_a_sentence_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "training.parquet"
    arguments = ["--training", str(file), "--site", "dev", "--key", "k", "--clickhouse", "http://127.0.0.1:1"]
    said = []
    for frame in (None, pd.DataFrame({"site": ["dev"]}), pd.DataFrame({"is_bot": [True, False]})):
        if frame is not None:
            frame.to_parquet(file)
        assert main(arguments) == 1
        said.append(capsys.readouterr().err)
    assert said[0] == f"{file} is no Parquet file\n"
    assert said[1] == f"{file} needs a column is_bot that knows people and bots\n"
    assert said[2].startswith("no ClickHouse answers at http://127.0.0.1:1: ")
