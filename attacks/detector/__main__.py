"""`python -m attacks.detector`: a bot detector's AUC before and after the SDK's reductions, by kind of bot."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_limits

from attacks.detector.features import features, told
from attacks.detector.plays import ANSWERS, Play, bots_of, recorded_plays, simulated_plays
from testkit.figures import drawn, write_csv

LOSS_MAX = 0.01
FOLDS = 5
RESAMPLES = 200
POINTS = 100

Floats = NDArray[np.float64]


class Compared(msgspec.Struct, frozen=True):
    """AUC of people against one kind of bot, or all.

    Attributes:
        before, after: of everything, and of what the SDK tells.
        loss: `before` less `after`.
        loss_lower, loss_upper: 99 % interval, by drawing groups again.
    """

    bot: str
    people: int
    bots: int
    before: float
    after: float
    loss: float
    loss_lower: float
    loss_upper: float


def compare(plays: Sequence[Play], seed: int, rounds: int = 150) -> tuple[list[Compared], dict[str, Floats]]:
    """Cross-validated by recording or session; also gives the points of both ROC curves of all bots."""
    is_bot = np.array([play.is_bot for play in plays])
    groups = np.unique([play.group for play in plays], return_inverse=True)[1]
    scores = {
        name: _scores(plays, is_bot, groups, is_reduced=is_reduced, seed=seed, rounds=rounds)
        for name, is_reduced in (("before", False), ("after", True))
    }
    kinds = np.array([play.kind for play in plays])
    compared = []
    for bot in [*dict.fromkeys(kinds[is_bot].tolist()), "all"]:
        chosen = ~is_bot | ((kinds == bot) if bot != "all" else is_bot)
        compared.append(
            _compared(bot, is_bot[chosen], groups[chosen], scores["before"][chosen], scores["after"][chosen], seed)
        )
    curves = {}
    for name, score in scores.items():
        false, true, _ = roc_curve(is_bot, score)
        shown = np.linspace(0, 1, POINTS)
        curves[name] = np.column_stack([shown, np.interp(shown, false, true)])
    return compared, curves


def _scores(
    plays: Sequence[Play],
    is_bot: NDArray[np.bool_],
    groups: NDArray[np.int64],
    *,
    is_reduced: bool,
    seed: int,
    rounds: int,
) -> Floats:
    rng = Random(seed)
    rows = np.array([features(*told(play, rng, is_reduced=is_reduced)) for play in plays])
    scores = np.zeros(len(plays))
    weights = np.where(is_bot, 1 / is_bot.sum(), 1 / (~is_bot).sum()) * len(plays) / 2
    for train, test in GroupKFold(FOLDS, shuffle=True, random_state=seed).split(rows, is_bot, groups):
        model = HistGradientBoostingClassifier(max_iter=rounds, learning_rate=0.08, random_state=seed)
        known = ~np.isnan(rows[train]).all(axis=0)
        model.fit(rows[train][:, known], is_bot[train], sample_weight=weights[train])
        scores[test] = model.predict_proba(rows[test][:, known])[:, 1]
    return scores


def _compared(
    bot: str, is_bot: NDArray[np.bool_], groups: NDArray[np.int64], before: Floats, after: Floats, seed: int
) -> Compared:
    rng = np.random.default_rng(seed)
    members = {group: np.flatnonzero(groups == group) for group in np.unique(groups).tolist()}
    losses = []
    for _ in range(RESAMPLES):
        drawn_groups = rng.choice(list(members), len(members))
        index = np.concatenate([members[group] for group in drawn_groups.tolist()])
        if 0 < is_bot[index].sum() < len(index):
            losses.append(roc_auc_score(is_bot[index], before[index]) - roc_auc_score(is_bot[index], after[index]))
    values = [float(roc_auc_score(is_bot, score)) for score in (before, after)]
    lower, upper = np.quantile(losses, (0.005, 0.995))
    return Compared(
        bot,
        int((~is_bot).sum()),
        int(is_bot.sum()),
        values[0],
        values[1],
        values[0] - values[1],
        float(lower),
        float(upper),
    )


def main(arguments: Sequence[str]) -> int:
    """Prints the table; 0 where the detector loses at most a hundredth on every kind, else 1."""
    parser = argparse.ArgumentParser(prog="python -m attacks.detector", description=__doc__)
    parser.add_argument("--simulated", type=int, default=300, help="people of the simulator, beside the recorded ones")
    parser.add_argument("--answers", type=int, default=ANSWERS, help="of a session")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write detector.csv, detector_roc.csv and detector.svg there"
    )
    options = parser.parse_args(arguments)
    console = Console(width=140)
    rng = Random(options.seed)
    people = simulated_plays(options.simulated, rng, options.answers)
    if "UNJOIN_DATASETS" in os.environ:
        people += recorded_plays(Path(os.environ["UNJOIN_DATASETS"]) / "mouse", rng, options.answers)
    else:
        console.print("UNJOIN_DATASETS is not set: without recorded people")
    with threadpool_limits(1):  # small trees wait longer for each other's threads than they take alone
        compared, curves = compare([*people, *bots_of(people, rng)], options.seed)
    table = Table("bot", "people", "bots", "AUC before", "AUC after", "loss", "99 % interval of the loss")
    for one in compared:
        table.add_row(
            one.bot, str(one.people), str(one.bots), f"{one.before:.4f}", f"{one.after:.4f}", f"{one.loss:+.4f}",
            f"{one.loss_lower:+.4f} to {one.loss_upper:+.4f}",
        )  # fmt: skip
    console.print(table)
    if options.out is not None:
        _write(options.out, compared, curves)
    return 0 if all(one.loss <= LOSS_MAX for one in compared) else 1


def _write(folder: Path, compared: Sequence[Compared], curves: dict[str, Floats]) -> None:
    rows = [msgspec.structs.asdict(one) for one in compared]
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "detector.csv", rows)
    points = [
        {"side": name, "people_taken_for_bots": round(x, 4), "bots_found": round(y, 4)}
        for name, curve in curves.items()
        for x, y in curve.tolist()
    ]
    write_csv(folder / "detector_roc.csv", points)
    with drawn(folder / "detector.svg", size=(5, 4)) as (_, (axes,)):
        for name, curve in curves.items():
            axes.plot(curve[:, 0], curve[:, 1], label=f"{name} the reductions")
        axes.set(xlabel="people taken for bots", ylabel="bots found", xlim=(0, 1), ylim=(0, 1.01))
        axes.legend()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
