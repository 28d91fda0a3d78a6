"""`unjoin attack`, from its arguments to its exit code; once on the whole pipeline."""

import importlib.util
import json
import stat
from pathlib import Path
from random import Random

import pytest

from attacks.linkage.command import AttackError, run_attack
from attacks.linkage.evaluation import evaluate
from attacks.linkage.in_process import record_in_process
from attacks.linkage.limits import measured_limits
from attacks.linkage.recording import load, save
from attacks.linkage.report import draw
from attacks.linkage.traffic import closing_posts, day_of_posts
from tests.privacy.attack_process import attack

SMALL = ["--answers", "2000", "--tasks", "4000", "--no-limits", "--pairs", "2000"]


@pytest.fixture(autouse=True)
def no_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNJOIN_DATASETS", raising=False)


def test_recorded_day_is_read_back_as_it_was_and_by_its_owner_only(tmp_path: Path) -> None:
    """It holds who gave what, so it is as secret as the keys."""
    rng = Random(1)
    recording = record_in_process(day_of_posts(rng, sessions=30, answers=400, tasks=400), rng)
    file = tmp_path / "day"
    save(recording, file)
    assert load(file) == recording
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, b"", b"no day", b"\x1f\x8b\x08\x00"])
def test_what_is_not_a_recorded_day_is_refused_in_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    """A wrong path is the likeliest mistake."""
    file = tmp_path / "day"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AttackError, match="is not a recorded day"):
        run_attack(["--recording", str(file)])


def test_missing_extra_is_named_together_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries of the attacks are not among those that running the pipeline needs."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else found(name))
    with pytest.raises(AttackError, match="need sklearn: scripts/setup test"):
        run_attack(["--in-process"])


@pytest.mark.slow
def test_few_tries_do_not_pass_the_bars(tmp_path: Path) -> None:
    """The bound, not the share, is held against the bar: a thousand tries prove nothing, and the exit code says so."""
    assert run_attack(["--in-process", *SMALL, "--out", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "linkage.json").read_text())
    assert len(found["report"]["results"]) == 9
    assert (tmp_path / "linkage.svg").read_text().lstrip().startswith("<?xml")


def test_same_recording_gives_the_same_picture(tmp_path: Path) -> None:
    """So that a picture in the repository changes only where a figure does."""
    rng = Random(1)
    recording = record_in_process(day_of_posts(rng, sessions=60, answers=800, tasks=900) + closing_posts(40, 4), rng)
    pictures = []
    for number in range(2):
        draw(evaluate(recording, pairs=400, trees=5, rounds=5), tmp_path / f"{number}.svg")
        pictures.append((tmp_path / f"{number}.svg").read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.slow
def test_limits_are_leaks_that_the_attacks_do_find() -> None:
    """What the documentation warns of is measured, not asserted: both are well above chance."""
    for limit in measured_limits(1, sessions=100, answers=12_000, tasks=6_000):
        assert limit.found.lower > limit.chance + 0.05, limit.practice


@pytest.mark.kafka
def test_recorded_pipeline_releases_the_crowds_of_the_rule_and_stores_what_it_released(
    kafka_home: Path, tmp_path: Path
) -> None:
    """The evaluation stands on its own replay of the rule; the real door must have made the very same crowds."""
    file = tmp_path / "day"
    done = attack(kafka_home, [*SMALL, "--save", str(file), "--out", str(tmp_path)])
    assert (tmp_path / "linkage.json").exists(), done.stderr
    found = json.loads((tmp_path / "linkage.json").read_text())["report"]
    assert found["crowds"]["as_the_rule_says"]
    by_time = [one for one in found["results"] if one["attack"].startswith("time")]
    assert [one["before"]["value"] >= 0.9 for one in by_time] == [True, True]
    recording = load(file)
    assert len(recording.truth.crowds) > 5
    assert {one.part for one in recording.stored} == {recording.stored[0].part}
    assert sorted(one.row.vote for one in recording.stored) == sorted(one.row.vote for one in recording.released)
