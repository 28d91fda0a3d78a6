"""Composition: each role's own config, made of the settings, and the keys and clocks it is given."""

from schemas.topics import Topic, topics
from unjoin.settings import Settings


def topics_of(settings: Settings) -> tuple[Topic, ...]:
    """Every topic, as the settings want it."""
    return topics(
        partitions=settings.partitions,
        labeled_partitions=settings.labeled_partitions,
        events_days=settings.events_retention_days,
        labeled_hours=settings.labeled_retention_hours,
    )
