"""The topics and their settings; no other module names a topic."""

from typing import Literal

import msgspec

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

SIGNALS = "events.signals"
LABELED = "events.labeled"
ANALYTICS = "events.analytics"
PERSONAL = "events.personal"
LABELERS = "events.labelers"
DEIDENTIFIED = "labels.deidentified"
VERDICTS = "door.verdicts"
DEAD_LETTERS = "events.dead_letters"
LABELED_DEAD_LETTERS = "events.labeled.dead_letters"
KEY_ANNOUNCEMENTS = "keys.announcements"
ERASURES = "subjects.erasures"

MIN_INSYNC = "min.insync.replicas"

TOPIC_OF_CATEGORY = {
    "signals": SIGNALS,
    "labeled": LABELED,
    "analytics": ANALYTICS,
    "personal": PERSONAL,
    "labelers": LABELERS,
}


class Topic(msgspec.Struct, frozen=True):
    """One topic's settings.

    Attributes:
        retention_ms: Kafka deletes a record after so many ms.
        segment_ms: Kafka closes a segment after so many ms; a record can outlive its retention by this much.
        timestamp_type: the producer (CreateTime) or the broker (LogAppendTime) stamps a record.
        subject: the Avro subject of its values; None where a value can be any bytes.
        cleanup: Kafka's `cleanup.policy`.
    """

    name: str
    partitions: int
    retention_ms: int
    segment_ms: int
    timestamp_type: Literal["CreateTime", "LogAppendTime"] = "CreateTime"
    subject: str | None = None
    cleanup: Literal["delete", "compact,delete", "compact"] = "delete"

    def configs(self) -> dict[str, str]:
        """The topic-level settings a broker understands."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "segment.ms": str(self.segment_ms),
            "message.timestamp.type": self.timestamp_type,
        }


def min_insync_replicas(replication_factor: int) -> int:
    """How many copies a record must have before it is acknowledged: all but one, so that one broker may be away."""
    return max(1, replication_factor - 1)


def dead_letter_topic(topic: str) -> str:
    """The topic of dead letters for records of `topic`; identified labels have one with their own short retention."""
    return LABELED_DEAD_LETTERS if topic == LABELED else DEAD_LETTERS


def labeled_segment_ms(labeled_hours: int) -> int:
    """The `segment_ms` of identified labels: at most an hour, so that they do not outlive their retention by more."""
    return min(HOUR_MS, labeled_hours * HOUR_MS)


def topics(*, partitions: int, labeled_partitions: int, events_days: int, labeled_hours: int) -> tuple[Topic, ...]:
    """Every topic of the pipeline.

    Args:
        partitions: of the topics that scale with traffic.
        labeled_partitions: of `events.labeled`; a crowd gathers within one partition, so few gather faster.
        events_days: retention of identified events.
        labeled_hours: retention of identified labels and of their dead letters.
    """
    events_ms = events_days * DAY_MS
    labeled_ms = labeled_hours * HOUR_MS
    segment_ms = labeled_segment_ms(labeled_hours)
    # A released label is stamped with midnight of its day, up to 48 h before it is written.
    released_ms = max(events_ms, 7 * DAY_MS) + 2 * DAY_MS
    # So is a verdict, whose labels may come until a day after theirs and are read again for as long as they lie there.
    verdicts_ms = 2 * DAY_MS + max(DAY_MS, labeled_ms)
    return (
        Topic(SIGNALS, partitions, events_ms, DAY_MS, subject="events.signals-value"),
        Topic(ANALYTICS, partitions, events_ms, DAY_MS, subject="events.analytics-value"),
        Topic(PERSONAL, 1, events_ms, DAY_MS, subject="events.personal-value"),
        Topic(LABELERS, 1, events_ms, DAY_MS, subject="events.labelers-value"),
        Topic(LABELED, labeled_partitions, labeled_ms, segment_ms, "LogAppendTime", "events.labeled-value"),
        Topic(DEIDENTIFIED, partitions, released_ms, DAY_MS, subject="labels.deidentified-value"),
        Topic(VERDICTS, 1, verdicts_ms, HOUR_MS, subject="door.verdicts-value", cleanup="compact,delete"),
        Topic(DEAD_LETTERS, 1, events_ms, DAY_MS),
        Topic(LABELED_DEAD_LETTERS, 1, labeled_ms, segment_ms, "LogAppendTime"),
        # The first announcement of a day is in force, so none may be compacted away while its day's labels are about.
        Topic(KEY_ANNOUNCEMENTS, 1, 4 * DAY_MS, DAY_MS),
        # The newest record of each request stays for ever; `retention_ms` is without effect where nothing is deleted.
        Topic(ERASURES, 1, -1, DAY_MS, cleanup="compact"),
    )
