"""The answer with most votes per task, right at once."""

import json
import random
from collections import Counter

import pytest

from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import label, labels


def consensus(engine: Embedded) -> dict[str, dict[str, object]]:
    rows = engine.select("SELECT * FROM unjoin.label_consensus").splitlines()
    return {row["task"]: row for row in map(json.loads, rows)}


def test_the_answer_with_most_votes_wins(engine: Embedded) -> None:
    votes = [("dogs", "beagle"), ("dogs", "beagle"), ("dogs", "pug"), ("cats", "siamese")]
    engine.insert(labels([label(number, task, answer) for number, (task, answer) in enumerate(votes)]))
    assert consensus(engine) == {
        "dogs": {"task": "dogs", "answer": "beagle", "votes": 2, "total": 3, "agreement": 2 / 3, "tied": 0},
        "cats": {"task": "cats", "answer": "siamese", "votes": 1, "total": 1, "agreement": 1, "tied": 0},
    }


def test_a_tie_is_marked_and_always_falls_the_same_way(engine: Embedded) -> None:
    """Otherwise two queries of one table could disagree."""
    for number, answer in enumerate(["pug", "beagle", "poodle", "pug", "beagle"]):
        engine.insert(labels([label(number, "dogs", answer)]))
    assert {json.dumps(consensus(engine)["dogs"]) for _ in range(5)} == {
        json.dumps({"task": "dogs", "answer": "beagle", "votes": 2, "total": 5, "agreement": 0.4, "tied": 1})
    }


@pytest.mark.usefixtures("unmerged")
def test_a_replaced_vote_counts_once_and_at_once(engine: Embedded) -> None:
    """Both versions lie in the table until a merge; the view may not wait for one."""
    engine.insert(labels([label(1, "dogs", "pug", 1), label(2, "dogs", "beagle", 1)]))
    engine.insert(labels([label(1, "dogs", "beagle", 2)]))
    assert engine.select("SELECT count() FROM unjoin.labels", "TSV") == b"3\n"
    assert consensus(engine)["dogs"] == {
        **{"task": "dogs", "answer": "beagle", "votes": 2, "total": 2, "agreement": 1, "tied": 0}
    }


def test_versions_are_unsigned(engine: Embedded) -> None:
    """Avro's long is signed: -1 are the bits of the largest version there is, and not of one below 1."""
    engine.insert(labels([label(1, "dogs", "large", -1)]))
    engine.insert(labels([label(1, "dogs", "small", 1)]))
    assert engine.select("SELECT answer, version FROM unjoin.labels FINAL", "TSV") == b"large\t18446744073709551615\n"


def test_it_agrees_with_a_plain_count_of_random_votes(engine: Embedded) -> None:
    rng = random.Random(5)
    votes = [(f"t-{rng.randrange(40)}", rng.choice("abc")) for _ in range(600)]
    engine.insert(labels([label(number, task, answer) for number, (task, answer) in enumerate(votes)]))
    found = consensus(engine)
    for task in {task for task, _ in votes}:
        counts = Counter(answer for voted, answer in votes if voted == task)
        most = max(counts.values())
        first, *others = sorted(answer for answer, count in counts.items() if count == most)
        assert (found[task]["answer"], found[task]["votes"], found[task]["tied"]) == (first, most, int(bool(others)))
        assert found[task]["total"] == sum(counts.values())
