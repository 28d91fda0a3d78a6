"""Whose each label is, and which crowd hides it: computed with the day's keys, for the evaluation alone. Pure."""

import datetime
from collections.abc import Callable, Iterable, Mapping

from attacks.linkage.recording import Labeled, Row, ToldCrowd, Truth
from ingest.encode.pseudonym import voter_of
from processors.door.crowd import Crowd, CrowdRule, Held
from processors.door.deidentify import deidentify, rank
from schemas.events import DeidentifiedLabel, IdentifiedLabel

Door = Callable[[IdentifiedLabel, bytes], DeidentifiedLabel]
"""One identified label and the epoch key of its day -> its row."""


def deidentified(label: IdentifiedLabel, epoch_key: bytes) -> DeidentifiedLabel:
    """The row of a label whose answer holds nothing to be masked."""
    return deidentify(label, epoch_key, mask=str)


def truth_of(
    labeled: Iterable[Labeled],
    sessions: Iterable[str],
    *,
    site: str,
    edge_keys: Mapping[datetime.date, bytes],
    epoch_keys: Mapping[datetime.date, bytes],
    rule: CrowdRule,
    door: Door = deidentified,
) -> Truth:
    """Replays the labeled topic through the rule of the crowd.

    Args:
        labeled: in offset order of each partition.
        sessions: all that may have posted.
        rule: of the door that is attacked.

    Raises:
        KeyError: a voter that none of the sessions is.
    """
    owner_of_voter = {voter_of(site, session, key): session for session in sessions for key in edge_keys.values()}
    owner_of_vote: dict[str, str] = {}
    crowds: list[ToldCrowd] = []
    waiting: dict[int, tuple[Crowd, dict[str, None], int]] = {}
    for record in labeled:
        if record.partition not in waiting:
            waiting[record.partition] = (Crowd(rule), {}, record.offset)
        crowd, members, first = waiting[record.partition]
        label = identified(record)
        row = door(label, epoch_keys[label.day])
        owner = owner_of_voter[record.voter]
        owner_of_vote[row_of(row).vote] = owner
        members[owner] = None
        key = epoch_keys[label.day]
        crowd.add(record.voter, record.task, Held(record.appended_at_ms, row, rank(record.voter, record.task, key)))
        if crowd.complete():
            votes = tuple(row_of(one).vote for one in crowd.release().labels)
            crowds.append(ToldCrowd(record.partition, first, record.offset + 1, tuple(members), votes))
            del waiting[record.partition]
    return Truth({voter.hex(): session for voter, session in owner_of_voter.items()}, owner_of_vote, tuple(crowds))


def identified(record: Labeled) -> IdentifiedLabel:
    """A recorded label as the door takes it."""
    day = datetime.date.fromisoformat(record.day)
    return IdentifiedLabel(voter=record.voter, day=day, kind=record.kind, task=record.task, answer=record.answer)


def row_of(label: DeidentifiedLabel) -> Row:
    """A released label as it is recorded."""
    return Row(label.row_id, str(label.day), label.task, label.kind, label.answer, label.version)
