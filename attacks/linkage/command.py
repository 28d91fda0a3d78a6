"""`unjoin attack`: records a day through the pipeline, or takes one that was recorded, and tries to join it back.

Everything else of this package is imported late: it needs the `bench` extra, and who lacks it is told so.
"""
# ruff: noqa: PLC0415

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from schemas.outcomes import UnjoinError

if TYPE_CHECKING:
    from attacks.linkage.crowd_shares import CrowdsOfAnswers
    from attacks.linkage.recording import Recording
    from attacks.linkage.report import Findings, Pairs

NEEDED = ("sklearn", "scipy", "matplotlib")
CLOSING_ANSWERS = 4
KS = (2, 3, 5, 20)
TARGETS = (20, 200)
LIMIT_ANSWERS, LIMIT_TASKS = 12_000, 6_000


class AttackError(UnjoinError):
    """The attacks cannot be run; the text says what to do."""


def run_attack(arguments: Sequence[str]) -> int:
    """Runs the attacks and prints what they found; 0 where every bar is held, 1 where one is not.

    Raises:
        UnjoinError: they could not be run.
    """
    options = _parser().parse_args(arguments)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise AttackError(f"the attacks need {', '.join(missing)}: scripts/setup test")
    from attacks.linkage.report import draw, print_findings, write_json
    from unjoin.output import say

    with _progress(Console(stderr=True)) as progress:
        findings = _findings(options, progress)
    print_findings(findings)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(findings, options.out / "linkage.json")
        draw(findings.report, options.out / "linkage.svg")
        say(f"written: {options.out / 'linkage.json'}, {options.out / 'linkage.svg'}")
    return 0 if findings.report.holds else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="unjoin attack", description="Tries to join labels back to their sessions.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--recording", type=Path, help="attack this recorded day instead of recording one")
    source.add_argument("--in-process", action="store_true", help="without Kafka and ClickHouse: the pure code alone")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the recorded day")
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument(
        "--crowd-target", type=int, default=20, help="sessions with which a crowd leaves; of fewer none does"
    )
    parser.add_argument("--answers", type=int, default=44_000, help="of the day; half of them are told to the attacker")
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=200_000, help='of labels, for "same session?"')
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-limits", action="store_true", help="do not measure what the pipeline cannot hide")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write linkage.json and linkage.svg there")
    return parser


def _findings(options: argparse.Namespace, progress: Progress) -> "Findings":
    from attacks.linkage.evaluation import evaluate
    from attacks.linkage.limits import measured_limits
    from attacks.linkage.report import Findings

    recording = _recording(options, progress)
    task = progress.add_task("attacking", total=None)
    report = evaluate(
        recording, options.seed, pairs=options.pairs, say=lambda text: progress.update(task, description=text)
    )
    limits = []
    if not options.no_limits:
        progress.update(task, description="limits")
        limits = measured_limits(options.seed, sessions=options.sessions, answers=LIMIT_ANSWERS, tasks=LIMIT_TASKS)
    progress.update(task, description="crowds of real answers")
    findings = Findings(report, limits, *_real_answers(options.seed))
    progress.remove_task(task)
    return findings


def _recording(options: argparse.Namespace, progress: Progress) -> "Recording":
    from attacks.linkage.in_process import record_in_process
    from attacks.linkage.recording import load, save
    from attacks.linkage.traffic import closing_posts, day_of_posts

    if options.recording is not None:
        try:
            return load(options.recording)
        except (OSError, EOFError, msgspec.DecodeError):
            raise AttackError(f"{options.recording} is not a recorded day") from None
    rng = Random(options.seed)
    posts = day_of_posts(rng, sessions=options.sessions, answers=options.answers, tasks=options.tasks)
    posts += closing_posts(2 * options.crowd_target, CLOSING_ANSWERS)
    if options.in_process:
        recording = record_in_process(posts, rng, crowd_target=options.crowd_target)
    else:
        from attacks.linkage.record import record

        recording = record(posts, progress, crowd_target=options.crowd_target)
    if options.save is not None:
        save(recording, options.save)
    return recording


def _real_answers(seed: int) -> "tuple[dict[str, list[CrowdsOfAnswers]], dict[str, list[Pairs]]]":
    """Crowds and rare pairs of the data sets, where `UNJOIN_DATASETS` names their folder."""
    from attacks.linkage.crowd_shares import answers_of, crowds_of_answers, orders_of, pairs_below
    from attacks.linkage.report import Pairs
    from testkit.door_config import crowd_rule

    crowds: dict[str, list[CrowdsOfAnswers]] = {}
    pairs: dict[str, list[Pairs]] = {}
    folder = os.environ.get("UNJOIN_DATASETS", "")
    for name in ("product", "bluebirds") if folder else ():
        answers = answers_of(Path(folder) / "crowd_labels" / f"{name}_answers.csv")
        crowds[name] = [
            crowds_of_answers(ordered, f"{order}, target {target}", Random(seed), crowd_rule(20, crowd_target=target))
            for order, ordered in orders_of(answers, Random(seed)).items()
            for target in TARGETS
        ]
        pairs[name] = [Pairs(k, *pairs_below(answers, k)) for k in KS]
    return crowds, pairs


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
