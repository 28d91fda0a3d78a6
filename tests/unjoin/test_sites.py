"""`unjoin sites` as an operator types it."""

import csv
import io
import json
from pathlib import Path

import pytest

from unjoin.cli import main


def test_consent_rules_are_set_shown_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads the list has to see what a site stores of visitors who said no."""
    monkeypatch.setenv("UNJOIN_DATA_DIR", str(tmp_path))
    sites = ["sites", "consent", "shop"]
    assert main(["sites", "add", "shop", "--origin", "https://shop.example"]) == 0
    assert main([*sites, "--necessary", "signals", "--opt-in", "analytics"]) == 0
    assert "shop stores signals whatever a visitor says, analytics after a yes alone" in capsys.readouterr().out
    assert main(["sites", "list", "--format", "json"]) == 0
    assert '"signals necessary",' in capsys.readouterr().out
    assert main(sites) == 0
    assert "what nobody declined" in capsys.readouterr().out
    for wrong in (["--necessary", "labels"], ["--necessary", "signals", "--opt-in", "signals"]):
        assert main([*sites, *wrong]) == 1
        assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNJOIN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")


def test_quota_and_overlap_are_flags_and_the_list_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be seen is changed twice."""
    assert main(["sites", "add", "shop", "--origin", "https://shop.example", "--quota", "7"]) == 0
    old = capsys.readouterr().out.strip()
    assert main(["sites", "quota", "shop", old, "9"]) == 0
    assert main(["sites", "rotate", "shop", old, "--overlap-hours", "48"]) == 0
    new = capsys.readouterr().out.strip().splitlines()[-1]
    assert main(["sites", "list"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "shop" in line]
    assert [key in line for key, line in zip((old, new), lines, strict=True)] == [True, True]
    assert all(" 9 " in line for line in lines)
    assert ["ends 20" in line for line in lines] == [True, False]
    assert main(["sites", "quota", "shop", new, "0"]) == 0
    capsys.readouterr()
    assert main(["sites", "list", "--format", "json"]) == 0
    assert [key["events_per_second"] for key in json.loads(capsys.readouterr().out)] == [9, None]


def test_key_that_is_cut_says_so_in_every_form_and_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    """A program must not take a secret's first characters for a key."""
    assert main(["sites", "add", "shop", "--origin", "https://shop.example"]) == 0
    assert main(["sites", "add", "shop", "--server"]) == 0
    capsys.readouterr()
    assert main(["sites", "list", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {row["kind"]: row["key_is_cut"] for row in listed} == {"browser": False, "server": True}
    assert main(["sites", "list", "--format", "csv"]) == 0
    written = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["kind"]: row["key_is_cut"] for row in written} == {"browser": "false", "server": "true"}
    assert [[*row] for row in written] == [[*row] for row in listed]
    assert main(["sites", "list"]) == 0
    (cut,) = (word for word in capsys.readouterr().out.split() if word.endswith("…"))
    assert main(["sites", "revoke", "shop", cut]) == 0


@pytest.mark.parametrize("bad", ["-1", "1e9", "", "٣", "1000000001", "9" * 5_000, "1.5", "nan"])
def test_what_is_no_number_is_one_sentence_and_changes_nothing(
    bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quota that the file cannot hold would turn every client away."""
    assert main(["sites", "add", "shop", "--origin", "https://shop.example"]) == 0
    key = capsys.readouterr().out.strip()
    before = (tmp_path / "sites" / "sites.json").read_bytes()
    for words in (["quota", "shop", key, bad], ["rotate", "shop", key, "--overlap-hours", bad]):
        with pytest.raises(SystemExit) as ended:
            main(["sites", *words])
        assert ended.value.code == 2
        assert "write a whole number of" in capsys.readouterr().err or bad.startswith("-")
    assert (tmp_path / "sites" / "sites.json").read_bytes() == before
