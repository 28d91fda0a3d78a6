"""`python -m examples.verdicts`: judges sessions by a model, and posts a verdict where it is sure.

An example, not a product. A bot that is taken for a person costs some labels; a person taken for a bot loses all of a
day's answers, and nobody tells them. Measure on your own sessions before you post anything.

    session_features of whoever was there lately ─▶ scores ─▶ POST /v1/events: {"type": "verdict", …, "human": false}

A verdict has to come before the labels leave, within `UNJOIN_CROWD_WAIT_MINUTES`: call it every few minutes.
"""

import argparse
import io
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from examples.verdicts.model import Floats, fitted, lacking, scores_of

BATCH = 500


class ExampleError(Exception):
    """It cannot go on; the text says why, in one sentence."""


def main(arguments: Sequence[str]) -> int:
    """Judges and posts; 0 where the collector accepted every verdict."""
    parser = argparse.ArgumentParser(prog="python -m examples.verdicts", description="An example, not a product.")
    parser.add_argument("--training", type=Path, required=True, help="Parquet of features and a column `is_bot`")
    parser.add_argument("--site", required=True, help="only its sessions: a key judges those of its own site")
    parser.add_argument("--key", required=True, help="the site's server key")
    parser.add_argument("--minutes", type=int, default=60, help="sessions that sent signals in so many minutes")
    parser.add_argument("--clickhouse", default="http://127.0.0.1:8123")
    parser.add_argument("--collector", default="http://127.0.0.1:8080")
    parser.add_argument("--bot-above", type=float, default=0.95, help="score from which a session is a bot's")
    parser.add_argument("--human-below", type=float, default=0.05, help="score under which it is a person's")
    options = parser.parse_args(arguments)
    try:
        if missing := lacking("sklearn"):
            raise ExampleError(f"the example needs {missing}")
        training = _training(options.training)
        features = features_of(options.clickhouse, options.site, options.minutes)
        scores = (
            scores_of(fitted(training, training["is_bot"].to_numpy(bool)), features) if len(features) else np.zeros(0)
        )
        verdicts = verdicts_of(features["session"], scores, options.human_below, options.bot_above)
        accepted = sum(
            post(options.collector, options.key, verdicts[at : at + BATCH]) for at in range(0, len(verdicts), BATCH)
        )
    except ExampleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    bots = sum(not verdict["human"] for verdict in verdicts)
    sys.stdout.write(
        f"{len(features)} sessions: {bots} bots, {len(verdicts) - bots} people, {len(features) - len(verdicts)} unsure;"
        f" {accepted} verdicts accepted\n"
    )
    return 0 if accepted == len(verdicts) else 1


def verdicts_of(sessions: pd.Series, scores: Floats, human_below: float, bot_above: float) -> list[dict[str, Any]]:
    """An event for each session whose score is sure; its id is made of the session, so that a second run repeats it."""
    return [
        {
            "id": uuid.uuid5(uuid.NAMESPACE_OID, session).hex,
            "type": "verdict",
            "session": session,
            "human": bool(score < human_below),
        }
        for session, score in zip(sessions, scores, strict=True)
        if score < human_below or score > bot_above
    ]


def _training(path: Path) -> pd.DataFrame:
    try:
        training = pd.read_parquet(path)
    except (OSError, ValueError):
        raise ExampleError(f"{path} is no Parquet file") from None
    if "is_bot" not in training or training["is_bot"].nunique() != 2:
        raise ExampleError(f"{path} needs a column is_bot that knows people and bots")
    return training


def features_of(clickhouse: str, site: str, minutes: int) -> pd.DataFrame:
    """Of the sessions that sent signals lately, a row each."""
    # The view computes what it is asked for: by site and session it reads these sessions alone.
    query = (
        "SELECT * FROM session_features WHERE site = {site:String} AND session IN (SELECT session FROM signals "
        "WHERE site = {site:String} AND received_at > now() - toIntervalMinute({minutes:UInt32}))"
    )
    asked = {
        "query": query,
        "param_site": site,
        "param_minutes": minutes,
        "database": "unjoin",
        "default_format": "Parquet",
    }
    url = f"{clickhouse}/?{urllib.parse.urlencode(asked)}"
    try:
        with urllib.request.urlopen(url, timeout=300) as answer:
            return pd.read_parquet(io.BytesIO(answer.read()))
    except urllib.error.HTTPError as error:
        raise ExampleError(f"ClickHouse refused: {error.read(500).decode(errors='replace')}") from None
    except (OSError, ValueError) as error:
        raise ExampleError(f"no ClickHouse answers at {clickhouse}: {error}") from None


def post(collector: str, key: str, verdicts: Sequence[dict[str, Any]]) -> int:
    """Sends verdicts; gives how many the collector accepted."""
    now_ms = time.time_ns() // 1_000_000
    body = {"sent_at": now_ms, "session": "verdicts", "events": [{**verdict, "ts": now_ms} for verdict in verdicts]}
    request = urllib.request.Request(
        f"{collector}/v1/events",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["accepted"])
    except urllib.error.HTTPError as error:
        raise ExampleError(f"the collector refused: {error.code} {error.read(500).decode(errors='replace')}") from None
    except (OSError, ValueError, KeyError) as error:
        raise ExampleError(f"no collector answers at {collector}: {error}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
