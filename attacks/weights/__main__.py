"""`python -m attacks.weights`: what a weight on each label would give a consensus, and what it would give away."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from attacks.linkage.crowd_shares import Given, answers_of
from attacks.weights.classifiers import Attacked, attacked, fields_of, recorded, votes_of
from attacks.weights.figure import draw
from attacks.weights.frontier import FAILING_MAX, GOLD_SHARE, LEVELS, Arrival, Figure, frontier
from attacks.weights.logs import day_of, with_levels, without_failing
from attacks.weights.quality import Source
from attacks.weights.rules import Rule
from attacks.weights.votes import truth_of
from schemas.outcomes import UnjoinError
from testkit.door_config import crowd_rule
from testkit.figures import write_csv

NOBODY_KNOWS = "none, right answers not known"
DATA_SETS = ("product", "bluebirds")
HOURS, TARGET = 4.0, 200
CLASSIFIERS_TARGET = {"product": 100, "bluebirds": 35}
LOGS_TARGET, LOGS_SESSIONS_AN_HOUR = 40, 1_000
QUALITIES = np.array([0.25, 0.75])  # shares of bad and of good sessions


class NoData(UnjoinError):
    """The data sets are not there."""


def main(arguments: Sequence[str]) -> int:
    """Prints a table a question; with `--out`, writes the figures there."""
    parser = argparse.ArgumentParser(prog="python -m attacks.weights", description=__doc__)
    parser.add_argument("--only", choices=["frontier", "classifiers", "logs"])
    parser.add_argument("--runs", type=int, default=10, help="orders of arrival, gold tasks and noise drawn anew")
    parser.add_argument("--gold", type=float, default=GOLD_SHARE, help="share of the tasks that are gold")
    parser.add_argument("--hours", type=float, default=2.0, help="of the day whose logs are attacked")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the frontier there, as CSV and SVG")
    options = parser.parse_args(arguments)
    console = Console(width=170)
    with threadpool_limits(1):
        if options.only in (None, "frontier"):
            _frontier(options, console)
        if options.only in (None, "classifiers"):
            _classifiers(options, console)
        if options.only in (None, "logs"):
            _logs(options, console)
    return 0


def _data(name: str) -> tuple[list[Given], dict[str, str]]:
    folder = Path(os.environ.get("UNJOIN_DATASETS", "")) / "crowd_labels"
    try:
        return answers_of(folder / f"{name}_answers.csv"), truth_of(folder / f"{name}_truth.csv")
    except OSError as error:
        raise NoData(f"UNJOIN_DATASETS names no folder with crowd_labels/{name}_answers.csv and _truth.csv") from error


def _frontier(options: argparse.Namespace, console: Console) -> None:
    found: dict[str, list[Figure]] = {}
    arrival = Arrival(crowd_rule(20, crowd_target=TARGET), HOURS)
    for name in DATA_SETS:
        given, truth = _data(name)
        found[name] = frontier(
            given, truth, arrival, runs=options.runs, seed=options.seed, gold_share=options.gold,
            say=lambda text: print(text, file=sys.stderr),
        )  # fmt: skip
        _print_frontier(name, found[name], console)
    if options.out is not None:
        write_csv(options.out / "weights.csv", [_row(name, one) for name, figures in found.items() for one in figures])
        draw(found, options.out / "weights.svg")


def _row(name: str, one: Figure) -> dict[str, object]:
    """A line of the table that git keeps; shares and points as fractions."""
    assert one.bare is not None
    values = {
        "right": one.accuracy, "gain": one.gain, "low": one.low, "high": one.high, "at_rest": one.gains[0],
        "watcher": one.gains[1], "pairs": one.gains[2], "a_level": one.bare.worst, "missing": one.missing[0],
        "owner_of_missing": one.missing[1], "largest_share": one.bare.watcher_share,
    }  # fmt: skip
    words: dict[str, object] = {"data": name, "source": one.source, "rule": one.name}
    return words | {column: f"{value + 0.0:.4f}" for column, value in values.items()}


def _print_frontier(name: str, figures: Sequence[Figure], console: Console) -> None:
    table = Table(
        "source", "rule", "right", "gain (95 %)", "at rest", "watcher", "a level", "pairs", "missing", "owner", "",
        title=f"{name}: consensus, and what each attack gains by the rule",
    )  # fmt: skip
    for one in figures:
        assert one.bare is not None
        table.add_row(
            one.source, one.name, f"{one.accuracy:.1%}", f"{one.gain:+.2%} ({one.low:+.2%} to {one.high:+.2%})",
            *(f"{gain:+.2%}" for gain in one.gains[:2]), f"{one.bare.worst:+.1%}", f"{one.gains[2]:+.3f}",
            *(f"{share:.1%}" if one.missing[0] else "" for share in one.missing[:2]),
            " ".join(["safe"] * one.is_safe + ["useful"] * one.is_useful),
        )  # fmt: skip
    console.print(table)


def _rules_of_interest() -> dict[str, Rule | None]:
    two = Rule(source=Source.GOLD, cuts=LEVELS[2])
    failing = Rule(source=Source.GOLD, cuts=(0.7,), suppressed=1.0, failing_max=FAILING_MAX)
    return {
        "none": None,
        NOBODY_KNOWS: None,
        "4 levels": Rule(source=Source.GOLD, cuts=LEVELS[4]),
        "2 levels": two,
        "2 levels, epsilon 1": msgspec.structs.replace(two, epsilon=1.0),
        "2 levels, epsilon 0.25": msgspec.structs.replace(two, epsilon=0.25),
        failing.name: failing,
    }


def _classifiers(options: argparse.Namespace, console: Console) -> None:
    for name in DATA_SETS:
        given, truth = _data(name)
        recording = recorded(given, Random(options.seed), CLASSIFIERS_TARGET[name])
        votes = votes_of(recording, given, truth)
        table = Table("rule", "labels", "at rest", "share", "watcher", "share", "pairs", title=f"{name}: classifiers")
        for words, rule in _rules_of_interest().items():
            fields = fields_of(votes, rule, options.gold, np.random.default_rng(options.seed))
            if words == NOBODY_KNOWS:
                fields = dict.fromkeys(fields, (0.0, 0.0))
            found: Attacked = attacked(recording, fields, options.seed)
            table.add_row(
                words, f"{len(fields):,}", f"{found.rest.value:.2%} (to {found.rest.upper:.2%})",
                f"{found.rest_share:.2%}", f"{found.watcher.value:.2%} (to {found.watcher.upper:.2%})",
                f"{found.watcher_share:.2%}", f"{found.pairs:.3f}",
            )  # fmt: skip
        console.print(table)


def _logs(options: argparse.Namespace, console: Console) -> None:
    day = day_of(options.seed, hours=options.hours, sessions_an_hour=LOGS_SESSIONS_AN_HOUR, crowd_target=LOGS_TARGET)
    table = Table("rule", "attack", "tries", "success", "99 % interval", "bar", title=day.source)
    for words, odds in (
        ("2 levels", np.eye(2)),
        ("2 levels, epsilon 1", _noisy(1.0)),
        ("2 levels, epsilon 0.25", _noisy(0.25)),
    ):
        attacker = with_levels(day, odds, QUALITIES, np.random.default_rng(options.seed))
        outcomes = [attacker.by_everything(sees_level=sees) for sees in (False, True)]
        for outcome in outcomes:
            found = outcome.found
            table.add_row(
                words, outcome.attack, f"{found.tries:,}", f"{found.value:.1%}",
                f"{found.lower:.1%} to {found.upper:.1%}", f"{outcome.bar:.1%}",
            )  # fmt: skip
    failing = without_failing(day, float(QUALITIES[0]), np.random.default_rng(options.seed))
    for sees in (False, True):
        outcome = failing.by_everything(sees_level=sees)
        found = outcome.found
        table.add_row(
            f"{QUALITIES[0]:.0%} of sessions suppressed", "everything, and who failed" if sees else "everything",
            f"{found.tries:,}", f"{found.value:.1%}", f"{found.lower:.1%} to {found.upper:.1%}", f"{outcome.bar:.1%}",
        )  # fmt: skip
    console.print(table)


def _noisy(epsilon: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    true = float(np.exp(epsilon) / (1 + np.exp(epsilon)))
    return np.array([[true, 1 - true], [1 - true, true]])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UnjoinError as error:
        sys.exit(f"attacks.weights: {error}")
