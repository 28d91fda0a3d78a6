"""The tasks that simulated sessions answer, and the truth about each. Pure.

The truth is a function of the task's name alone, so that votes of many runs can be checked against one answer key.
"""

import zlib
from typing import NamedTuple

from unjoin.simulator.rng import Rng


class Theme(NamedTuple):
    """A family of tasks.

    Attributes:
        kind: the event type that answers it.
        answers: what its tasks can truly be.
    """

    kind: str
    answers: tuple[str, ...]


_VOICES = ("the grey horse", "our old neighbour", "a small boat", "the night train", "every second lamp", "my sister")
_DOINGS = ("waits outside", "turns left slowly", "was here yesterday", "sings in the rain", "never comes back", "stops")

THEMES: dict[str, Theme] = {
    "dogs": Theme("image_label", ("beagle", "boxer", "collie", "dachshund", "husky", "poodle", "terrier", "whippet")),
    "signs": Theme("image_label", ("stop", "yield", "no entry", "roundabout", "school", "one way")),
    "fruit": Theme("image_label", ("apple", "apricot", "fig", "lemon", "orange", "peach", "pear", "plum", "quince")),
    "reviews": Theme("text_answer", ("it praises the product", "it complains", "it asks a question", "it is neutral")),
    "clips": Theme("audio_transcript", tuple(f"{who} {does}" for who in _VOICES for does in _DOINGS)),
}
_OF_KIND = {
    kind: tuple(name for name, theme in THEMES.items() if theme.kind == kind)
    for kind in ("image_label", "audio_transcript", "text_answer")
}


def task_name(kind: str, number: int) -> str:
    """The task with this number among those that events of `kind` answer, such as `dogs-0017`."""
    names = _OF_KIND[kind]
    return f"{names[number % len(names)]}-{number // len(names):04d}"


def truth(task: str) -> str:
    """The right answer to a simulated task.

    Raises:
        KeyError: no theme of the simulation has such a task.
    """
    answers = THEMES[task.rpartition("-")[0]].answers
    return answers[zlib.crc32(task.encode()) % len(answers)]


def mistake(task: str, rng: Rng) -> str:
    """A wrong answer to a simulated task: another class, or a sentence with a word misheard."""
    theme = THEMES[task.rpartition("-")[0]]
    right = truth(task)
    if theme.kind == "audio_transcript":
        words = right.split(" ")
        words[int(rng.random() * len(words))] = ("um", "some", "three", "left")[int(rng.random() * 4)]
        heard = " ".join(words)
        return heard if heard != right else f"{right} maybe"
    others = len(theme.answers) - 1
    chosen = (zlib.crc32(task.encode()) + 1 + int(rng.random() * others)) % len(theme.answers)
    return theme.answers[chosen]
