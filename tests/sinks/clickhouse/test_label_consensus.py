"""The answer with most votes per task and kind, right at once, and how sure that many votes make."""

import json
import random
from collections import Counter
from typing import Any

import pytest
from scipy.stats import binomtest

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.migrate import migrations
from testkit.sink_records import label, labels

COLUMNS = "task, kind, answer, votes, total, agreement, tied"


def consensus(engine: Embedded, columns: str = COLUMNS) -> dict[str, dict[str, Any]]:
    rows = engine.select(f"SELECT {columns} FROM unjoin.label_consensus").splitlines()
    return {row["task"]: row for row in map(json.loads, rows)}


def of_dogs(**said: object) -> dict[str, object]:
    return {"task": "dogs", "kind": "image_label", **said}


def test_the_answer_with_most_votes_wins(engine: Embedded) -> None:
    votes = [("dogs", "beagle"), ("dogs", "beagle"), ("dogs", "pug"), ("cats", "siamese")]
    engine.insert(labels([label(number, task, answer) for number, (task, answer) in enumerate(votes)]))
    assert consensus(engine) == {
        "dogs": of_dogs(answer="beagle", votes=2, total=3, agreement=2 / 3, tied=0),
        "cats": of_dogs(answer="siamese", votes=1, total=1, agreement=1, tied=0) | {"task": "cats"},
    }


def test_each_kind_of_a_task_has_a_consensus_of_its_own(engine: Embedded) -> None:
    """A transcript and a label of one task answer different questions: counted together, neither has its majority."""
    votes = [("image_label", "beagle")] * 2 + [("text_answer", "no")] * 3 + [("text_answer", "beagle")]
    engine.insert(labels([{**label(n, "dogs", answer), "kind": kind} for n, (kind, answer) in enumerate(votes)]))
    found = engine.select("SELECT kind, answer, votes, total FROM unjoin.label_consensus ORDER BY kind", "TSV")
    assert found == b"image_label\tbeagle\t2\t2\ntext_answer\tno\t3\t4\n"


@pytest.mark.parametrize(("votes", "total"), [(1, 1), (3, 3), (3, 5), (50, 50), (51, 99), (600, 1000)])
def test_agreement_has_wilsons_interval(engine: Embedded, votes: int, total: int) -> None:
    """Three of three is no certainty; scipy's interval of the same name says what it is."""
    answers = ["beagle"] * votes + [f"other {number}" for number in range(total - votes)]
    engine.insert(labels([label(number, "dogs", answer) for number, answer in enumerate(answers)]))
    row = consensus(engine, "*")["dogs"]
    wanted = binomtest(votes, total).proportion_ci(0.95, method="wilson")
    assert (row["agreement_low"], row["agreement_high"]) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    assert 0 <= row["agreement_low"] <= row["agreement"] <= row["agreement_high"] <= 1


def test_views_of_before_are_replaced_and_the_votes_stay(engine: Embedded) -> None:
    """The migration before counted kinds together; who upgrades must not have to store anything again."""
    found = {migration.number: migration.statements for migration in migrations()}
    (before,) = [sql for sql in found[2] if "VIEW" in sql]
    engine.insert(labels([label(1, "dogs", "pug"), {**label(2, "dogs", "pug"), "kind": "text_answer"}]))
    engine.select("DROP VIEW unjoin.label_consensus")
    engine.select(before)
    assert engine.select("SELECT votes FROM unjoin.label_consensus", "TSV") == b"2\n"
    for _ in range(2):  # after a kill a migration runs again
        for statement in found[7]:
            engine.select(statement)
        assert engine.select("SELECT votes FROM unjoin.label_consensus", "TSV") == b"1\n1\n"


def test_a_tie_is_marked_and_always_falls_the_same_way(engine: Embedded) -> None:
    """Otherwise two queries of one table could disagree."""
    for number, answer in enumerate(["pug", "beagle", "poodle", "pug", "beagle"]):
        engine.insert(labels([label(number, "dogs", answer)]))
    assert {json.dumps(consensus(engine)["dogs"]) for _ in range(5)} == {
        json.dumps(of_dogs(answer="beagle", votes=2, total=5, agreement=0.4, tied=1))
    }


@pytest.mark.parametrize("answers", [["", "a"], ["ö", "z"], ["日本", "é", "e"], ["a\0b", "a"], ["A", "a", "Z"]])
def test_any_answer_can_win_and_the_smallest_by_bytes_wins_a_tie(engine: Embedded, answers: list[str]) -> None:
    """Also the empty one, and one that a collation would sort elsewhere."""
    engine.insert(labels([label(number, "dogs", answer) for number, answer in enumerate(answers)]))
    row = consensus(engine)["dogs"]
    assert row == of_dogs(answer=min(answers, key=str.encode), votes=1, total=len(answers),
                          agreement=1 / len(answers), tied=1)  # fmt: skip


@pytest.mark.usefixtures("unmerged")
def test_a_replaced_vote_counts_once_and_at_once(engine: Embedded) -> None:
    """Both versions lie in the table until a merge; the view may not wait for one."""
    engine.insert(labels([label(1, "dogs", "pug", 1), label(2, "dogs", "beagle", 1)]))
    engine.insert(labels([label(1, "dogs", "beagle", 2)]))
    assert engine.select("SELECT count() FROM unjoin.labels", "TSV") == b"3\n"
    assert consensus(engine)["dogs"] == of_dogs(answer="beagle", votes=2, total=2, agreement=1, tied=0)


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
