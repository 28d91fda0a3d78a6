"""What the attacks found: a table for people, JSON for programs, a picture for the README."""

from pathlib import Path

import msgspec

from attacks.linkage.crowd_shares import CrowdsOfAnswers
from attacks.linkage.evaluation import CONTROL_MIN, MARGIN, TRIES_MIN, Report
from attacks.linkage.limits import Limit
from testkit.figures import drawn
from unjoin.output import print_table, say

INK, BEFORE, AFTER, CHANCE = "#24292f", "#c2410c", "#1d6fb8", "#8a929b"


class Pairs(msgspec.Struct, frozen=True):
    """How many (task, answer) pairs fewer than `k` voters gave."""

    k: int
    below: int
    pairs: int


class Findings(msgspec.Struct, frozen=True):
    """Everything that one call of the command found.

    Attributes:
        limits: empty where they were not measured; so are the next two, which need the data sets.
        answers: crowds of real answers, by data set.
        pairs: likewise.
    """

    report: Report
    limits: list[Limit] = []
    answers: dict[str, list[CrowdsOfAnswers]] = {}
    pairs: dict[str, list[Pairs]] = {}


def write_json(findings: Findings, file: Path) -> None:
    """Writes everything that was found."""
    body = msgspec.json.format(msgspec.json.encode(_rounded(msgspec.to_builtins(findings))), indent=2)
    file.write_bytes(body + b"\n")


def print_findings(findings: Findings) -> None:
    """Prints one table a question, and the verdict last."""
    report = findings.report
    _print_attacks(report)
    _print_crowds(findings)
    if findings.limits:
        _print_limits(findings.limits)
    if report.holds:
        say("Every attack succeeds before the door, and none does after it.", "bold green")
    else:
        say(f"{'; '.join(failures(report))}.", "bold red")


def failures(report: Report) -> list[str]:
    """What is wrong, a sentence each; empty where every bar is held."""
    found = [] if report.crowds.as_the_rule_says else ["the crowds that were released are not those of the rule"]
    tries = min(one.after.tries for one in report.results)
    if tries < TRIES_MIN:
        found.append(f"{tries:,} tries are too few: {TRIES_MIN:,} are asked for")
    for one in report.results:
        if not one.sees:
            found.append(f"{one.adversary}, {one.attack}: blind before the door, so it proves nothing")
        if not one.holds:
            found.append(f"{one.adversary}, {one.attack}: {one.after.upper:.2%} is above the bar of {one.bar:.2%}")
    if not report.pairs.sees:
        found.append("same session: blind before the door, so it proves nothing")
    if not report.pairs.holds:
        found.append(f"same session: an AUC of {report.pairs.after:.4f} is not 0.50 ± {MARGIN}")
    return found


def draw(report: Report, file: Path) -> None:
    """Attack success before and after the door, against chance, as SVG."""
    results = report.results
    labels = [*(f"{one.attack}  ({one.adversary})" for one in results), "same session?  (at rest)"]
    size = (9.0, 0.42 * len(labels) + 1.7)
    with drawn(file, size=size, style={"font.family": "sans-serif", "font.size": 10}) as (figure, (axes,)):
        for row, one in enumerate(results):
            axes.plot([one.after.value, one.before.value], [row, row], color="#e3e7eb", linewidth=3, zorder=1)
            axes.plot([one.chance] * 2, [row - 0.3, row + 0.3], color=CHANCE, linewidth=2, zorder=2)
            axes.text(
                max(one.after.value, one.chance) + 0.015,
                row - 0.2,
                f"{one.after.value:.1%}",
                color=AFTER,
                va="center",
                fontsize=8,
            )
        row = len(results)
        axes.plot([report.pairs.after, report.pairs.before], [row, row], color="#e3e7eb", linewidth=3, zorder=1)
        axes.plot([0.5, 0.5], [row - 0.3, row + 0.3], color=CHANCE, linewidth=2, zorder=2, label="chance")
        axes.text(
            report.pairs.after + 0.02, row - 0.2, f"{report.pairs.after:.3f}", color=AFTER, va="center", fontsize=8
        )
        rows = range(len(labels))
        before = [*(one.before.value for one in results), report.pairs.before]
        after = [*(one.after.value for one in results), report.pairs.after]
        axes.scatter(before, rows, color=BEFORE, s=46, zorder=3, label="before the door")
        axes.scatter(after, rows, color=AFTER, s=46, zorder=3, label="after the door")
        axes.set_yticks(list(rows), labels)
        axes.invert_yaxis()
        axes.set_xlim(-0.02, 1.04)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_xlabel("labels joined back to their session; for the last row, area under the curve", color=INK)
        axes.set_title(
            f"Linkage attacks on {report.labels:,} labels of {report.sessions} sessions", loc="left", color=INK
        )
        axes.tick_params(length=0, colors=INK)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)


def _print_attacks(report: Report) -> None:
    say(f"Linkage attacks on {report.labels:,} labels of {report.sessions} sessions: {report.source}", "bold")
    rows = []
    for one in report.results:
        row = (
            one.adversary,
            one.attack,
            f"{one.after.tries:,}",
            f"{one.before.value:.1%}",
            f"{one.after.value:.2%}",
            f"{one.after.upper:.2%}",
            f"{one.chance:.2%}",
            f"{one.bar:.2%}",
            _verdict(one.sees, one.holds),
        )
        rows.append(row)
    pairs = report.pairs
    row = (
        "at rest",
        "same session? (AUC)",
        f"{pairs.pairs:,}",
        f"{pairs.before:.3f}",
        f"{pairs.after:.4f}",
        "",
        "0.5",
        f"0.5 ± {MARGIN}",
        _verdict(pairs.sees, pairs.holds),
    )
    names = ("who", "attack", "tries", "before", "after", "99 % bound", "chance", "bar", "verdict")
    print_table(names, [*rows, row], right=(False, False, *(True,) * 6, False))
    say(f"before: the same attack on the stream before the door, which must reach {CONTROL_MIN:.0%}\n")


def _print_crowds(findings: Findings) -> None:
    crowds = findings.report.crowds
    say("Crowds", "bold")
    names = (
        *("answers", "crowds", "labels of a median one", "largest share, mean", "largest share, worst"),
        *("held", "suppressed", "majorities equal"),
    )
    day = (f"{crowds.crowds:,}", f"{crowds.labels[1]:,}", f"{crowds.share_mean:.1%}", f"{crowds.share_max:.1%}")
    rows = [("the day attacked", *day, "", "", "")]
    for name, orders in findings.answers.items():
        for one in orders:
            row = (
                f"{name}, {one.order}",
                f"{one.crowds:,}",
                f"{one.labels_median:,}",
                f"{one.share_mean:.1%}",
                f"{one.share_max:.1%}",
                f"{one.held:,}",
                f"{one.suppressed:,}",
                f"{one.majorities_equal:,} of {one.tasks:,}",
            )
            rows.append(row)
    print_table(names, rows, right=(False, *(True,) * 7))
    for name, pairs in findings.pairs.items():
        counted = ", ".join(f"fewer than {one.k} voters gave {one.below:,}" for one in pairs)
        say(f"{name}: of {pairs[0].pairs:,} (task, answer) pairs {counted}")
    say("")


def _print_limits(limits: list[Limit]) -> None:
    say("Limits: what a service gives away by how it hands out tasks", "bold")
    rows = [
        (one.practice, one.adversary, f"{one.found.tries:,}", f"{one.found.value:.1%}", f"{one.chance:.1%}")
        for one in limits
    ]
    print_table(("practice", "who", "tries", "success", "chance"), rows, right=(False, False, True, True, True))
    say("")


def _verdict(sees: bool, holds: bool) -> str:
    if not sees:
        return "blind"
    return "holds" if holds else "LEAKS"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
