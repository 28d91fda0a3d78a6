"""`python -m attacks.detector.baseline`: how well the example's model tells bots by `session_features`.

People and bots go into the embedded engine as a client sends them, whole or as the SDK tells it, and come back as
features; the model never judges a recording, or a person, that it has learned from.
"""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from attacks.detector.plays import ANSWERS, Play, bots_of, recorded_plays, simulated_plays
from attacks.detector.rows import rows_of
from examples.verdicts.model import Floats, fitted, lacking, scores_of
from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import NOW_MS, signals

FOLDS, RESAMPLES, POINTS = 5, 500, 100
CLIENTS = {"whole paths": False, "the SDK": True}
ROWS_AN_INSERT = 20_000


class Judged(msgspec.Struct, frozen=True):
    """How people are told from one kind of bot, or all.

    Attributes:
        client: what sent the signals.
        folds: what no fold cuts through.
        lower, upper: 95 % interval of the area under the curve, by drawing groups again.
        found: share of bots over the score that 5 % of people are over.
    """

    client: str
    folds: str
    bot: str
    people: int
    bots: int
    auc: float
    lower: float
    upper: float
    found: float


def features_of(engine: Embedded, plays: Sequence[Play], rng: Random, *, is_reduced: bool) -> pd.DataFrame:
    """A row a session that sent any signal: the view's columns, and `kind`, `group`, `person`, `is_bot`."""
    engine.select("TRUNCATE TABLE unjoin.signals", "Null")
    rows = [
        row
        for number, play in enumerate(plays)
        for row in rows_of(play, f"s-{number}", rng, NOW_MS, is_reduced=is_reduced)
    ]
    for first in range(0, len(rows), ROWS_AN_INSERT):
        engine.insert(signals(rows[first : first + ROWS_AN_INSERT]))
    told = pd.read_parquet(io.BytesIO(engine.select("SELECT * FROM unjoin.session_features", "Parquet")))
    of = [plays[int(session.removeprefix("s-"))] for session in told["session"]]
    return told.assign(
        kind=[play.kind for play in of],
        group=[play.group for play in of],
        person=[play.group.partition("_")[0] for play in of],
        is_bot=[play.is_bot for play in of],
    )


def judged(
    features: pd.DataFrame, client: str, folds: str, seed: int, resamples: int = RESAMPLES
) -> tuple[list[Judged], Floats]:
    """Cross-validated by the column `folds`; also gives the points of the ROC curve of all bots."""
    from sklearn.metrics import roc_auc_score, roc_curve  # noqa: PLC0415
    from sklearn.model_selection import GroupKFold  # noqa: PLC0415

    is_bot, groups = features["is_bot"].to_numpy(bool), features[folds].to_numpy(str)
    scores = np.zeros(len(features))
    splitter = GroupKFold(min(FOLDS, len(set(groups))), shuffle=True, random_state=seed)
    for train, test in splitter.split(features, is_bot, groups):
        scores[test] = scores_of(fitted(features.iloc[train], is_bot[train], seed), features.iloc[test])
    kinds = features["kind"].to_numpy(str)
    found = []
    for bot in [*dict.fromkeys(kinds[is_bot].tolist()), "all"]:
        chosen = ~is_bot | (is_bot if bot == "all" else kinds == bot)
        drawn_again = _intervals(
            is_bot[chosen], scores[chosen], features["group"].to_numpy(str)[chosen], seed, resamples
        )
        people, bots = scores[chosen & ~is_bot], scores[chosen & is_bot]
        share = float(np.mean(bots > np.quantile(people, 0.95)))
        auc = float(roc_auc_score(is_bot[chosen], scores[chosen]))
        found.append(Judged(client, folds, bot, len(people), len(bots), auc, *drawn_again, share))
    false, true, _ = roc_curve(is_bot, scores)
    shown = np.linspace(0, 1, POINTS)
    return found, np.column_stack([shown, np.interp(shown, false, true)])


def _intervals(
    is_bot: NDArray[np.bool_], scores: Floats, groups: NDArray[np.str_], seed: int, resamples: int
) -> tuple[float, float]:
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    areas = []
    for _ in range(resamples):
        index = np.concatenate([members[group] for group in rng.choice(len(members), len(members))])
        if 0 < is_bot[index].sum() < len(index):
            areas.append(roc_auc_score(is_bot[index], scores[index]))
    lower, upper = np.quantile(areas, (0.025, 0.975))
    return float(lower), float(upper)


def main(arguments: Sequence[str]) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m attacks.detector.baseline", description=__doc__)
    parser.add_argument("--simulated", type=int, default=0, help="people of the simulator, beside the recorded ones")
    parser.add_argument("--answers", type=int, default=ANSWERS, help="of a session")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write baseline.csv and baseline.svg there")
    parser.add_argument("--training", type=Path, metavar="FILE", help="write features and `is_bot` there, as Parquet")
    options = parser.parse_args(arguments)
    if missing := lacking("sklearn", "matplotlib"):
        sys.stderr.write(f"python -m attacks.detector.baseline needs {missing}\n")
        return 1
    rng, console = Random(options.seed), Console(width=140)
    people = simulated_plays(options.simulated, rng, options.answers)
    if "UNJOIN_DATASETS" in os.environ:
        people += recorded_plays(Path(os.environ["UNJOIN_DATASETS"]) / "mouse", rng, options.answers)
    if not people:
        console.print("neither recorded people, for UNJOIN_DATASETS is not set, nor --simulated ones")
        return 1
    plays = [*people, *bots_of(people, rng)]
    found: list[Judged] = []
    curves: dict[str, Floats] = {}
    frames = []
    with tempfile.TemporaryDirectory(prefix="unjoin-baseline-") as folder, closing(Embedded(Path(folder))) as engine:
        engine.migrate()
        for client, is_reduced in CLIENTS.items():
            frames.append(features_of(engine, plays, rng, is_reduced=is_reduced))
            for folds in ("group", "person"):
                each, curve = judged(frames[-1], client, folds, options.seed)
                found += each
                curves.setdefault(client, curve)
    table = Table("client", "no fold cuts a", "bot", "people", "bots", "AUC", "95 % interval", "found at 5 % of people")
    for one in found:
        table.add_row(
            one.client, "recording" if one.folds == "group" else "person", one.bot, str(one.people), str(one.bots),
            f"{one.auc:.3f}", f"{one.lower:.3f} to {one.upper:.3f}", f"{one.found:.0%}",
        )  # fmt: skip
    console.print(table)
    silent = sum(not any(turn.way or turn.strokes for turn in play.turns) for play in plays)
    console.print(f"{silent} bots that send labels alone have no row, and are told by that", highlight=False)
    if options.out is not None:
        _write(options.out, found, curves)
    if options.training is not None:
        pd.concat(frames).drop(columns=["kind", "group", "person"]).to_parquet(options.training)
    return 0


def _write(folder: Path, found: Sequence[Judged], curves: dict[str, Floats]) -> None:
    from testkit.figures import drawn, write_csv  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "baseline.csv", [msgspec.structs.asdict(one) for one in found])
    with drawn(folder / "baseline.svg", size=(5, 4)) as (_, (axes,)):
        for client, curve in curves.items():
            axes.plot(curve[:, 0], curve[:, 1], label=client)
        axes.plot([0, 1], [0, 1], color="#8d99ae", linestyle=":", label="guessing")
        axes.set(xlabel="people taken for bots", ylabel="bots found", xlim=(0, 1), ylim=(0, 1.01))
        axes.legend()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
