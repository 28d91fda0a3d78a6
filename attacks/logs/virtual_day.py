"""A day in process, on a clock that is a number: the door's own rule of the crowd over posts of real content. Pure."""

import datetime
import math
from collections.abc import Sequence
from random import Random

from attacks.linkage.truth import row_of
from attacks.logs.holdings import Entry, Holdings, LoggedDay, Moment, Row, Told, Truth
from attacks.logs.traffic import Post
from ingest.encode.pseudonym import voter_of
from processors.door.crowd import Crowd, Held
from processors.door.deidentify import deidentify, rank
from schemas.events import IdentifiedLabel
from schemas.seal import padded
from testkit.door_config import crowd_rule

SITE = "dev"
START_MS = 1_790_000_000_000
CROWD_MIN = 20
CLEAR_BYTES = 60  # of a record beside task and answer, about; only its classes matter where it is sealed
SECOND_MS = 1_000.0


def virtual_day(posts: Sequence[Post], rng: Random, *, crowd_target: int, is_sealed: bool) -> LoggedDay:
    """What the logs hold of the posts, one partition, and commits at the moment a crowd leaves.

    Args:
        is_sealed: whether the labeled topic holds ciphertext of a size class, or labels that anybody can read.
    """
    edge_key, epoch_key = rng.randbytes(32), rng.randbytes(32)
    day = datetime.datetime.fromtimestamp(START_MS / 1_000, datetime.UTC).date()
    crowd = Crowd(crowd_rule(CROWD_MIN, crowd_target=crowd_target))
    entries: list[Entry] = []
    told: list[Told] = []
    rows: list[Row] = []
    owner: list[str] = []
    entry_of: list[int] = []
    committed: list[Moment] = []
    waiting: dict[str, int] = {}  # row_id -> place in `entries`
    owners: dict[str, str] = {}
    now_ms = 0.0
    sessions: list[str] = []
    for post in posts:
        now_ms = max(now_ms + 1.0, START_MS + post.at_ms)  # the broker's clock; two records share no millisecond
        if post.tells:
            told.append(told_of(post, now_ms - rng.uniform(2, 6)))
        if not post.task:
            continue
        sessions.append(post.session)
        voter = voter_of(SITE, post.session, edge_key)
        owners[voter.hex()] = post.session
        size = CLEAR_BYTES + len(post.task) + len(post.answer.encode())
        if is_sealed:
            entries.append(Entry(0, len(entries), now_ms, len(padded(bytes(size)))))
        else:
            entries.append(Entry(0, len(entries), now_ms, size, voter.hex(), post.task, post.answer))
        label = IdentifiedLabel(voter=voter, day=day, kind=post.kind, task=post.task, answer=post.answer)
        made = deidentify(label, epoch_key, mask=str)
        waiting[made.row_id] = len(entries) - 1
        crowd.add(voter, post.task, Held(round(now_ms), made, rank(voter, post.task, epoch_key)))
        if crowd.complete():
            first = len(rows)
            for released in crowd.release().labels:
                row = row_of(released)
                place = waiting[row.row_id]
                rows.append(Row(row.task, row.kind, row.answer))
                entry_of.append(place)
                owner.append(sessions[place])
            committed.append(Moment(now_ms + 5, 0, len(entries), tuple(range(first, len(rows)))))
            waiting.clear()
    holdings = Holdings(entries, told, rows, committed, seen_every(SECOND_MS, committed))
    truth = Truth({} if is_sealed else owners, owner, entry_of)
    seal = "sealed" if is_sealed else "readable"
    return LoggedDay(f"in process, labeled topic {seal}, target {crowd_target}", holdings, truth)


def told_of(post: Post, received_at_ms: float) -> Told:
    """What a post's signals say."""
    return Told(post.session, received_at_ms, len(post.strokes), tuple(tuple(sample) for sample in post.hand))


def seen_every(step_ms: float, left: Sequence[Moment]) -> list[Moment]:
    """The same to somebody who looks at counts at every multiple of `step_ms`, and so of what lies between at once."""
    seen: dict[float, list[int]] = {}
    for moment in left:
        seen.setdefault(math.ceil(moment.at_ms / step_ms) * step_ms, []).extend(moment.rows)
    return [Moment(at_ms, 0, -1, tuple(rows)) for at_ms, rows in sorted(seen.items())]
