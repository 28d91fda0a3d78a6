"""`python -m attacks.masking`: recall, precision and speed of the masker beside Presidio, on the same sentences."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from processors.masking.mask import KINDS, find, mask

from .corpus import Marked, Sentence, in_canonical_form, sentences
from .hostile import ANSWER_BYTES, UNITS, climb, filled, us_a_byte
from .scoring import Found, Scores, clopper_pearson, score

CHECKSUMMED = ("card", "iban", "national_id")
RECALL_MIN = {"card": 0.99, "iban": 0.99, "national_id": 0.99, "phone": 0.95}
PRECISION_MIN = dict.fromkeys(CHECKSUMMED, 0.95)
SHARED_KINDS = {
    "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IP_ADDRESS": "ip", "EMAIL_ADDRESS": "email", "US_SSN": "ssn",
    "IBAN_CODE": "iban", "US_DRIVER_LICENSE": "other",
}  # fmt: skip
CLEAN = "A brown beagle sits near an old tree, looking to the left..."

console = Console(width=170)


def shared_sentences() -> Iterator[Sentence]:
    """The sentences of presidio-research with the kinds that are compared; names and places are not asked for."""
    folder = os.environ.get("UNJOIN_DATASETS")
    if folder is None:
        console.print("UNJOIN_DATASETS is not set: without the shared sentences")
        return
    for entry in json.loads((Path(folder) / "free_text" / "generated_small.json").read_text()):
        yield Sentence(
            entry["full_text"],
            tuple(
                Marked(span["start_position"], span["end_position"], SHARED_KINDS[span["entity_type"]], "shared")
                for span in entry["spans"]
                if span["entity_type"] in SHARED_KINDS
            ),
        )


def _share(hits: int, tries: int) -> str:
    if tries == 0:
        return "–"
    low, high = clopper_pearson(hits, tries)
    return f"{hits / tries:.4f} [{low:.4f}, {high:.4f}]"


def compare(title: str, marked: list[Sentence], presidio: Callable[[str], list[Found]] | None) -> tuple[Scores, bool]:
    """Print one table; say whether every bar is met."""
    ours = score(track(marked, f"{title}: masker", console=console), find)
    theirs = score(track(marked, f"{title}: Presidio", console=console), presidio) if presidio else Scores()
    table = Table(
        "kind",
        "values",
        "recall",
        "named",
        "precision",
        "Presidio recall",
        "Presidio named",
        "Presidio precision",
        "bars",
        title=title,
    )
    met = True
    for kind in KINDS:
        own, other = ours.of(kind), theirs.of(kind)
        if own.values == 0:
            continue
        recall = own.found / own.values
        precision = own.right / own.findings if own.findings else 1.0
        good = recall >= RECALL_MIN.get(kind, 0) and precision >= PRECISION_MIN.get(kind, 0)
        good = good and own.found >= other.found and own.found >= other.named
        met = met and good
        table.add_row(
            kind, str(own.values), _share(own.found, own.values), f"{own.named / own.values:.4f}",
            _share(own.right, own.findings), _share(other.found, other.values),
            f"{other.named / other.values:.4f}" if other.values else "–", _share(other.right, other.findings),
            "met" if good else "MISSED",
        )  # fmt: skip
    console.print(table)
    return ours, met


def failures(title: str, scores: Scores, examples: int) -> None:
    table = Table(
        "kind",
        "category",
        "values",
        "wrong",
        "share",
        title=f"{title}: by category (look-alikes: masked though they should stay)",
    )
    for (kind, category), count in sorted(scores.seen.items()):
        wrong = scores.missed[kind, category]
        if wrong:
            table.add_row(kind, category, str(count), str(wrong), f"{wrong / count:.3f}")
    console.print(table)
    if scores.misnamed:
        names = Table("kind", "category", "called", "values", title=f"{title}: masked under another name")
        for (kind, category, called), count in sorted(scores.misnamed.items()):
            names.add_row(kind, category, called, str(count))
        console.print(names)
    for (kind, category), texts in sorted(scores.examples.items()):
        for text in texts[:examples]:
            console.print(f"{kind} / {category}: {text!r} -> {mask(text)!r}", markup=False, highlight=False)


def speed(marked: list[Sentence]) -> None:
    """Microseconds an answer: clean ones, and those of the corpus."""

    def best_us(answers: list[str], rounds: int) -> float:
        best = float("inf")
        for _ in range(rounds):
            start = time.perf_counter_ns()
            for answer in answers:
                mask(answer)
            best = min(best, (time.perf_counter_ns() - start) / 1000 / len(answers))
        return best

    table = Table("answer", "time", title="Speed")
    table.add_row(f"clean, {len(CLEAN)} characters", f"{best_us([CLEAN] * 2000, 7):.2f} µs")
    table.add_row(
        "clean, 60 characters of Cyrillic",
        f"{best_us(['Бурая собака сидит у старого дерева и смотрит налево, далеко'] * 2000, 7):.2f} µs",
    )
    table.add_row(
        "clean, with a year",
        f"{best_us(['A photo of the old town hall, taken in 1998 or later, I think'] * 2000, 7):.2f} µs",
    )
    table.add_row("corpus, mean", f"{best_us([sentence.text for sentence in marked], 3):.1f} µs")
    console.print(table)


def worst(seconds: float, seed: int, shown: int = 25) -> None:
    """Microseconds a byte of the worst shapes that are known, then of those that a search finds from there."""
    table = Table(
        "unit, repeated", "µs a byte", title=f"The masker at the door, answers of {ANSWER_BYTES:,} bytes, CPU"
    )
    for us, unit in sorted(((us_a_byte(filled(unit), 5), unit) for unit in UNITS), reverse=True)[:shown]:
        table.add_row(escape(repr(unit)), f"{us:.2f}")
    console.print(table)
    if seconds:
        found = Table("unit, repeated", "µs a byte", title=f"Found in {seconds:g} s, seed {seed}")
        for us, unit in climb(seconds, seed):
            found.add_row(escape(repr(unit)), f"{us:.2f}")
        console.print(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m attacks.masking", description=__doc__)
    parser.add_argument("--part", choices=("development", "held_out"), default="held_out")
    parser.add_argument("--per-kind", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--examples", type=int, default=0, help="failures to print, a category")
    parser.add_argument("--without-presidio", action="store_true")
    parser.add_argument("--without-speed", action="store_true")
    parser.add_argument("--raw", action="store_true", help="answers as they are typed, not in their canonical form")
    parser.add_argument("--worst", type=float, metavar="SECONDS", help="only the worst shapes; search so long for more")
    parser.add_argument("--names", action="store_true", help="only the finder of names (the extra `names`)")
    options = parser.parse_args()
    if options.worst is not None:
        worst(options.worst, options.seed)
        return 0
    if options.names:
        from .names import measure  # noqa: PLC0415 - an optional extra

        measure(console, options.per_kind // 5, options.seed)
        return 0
    form = (lambda sentence: sentence) if options.raw else in_canonical_form
    presidio = None
    if not options.without_presidio:
        from .presidio import Presidio  # noqa: PLC0415 - slow, and may not be installed

        presidio = Presidio().find
    marked = list(map(form, sentences(options.part, options.per_kind, options.seed)))
    scores, met = compare(f"generated, {options.part}", marked, presidio)
    failures(f"generated, {options.part}", scores, options.examples)
    shared = list(map(form, shared_sentences()))
    if shared:
        shared_scores, shared_met = compare("shared sentences", shared, presidio)
        failures("shared sentences", shared_scores, options.examples)
        met = met and shared_met
    if not options.without_speed:
        speed(marked)
    console.print("every bar is met" if met else "a bar is missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
