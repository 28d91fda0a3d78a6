"""`python -m attacks.stylometry`: does the way in which somebody writes name them, over several days?

Each worker has habits that last: which quotes, how many blanks, composed letters or not, capitals, how it ends, a word
they like. The attacker is told who wrote the answers of the first days, and guesses the writer of each answer of
a later one, by the raw text and by the text as `labels` holds it. Habits of words survive, habits of bytes do not.
"""

import argparse
import sys
import unicodedata
from collections.abc import Callable, Sequence
from random import Random

import msgspec
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from attacks.linkage.bounds import Share, share
from processors.masking.canonical import canonical

WORKERS, DAYS, ANSWERS = 100, 4, 12
CONFIDENCE = 0.995  # of each side, for an interval of 99 %
SUBJECTS = ("the café owner", "a naïve boy", "the old señor", "a woman", "the crêpe cook", "my neighbour", "two men")
VERBS = ("says", "asks", "reads", "writes", "sings", "repeats", "whispers")
QUOTED = ("come in", "it is late", "no more", "where to", "that is fine", "wait for me", "not today")
PLACES = ("at the door", "in the street", "by the river", "behind the school", "on the train", "near the wall")
FAVOURITES = ("really", "maybe", "again", "just", "clearly", "slowly", "then", "there", "now", "also", "", "", "", "")
QUOTES = (("“", "”"), ('"', '"'), ("«", "»"), ("„", "“"), ("‘", "’"), ("'", "'"))


class Habit(msgspec.Struct, frozen=True):
    """How one worker writes, on every day.

    Attributes:
        keeps: how often the habit is kept, 0 to 1.
        hidden: a character that a keyboard or a site leaves in, or none.
    """

    keeps: float
    quotes: tuple[str, str]
    is_decomposed: bool
    capital: str
    end: str
    hidden: str
    blank: str
    favourite: str


class Written(msgspec.Struct, frozen=True):
    """One answer."""

    worker: int
    day: int
    text: str


class Figure(msgspec.Struct, frozen=True):
    """How many writers of the last day's answers were named right."""

    text: str
    found: Share


def answers_of(rng: Random, *, workers: int = WORKERS, days: int = DAYS, answers: int = ANSWERS) -> list[Written]:
    """What `workers` write on `days` days, `answers` a day each."""
    habits = [_habit(rng) for _ in range(workers)]
    return [
        Written(worker, day, _with_habit(rng, _content(rng, habit), habit))
        for day in range(days)
        for worker, habit in enumerate(habits)
        for _ in range(answers)
    ]


def figures(written: Sequence[Written]) -> list[Figure]:
    """By the raw text, and by the text that is stored."""
    last = max(one.day for one in written)
    forms: list[tuple[str, Callable[[str], str]]] = [("as typed", str), ("as stored", canonical)]
    found = []
    for name, form in forms:
        train = [one for one in written if one.day < last]
        test = [one for one in written if one.day == last]
        model = make_pipeline(
            TfidfVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False, sublinear_tf=True, preprocessor=str),
            ComplementNB(alpha=0.1),
        )
        model.fit([form(one.text) for one in train], [one.worker for one in train])
        guesses = model.predict([form(one.text) for one in test]).tolist()
        right = sum(guess == one.worker for guess, one in zip(guesses, test, strict=True))
        found.append(Figure(name, share(right, len(test), CONFIDENCE)))
    return found


def _habit(rng: Random) -> Habit:
    return Habit(
        keeps=rng.uniform(0.5, 0.95),
        quotes=rng.choice(QUOTES),
        is_decomposed=rng.random() < 0.15,
        capital=rng.choice(("no", "no", "first", "every", "shout") if rng.random() < 0.5 else ("no", "first")),
        end=rng.choice(("", "", "", ".", "!", " .", "...")),
        hidden=rng.choice(("", "", "", "", "\u200b", "\u00ad", "\u2060")),
        blank=rng.choice((" ", " ", " ", "  ", "\u00a0", "\t")),
        favourite=rng.choice(FAVOURITES),
    )


def _content(rng: Random, habit: Habit) -> str:
    text = f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} <{rng.choice(QUOTED)}> {rng.choice(PLACES)}"
    return f"{text} {habit.favourite}".strip() if rng.random() < 0.3 * habit.keeps else text


def _with_habit(rng: Random, text: str, habit: Habit) -> str:
    def kept() -> bool:
        return rng.random() < habit.keeps

    opening, closing = habit.quotes if kept() else ('"', '"')
    text = text.replace("<", opening).replace(">", closing)
    if habit.capital != "no" and kept():
        text = {"first": text[:1].upper() + text[1:], "every": text.title(), "shout": text.upper()}[habit.capital]
    if kept():
        text = text.replace(" ", habit.blank, rng.randint(1, 3))
    if habit.hidden and kept():
        place = rng.randrange(len(text))
        text = text[:place] + habit.hidden + text[place:]
    if kept():
        text += habit.end
    return unicodedata.normalize("NFD", text) if habit.is_decomposed and kept() else text


def main(arguments: Sequence[str]) -> int:
    """Prints both figures."""
    parser = argparse.ArgumentParser(prog="python -m attacks.stylometry", description=__doc__)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--days", type=int, default=DAYS, help="the last one is guessed, the others are told")
    parser.add_argument("--answers", type=int, default=ANSWERS, help="of a worker on a day")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    written = answers_of(Random(options.seed), workers=options.workers, days=options.days, answers=options.answers)
    table = Table("text", "tries", "writer named", "99 % interval", "chance")
    with threadpool_limits(1):
        for one in figures(written):
            found = one.found
            table.add_row(
                one.text, f"{found.tries:,}", f"{found.value:.1%}", f"{found.lower:.1%} to {found.upper:.1%}",
                f"{1 / options.workers:.1%}",
            )  # fmt: skip
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
