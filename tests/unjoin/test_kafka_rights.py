"""Who may do what at the brokers, held to a table that is written by hand."""

from pathlib import Path

from schemas.topics import (
    DEAD_LETTERS,
    DEIDENTIFIED,
    ERASURES,
    KEY_ANNOUNCEMENTS,
    LABELED,
    LABELED_DEAD_LETTERS,
    VERDICTS,
)
from unjoin.kafka_rights import EVERY_TOPIC, Operation, rights_table, rules
from unjoin.roles import topics_of
from unjoin.settings import Settings

ROOT = Path(__file__).parents[2]
EVENTS = {"events.signals", "events.analytics", "events.personal", "events.labelers"}
# So that a right given by mistake is seen.
MAY_READ = {
    LABELED: {"processor"},
    VERDICTS: {"processor"},
    KEY_ANNOUNCEMENTS: {"collector", "processor"},
    DEIDENTIFIED: {"sink", "audit"},
    ERASURES: {"collector", "sink", "audit", "erase"},
    DEAD_LETTERS: {"sink", "audit", "replay"},
    LABELED_DEAD_LETTERS: {"sink", "audit", "replay"},
    **{topic: {"sink", "audit"} for topic in EVENTS},
}
MAY_WRITE = {
    LABELED: {"collector", "replay"},
    VERDICTS: {"processor"},
    KEY_ANNOUNCEMENTS: {"collector", "processor"},
    DEIDENTIFIED: {"processor", "replay"},
    DEAD_LETTERS: {"sink"},
    ERASURES: {"sink", "erase"},
    LABELED_DEAD_LETTERS: {"processor"},
    **{topic: {"collector", "replay"} for topic in EVENTS},
}


def test_topics_are_read_and_written_by_those_of_this_table_alone() -> None:
    """Only the door reads labels that name their voter."""

    def may(operation: Operation) -> dict[str, set[str]]:
        found = [rule for rule in rules() if rule.kind == "topic" and rule.operation == operation]
        return {topic: {rule.user for rule in found if rule.name == topic} for topic in EVERY_TOPIC}

    assert may("Read") == MAY_READ
    assert may("Write") == MAY_WRITE


def test_table_of_the_page_is_the_code_s() -> None:
    """Whoever keeps the rules of a cluster elsewhere copies them from there."""
    assert rights_table() in (ROOT / "docs" / "kafka-security.md").read_text()


def test_every_topic_is_somebody_s() -> None:
    """A topic that is added has rights, or the first cluster that asks stops what uses it."""
    assert {topic.name for topic in topics_of(Settings())} == set(EVERY_TOPIC)
    assert {rule.name for rule in rules() if rule.kind == "topic" and rule.user != "topics"} == set(EVERY_TOPIC)
