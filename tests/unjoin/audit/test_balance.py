"""The sums: nothing that is missing is made up for by something that is too many."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unjoin.audit.balance import Audit, Finding, Line, Released, ranges
from unjoin.audit.report import show, write_textfile
from unjoin.audit.snapshot import AuditError

COUNTS = st.integers(0, 1 << 40)
OUTCOMES = ("stored", "passed_on", "verdicts", "collapsed", "dead_lettered", "suppressed", "expired", "held")


@given(st.fixed_dictionaries(dict.fromkeys(OUTCOMES, COUNTS)), st.integers(-5, 5), st.integers(0, 5))
def test_difference_is_0_only_where_every_record_has_one_outcome_and_every_row_a_record(
    outcomes: dict[str, int], off: int, excess: int
) -> None:
    """One lost row and one forged one are a difference of two."""
    line = Line(name="signals", accepted=sum(outcomes.values()) + off, excess=excess, **outcomes)
    assert line.missing == off
    assert line.difference == abs(off) + excess
    assert Audit(lines=[Line(name="other"), line]).exit_code == (1 if off or excess else 0)


@pytest.mark.parametrize(
    ("difference", "findings", "doubts", "code"),
    [
        (0, [], [], 0),
        (1, [], [], 1),
        (0, [Finding("wrong")], [], 1),
        (0, [], ["no spool"], 3),
        (1, [], ["no spool"], 1),
    ],
)
def test_exit_code_tells_wrong_from_unknown(
    difference: int, findings: list[Finding], doubts: list[str], code: int
) -> None:
    """A check that could not look must not pass, and must not cry wolf either."""
    audit = Audit(lines=[Line(name="signals", accepted=difference)], findings=findings, doubts=doubts)
    assert audit.exit_code == code


@given(COUNTS, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_label_that_the_door_released_is_on_the_topic_and_no_other_is(
    said: int, again: int, lost: int, forged: int
) -> None:
    """A crash sends a whole crowd again: more records, no more different ones."""
    good = Released(said=said, on_topic=said + again, distinct=said, held=0)
    assert (good.lost, good.unsaid) == (0, 0)
    assert Released(said=said + lost, on_topic=said, distinct=said, held=0).lost == lost
    assert Released(said=said, on_topic=said + forged, distinct=said + forged, held=0).unsaid == forged


@given(st.sets(st.integers(0, 60)))
def test_ranges_are_the_offsets_in_fewer_words(offsets: set[int]) -> None:
    """They say where to look."""
    found = [word.partition("-") for word in ranges(offsets)]
    listed = [offset for first, _, last in found for offset in range(int(first), int(last or first) + 1)]
    assert listed == sorted(offsets)
    assert all(int(right[0]) > int(left[2] or left[0]) + 1 for left, right in itertools.pairwise(found))


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """A chaos run reads it."""
    show(Audit(lines=[Line(name="signals", accepted=3, stored=1, held=1)], doubts=["d"], notes=["n"]), "json")
    shown = json.loads(capsys.readouterr().out)
    assert (shown["difference"], shown["told"], shown["doubts"], shown["notes"]) == (1, False, ["d"], ["n"])
    (line,) = shown["lines"]
    assert (line["name"], line["accepted"], line["missing"], line["difference"]) == ("signals", 3, 1, 1)


def test_people_are_told_what_is_wrong_where_to_look_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """A number alone sends them searching."""
    finding = Finding("2 records have no row", ("events.signals-0: offsets 3-4",))
    show(Audit(lines=[Line(name="signals", accepted=2)], findings=[finding], notes=["n"]), "table")
    shown = capsys.readouterr().out
    assert "wrong: 2 records have no row\n    events.signals-0: offsets 3-4\n" in shown
    assert "note: n" in shown
    assert shown.endswith("difference 2: see what is wrong above\n")
    show(Audit(lines=[Line(name="signals", accepted=2, held=2)]), "table")
    assert capsys.readouterr().out.endswith("difference 0: every accepted record is accounted for\n")


def test_textfile_tells_what_alerts_ask_for_and_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """Nobody reads the mail of a timer; an alert is read."""
    audit = Audit(lines=[Line(name="signals", accepted=3, stored=1)], findings=[Finding("wrong")], doubts=["no spool"])
    write_textfile(audit, tmp_path / "unjoin.prom", 1_790_000_000.5)
    text = (tmp_path / "unjoin.prom").read_text()
    assert 'unjoin_audit_difference{line="signals"} 2.0\n' in text
    assert "unjoin_audit_findings 1.0\n" in text
    assert "unjoin_audit_told 0.0\n" in text
    assert "unjoin_audit_finished_seconds 1.79e+09\n" in text
    with pytest.raises(AuditError, match="No such file or directory"):
        write_textfile(audit, tmp_path / "none" / "unjoin.prom", 0)
