"""Labels that somebody made to hurt, through every part: what is accepted arrives in its canonical form, or masked."""

import sys
import time
import unicodedata
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest

from processors.masking.canonical import canonical
from processors.masking.mask import mask
from testkit.running_stack import RunningStack
from tests.ingest.configs import request_limits

pytestmark = pytest.mark.kafka

EVENT_BYTES_MAX = request_limits().event_bytes_max
ANSWER_BYTES_MAX = request_limits().answer_bytes_max
OTHERS = 25
TASK_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-")
CATEGORIES = 30
"""General categories of Unicode. Source: The Unicode Standard, 4.5."""


def label(task: str, answer: str) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    return {"id": uuid.uuid4().hex, "type": "text_answer", "ts": now_ms, "task": task, "answer": answer}


def post_all(stack: RunningStack, events: Iterable[dict[str, Any]], session: str, batch_max: int = 25) -> None:
    waiting = list(events)
    for at in range(0, len(waiting), batch_max):
        batch = waiting[at : at + batch_max]
        assert stack.post({"session": session, "events": batch}) == (200, {"accepted": len(batch), "rejected": []})


def stored(stack: RunningStack, prefix: str, answers: dict[str, str]) -> dict[str, str]:
    """What came of one session's answers, by task, once enough others have answered for their crowd to leave."""
    post_all(stack, (label(f"{prefix}{task}", answer) for task, answer in answers.items()), f"{prefix}hostile")
    for other in range(OTHERS):
        count = len(answers) // OTHERS + 1
        post_all(stack, (label(f"{prefix}other-{n}", "yes") for n in range(count)), f"{prefix}other-{other}", 500)
    mine = f"startsWith(task, '{prefix}') AND NOT startsWith(task, '{prefix}other-')"
    assert stack.wait_for_count(f"SELECT count() FROM labels WHERE {mine}", len(answers)) == len(answers)
    rows = stack.rows(f"SELECT task, answer FROM labels WHERE {mine}")
    return {row["task"].removeprefix(prefix): row["answer"] for row in rows}


def by_category() -> dict[str, list[str]]:
    found = defaultdict(list)
    for code in range(sys.maxunicode + 1):
        found[unicodedata.category(chr(code))].append(chr(code))
    return found


def test_every_code_point_arrives_in_its_canonical_form_or_masked(stack: RunningStack) -> None:
    """NUL, unassigned, private use, bidi controls, noncharacters: an answer is a free string in every part."""
    every = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    step = ANSWER_BYTES_MAX // 4
    answers = {f"{every[at]:06x}": "".join(map(chr, every[at : at + step])) for at in range(0, len(every), step)}
    expected = {task: mask(canonical(answer)) for task, answer in answers.items()}
    assert stored(stack, "every:", answers) == expected
    masked = sum(expected[task] != canonical(answer) for task, answer in answers.items())
    assert masked < 0.05 * len(answers), "digits of all scripts in a row look like numbers, and little else does"


def test_every_category_arrives_between_letters_and_on_its_own(stack: RunningStack) -> None:
    """Whatever stands at an edge of a string is what a careless part strips or pads."""
    rng, answers = Random(5), {}
    for category, characters in by_category().items():
        if category == "Cs":
            continue
        for number, character in enumerate(rng.sample(characters, min(8, len(characters)))):
            answers |= {
                f"{category}:{number}:alone": character,
                f"{category}:{number}:edges": f"{character}a{character}",
            }
    answers |= {
        f"chosen:{ord(one):x}": f"a{one}b" for one in "\0\x7f\u0378\u202e\u2066\u200d\ufeff\ufffe\ue000\U0010ffff"
    }
    assert len({task.partition(":")[0] for task in answers}) == CATEGORIES
    assert stored(stack, "category:", answers) == {task: canonical(answer) for task, answer in answers.items()}


def test_task_of_any_other_character_is_rejected_alone(stack: RunningStack) -> None:
    """A task is a name that queries and exports repeat: letters, digits and four signs, whatever the script."""
    rng, characters = Random(6), []
    for category, members in by_category().items():
        if category != "Cs":
            others = [one for one in members if one not in TASK_CHARACTERS]
            characters += rng.sample(others, min(8, len(others)))
    events = [label(f"dogs{character}", "beagle") for character in [*characters, "\n", "\0", "\u202e", " "]]
    events.insert(len(events) // 2, label("dogs:good", "beagle"))
    status, answer = stack.post({"session": "s-tasks", "events": events})
    assert (status, answer["accepted"]) == (200, 1)
    assert {one["reason"] for one in answer["rejected"]} == {"invalid_value"}
    assert len(answer["rejected"]) == len(events) - 1 >= 150


def test_lone_surrogate_is_rejected_alone(stack: RunningStack) -> None:
    """No UTF-8 can hold one, so it cannot be stored; the rest of its batch can."""
    answers = ["fine", "\ud800", "a\udfffb", "\udc00\ud800", "\U0001f600 fine"]
    events = [label(f"surrogates-{number}", answer) for number, answer in enumerate(answers)]
    status, answer = stack.post({"session": "s-surrogates", "events": events})
    assert (status, answer["accepted"]) == (200, 2)
    assert [(one["index"], one["reason"]) for one in answer["rejected"]] == [(n, "invalid_text") for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("name", "fill"),
    [
        ("digits", lambda size: "7" * size),
        ("at", lambda size: "@" * size),
        ("brackets", lambda size: "[" * (size // 2) + "]" * (size // 2)),
        ("mails", lambda size: "jo.doe@example.com " * (size // 19)),
        ("phones", lambda size: "+49 30 901820, " * (size // 15)),
        ("words", lambda size: "beagle or terrier " * (size // 18)),
        ("cards", lambda size: "4111 1111 1111 1111 " * (size // 20)),
    ],
)
def test_answer_as_long_as_may_be_is_masked_whole(stack: RunningStack, name: str, fill: Callable[[int], str]) -> None:
    """The longest answer there can be costs the door no more than its share, and is masked to its end."""
    answer = fill(ANSWER_BYTES_MAX)
    came = stored(stack, f"large:{name}:", {"one": answer})
    assert came == {"one": mask(canonical(answer))}
    for part in ("jo.doe@example.com", "901820", "1111"):
        assert part not in came["one"]


def test_one_byte_more_than_an_answer_may_have_is_rejected_alone(stack: RunningStack) -> None:
    """Work at the door grows with an answer's length, so that it is bounded before anything is kept."""
    longest = label("length-1", "é" * (ANSWER_BYTES_MAX // 2))
    longer = label("length-2", longest["answer"] + "a")
    status, answer = stack.post({"session": "s-length", "events": [longer, longest]})
    assert (status, answer["accepted"]) == (200, 1)
    (rejected,) = answer["rejected"]
    assert (rejected["index"], rejected["id"]) == (0, longer["id"])
    assert (rejected["reason"], rejected["field"]) == ("answer_too_long", "answer")


def test_one_byte_more_than_an_event_may_have_is_rejected_alone(stack: RunningStack) -> None:
    """A bound that is not exact is two bounds."""
    good, bad = label("size-1", "yes"), label("size-2", "x" * EVENT_BYTES_MAX)
    status, answer = stack.post({"session": "s-size", "events": [bad, good]})
    assert (status, answer["accepted"]) == (200, 1)
    assert [(one["index"], one["id"], one["reason"]) for one in answer["rejected"]] == [(0, bad["id"], "too_large")]
