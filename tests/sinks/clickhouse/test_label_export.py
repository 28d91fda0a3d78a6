"""The views that labels leave the house by: nothing that fewer than k votes say."""

import datetime
import json
import random
from collections import Counter
from typing import Any

import pytest

from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import label, labels

DAY = datetime.date(2026, 9, 21)


def votes(engine: Embedded, *groups: tuple[int, str, str, dict[str, Any]]) -> None:
    """Stores groups of equal votes: how many, task, answer, and what differs from the usual."""
    rows = [
        {**label(0, task, answer), "row_id": f"00000000-0000-0000-{group:04}-{number:012}", **changes}
        for group, (count, task, answer, changes) in enumerate(groups)
        for number in range(count)
    ]
    engine.insert(labels(rows))


def exported(engine: Embedded, view: str, k: int) -> list[dict[str, Any]]:
    lines = engine.select(f"SELECT * FROM unjoin.{view}(k = {k}) ORDER BY ALL").splitlines()
    return [json.loads(line) for line in lines]


def test_answer_that_fewer_than_k_gave_is_in_neither_view(engine: Embedded) -> None:
    """A rare answer is somebody's: a typed name, a joke between two people."""
    votes(engine, (5, "dogs", "beagle", {}), (4, "dogs", "my dog Rex", {}), (4, "cats", "my cat Tom", {}))
    assert [row["answer"] for row in exported(engine, "label_export", 5)] == ["beagle"]
    assert [row["answer"] for row in exported(engine, "label_export_votes", 5)] == ["beagle"] * 5
    assert len(exported(engine, "label_export_votes", 4)) == 13


def test_agreement_counts_the_votes_whose_answers_are_left_out(engine: Embedded) -> None:
    """How many disagreed is nobody's answer; leaving them out of the total would overstate agreement."""
    votes(engine, (6, "dogs", "beagle", {}), (1, "dogs", "pug", {}), (1, "dogs", "poodle", {}))
    (row,) = exported(engine, "label_export", 5)
    assert (row["answer"], row["votes"], row["total"], row["agreement"]) == ("beagle", 6, 8, 0.75)


@pytest.mark.parametrize("kind", ["image_label", "audio_transcript", "text_answer"])
def test_the_rule_holds_for_every_kind(engine: Embedded, kind: str) -> None:
    """An answer of each kind is a free string of a public key."""
    votes(engine, (4, "dogs", "beagle", {"kind": kind}))
    assert exported(engine, "label_export", 5) == exported(engine, "label_export_votes", 5) == []


def test_a_kind_that_fewer_than_k_say_does_not_single_its_votes_out(engine: Embedded) -> None:
    """Whoever posts an answer under another kind is one of one, however common the answer."""
    votes(engine, (5, "dogs", "beagle", {}), (1, "dogs", "beagle", {"kind": "text_answer"}))
    assert [row["kind"] for row in exported(engine, "label_export_votes", 5)] == ["image_label"] * 5
    assert [(row["kind"], row["votes"]) for row in exported(engine, "label_export", 5)] == [("image_label", 5)]


def test_a_day_is_said_only_where_k_votes_share_each_day_of_the_answer(engine: Embedded) -> None:
    """One vote on a day of its own is told apart by it; so is one whose day alone is missing."""
    lone = {"day": DAY + datetime.timedelta(1)}
    votes(engine, (5, "dogs", "beagle", {}), (5, "cats", "tabby", {}), (1, "cats", "tabby", lone))
    rows = exported(engine, "label_export_votes", 5)
    assert Counter((row["task"], row["day"]) for row in rows) == {("dogs", str(DAY)): 5, ("cats", None): 6}


@pytest.mark.usefixtures("unmerged")
def test_replaced_vote_counts_once(engine: Embedded) -> None:
    """Five versions of one vote are one voter, also while all five are still stored."""
    for version in range(1, 6):
        votes(engine, (1, "dogs", "beagle", {"version": version}))
    assert engine.select("SELECT count() FROM unjoin.labels", "TSV") == b"5\n"
    assert exported(engine, "label_export", 2) == exported(engine, "label_export_votes", 2) == []
    assert exported(engine, "label_export", 1)[0]["total"] == 1


def test_tie_is_kept_or_left_out_as_a_whole(engine: Embedded) -> None:
    """Tied answers have as many votes as each other: leaving out never decides a tie."""
    votes(engine, (3, "dogs", "beagle", {}), (3, "dogs", "pug", {}))
    (row,) = exported(engine, "label_export", 3)
    assert (row["answer"], row["votes"], row["total"], row["tied"]) == ("beagle", 3, 6, 1)
    assert exported(engine, "label_export", 4) == []


@pytest.mark.parametrize("k", [1, 2, 5])
def test_no_row_of_the_votes_has_fewer_than_k_like_it(engine: Embedded, k: int) -> None:
    """That is the whole rule, on votes that differ in every way a vote can."""
    rng = random.Random(k)
    rows = [
        {
            **label(number, f"t-{rng.randrange(20)}", rng.choice("aaaabc")),
            "kind": rng.choice(["image_label"] * 5 + ["text_answer"]),
            "day": DAY + datetime.timedelta(rng.choice([0, 0, 0, 1])),
        }
        for number in range(900)
    ]
    engine.insert(labels(rows))
    found = Counter(tuple(row.values()) for row in exported(engine, "label_export_votes", k))
    assert min(found.values()) >= k
    of_answer = Counter((row["task"], row["kind"], row["answer"]) for row in rows)
    assert sum(found.values()) == sum(count for count in of_answer.values() if count >= k)
    in_all = {
        (row["task"], row["kind"]): row
        for row in map(json.loads, engine.select("SELECT * FROM unjoin.label_consensus").split(b"\n")[:-1])
    }
    kept = {(row["task"], row["kind"]): row for row in exported(engine, "label_export", k)}
    assert kept == {of: row for of, row in in_all.items() if row["votes"] >= k}
