"""What `unjoin erase` refuses before it asks anybody: a typing error must not read as an erasure that was done."""

from pathlib import Path

import pytest

from unjoin.cli import main


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name one person"),
        (["--session", "s"], "--session needs --site"),
        (["--account", "a", "--email", "a@b"], "name one person"),
        (["--email", "nobody"], "one @"),
        (["--from", "/nowhere.jsonl"], "cannot be read"),
        (["--from", "/dev/null"], "names nobody"),
        (["--from", "/dev/null", "--email", "a@b.test"], "leave the other selectors out"),
    ],
)
def test_call_that_names_nobody_is_refused_in_a_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No place is asked, so the sentence comes at once, whether Kafka runs or not."""
    assert main(["erase", *arguments, "--yes"]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"session": "s-1"}', "--session needs --site"),
        (b'{"email": "a@b.test", "note": 1}', "no JSON object of a selector"),
        (b"\xff\xfe", "no JSON object of a selector"),
        (b'["a@b.test"]', "no JSON object of a selector"),
    ],
)
def test_line_of_a_file_that_names_nobody_is_told_by_its_number_and_not_by_what_it_says(
    line: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody of the file is asked for: half of a list erased is hard to tell from all of it."""
    people = tmp_path / "people.jsonl"
    people.write_bytes(b'{"email": "ann@example.test"}\n' + line + b"\n")
    assert main(["erase", "--from", str(people)]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "line 2 of" in said
    assert "a@b.test" not in said
