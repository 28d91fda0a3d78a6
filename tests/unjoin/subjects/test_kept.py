"""What the privacy officer reads is what the settings say."""

from pathlib import Path

from unjoin.settings import Settings
from unjoin.subjects.kept import kept_table

DOCUMENT = (Path(__file__).parents[3] / "docs" / "rights.md").read_text()


def test_table_of_what_is_kept_is_that_of_the_settings() -> None:
    assert kept_table(Settings()) + "\n" in DOCUMENT


def test_table_follows_settings_that_an_operator_changed() -> None:
    """Days of a TTL, hours of labels; 0 is for ever, and has to be said."""
    rows = kept_table(Settings(signals_ttl_days=30, events_retention_days=3, labeled_retention_hours=2)).splitlines()
    by_place = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[2] for row in rows[2:]}
    assert by_place["table `signals`"] == "30 days"
    assert by_place["table `personal`"] == "until it is erased"
    assert by_place["topic `events.signals`"] == "3 days, at most 4 days"
    assert by_place["topic `events.labeled`"] == "2 hours, at most 3 hours"
