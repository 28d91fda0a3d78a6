"""Pure: what is kept of whom, where and for how long, as the settings have it; docs/rights.md holds the table."""

from schemas.topics import (
    ANALYTICS,
    DEAD_LETTERS,
    DEIDENTIFIED,
    ERASURES,
    HOUR_MS,
    KEY_ANNOUNCEMENTS,
    LABELED,
    LABELED_DEAD_LETTERS,
    LABELERS,
    PERSONAL,
    SIGNALS,
    VERDICTS,
    topics,
)
from unjoin.settings import PREFIX, Settings

_DAY_HOURS = 24
_WHAT = {
    SIGNALS: "signals of a session",
    ANALYTICS: "page views of a session, with its address",
    PERSONAL: "persons of an account",
    LABELERS: "applications of labelers",
    LABELED: "answers under a pseudonym of the day, sealed to the door",
    DEIDENTIFIED: "answers, tied to nobody",
    VERDICTS: "hashes of pseudonyms of the day",
    DEAD_LETTERS: "records that could not be read, byte for byte",
    LABELED_DEAD_LETTERS: "the same of answers, still sealed",
    KEY_ANNOUNCEMENTS: "the door's public keys",
    ERASURES: "requests of erasure: a salted digest of whom, and how far they are",
}
_ROWS = {
    "signals": "as on its topic",
    "analytics": "as on its topic, and browser, system, device and network",
    "personal": "as on its topic",
    "labelers": "as on its topic",
}


def kept_table(settings: Settings) -> str:
    """A row a place, in Markdown.

    A topic drops whole segments, each once its newest record is too old: the longer of its two times is that of a
    segment's first record.
    """
    rows = ["| where | what | how long | by |", "|---|---|---|---|"]
    for topic in topics(
        partitions=settings.partitions,
        labeled_partitions=settings.labeled_partitions,
        events_days=settings.events_retention_days,
        labeled_hours=settings.labeled_retention_hours,
    ):
        of_labels = topic.name in (LABELED, LABELED_DEAD_LETTERS, VERDICTS)
        setting = "LABELED_RETENTION_HOURS" if of_labels else "EVENTS_RETENTION_DAYS"
        by = "" if topic.name == KEY_ANNOUNCEMENTS else f"`{PREFIX}{setting}`"
        if topic.retention_ms < 0:
            digest = f"the request for ever, its digest until {settings.erase_refuse_days} days after it is done"
            rows.append(f"| topic `{topic.name}` | {_WHAT[topic.name]} | {digest} | `{PREFIX}ERASE_REFUSE_DAYS` |")
            continue
        least, most = (_time(ms) for ms in (topic.retention_ms, topic.retention_ms + topic.segment_ms))
        rows.append(f"| topic `{topic.name}` | {_WHAT[topic.name]} | {least}, at most {most} | {by} |")
    for table, days in settings.ttl_days.items():
        how_long = f"{days} days" if days else "until it is erased"
        rows.append(f"| table `{table}` | {_ROWS[table]} | {how_long} | `{PREFIX}{table.upper()}_TTL_DAYS` |")
    rows += [
        "| table `erasures` | requests, without whom they are about | for ever | |",
        "| table `labels` and what is made of it | answers, tied to nobody | for ever | |",
        "| table `dead_letters` | reason and place of what could not be read, nothing of it | for ever | |",
        "| a collector's spool | whatever Kafka has not taken yet | until it has; answers "
        f"{settings.labeled_retention_hours} hours at most | `{PREFIX}LABELED_RETENTION_HOURS` |",
        "| logs and metrics | nothing of anybody | | |",
        "| a visitor's browser (IndexedDB) | events that have not been sent | a day | |",
    ]
    return "\n".join(rows)


def _time(ms: int) -> str:
    hours = ms // HOUR_MS
    days, left = divmod(hours, _DAY_HOURS)
    if left or not days:
        return f"{hours} hour{'s' * (hours != 1)}"
    return f"{days} day{'s' * (days != 1)}"
