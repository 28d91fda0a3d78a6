"""`unjoin sites` as an operator types it."""

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
    capsys.readouterr()
    assert main(["sites", "list"]) == 0
    assert "shop stores signals whatever a visitor says, analytics after a yes alone" in capsys.readouterr().out
    assert main(sites) == 0
    assert "what nobody declined" in capsys.readouterr().out
    for wrong in (["--necessary", "labels"], ["--necessary", "signals", "--opt-in", "signals"]):
        assert main([*sites, *wrong]) == 1
        assert capsys.readouterr().err.count("\n") == 1
