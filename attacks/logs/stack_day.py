"""A day of real content through a pipeline of its own, and all that its logs hold; keys serve the truth alone."""

import asyncio
import datetime
import logging
import struct
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.progress import Progress

from attacks.linkage.record import Watcher
from attacks.linkage.recording import Released
from attacks.linkage.stack import SITE, RecordingError, Stack
from attacks.logs.holdings import Entry, Holdings, LoggedDay, Moment, Row, Told, Truth
from attacks.logs.traffic import Post
from attacks.logs.virtual_day import virtual_day
from ingest.encode.pseudonym import voter_of
from processors.door.deidentify import row_id
from schemas.codec import decode
from schemas.outcomes import UnjoinError
from schemas.topics import LABELED
from unjoin.host.kafka import free_port
from unjoin.keys.keyring import Keyring

OFFSETS = "__consumer_offsets"
RELEASED_METRIC = "unjoin_door_released_total"
TOLD_SQL = """
SELECT session, toUnixTimestamp64Milli(received_at) AS at, sumIf(length(t), type = 'key') AS strokes,
       anyIf(t, type = 'pointer') AS ts, anyIf(x, type = 'pointer') AS xs, anyIf(y, type = 'pointer') AS ys
FROM signals GROUP BY session, received_at
"""
PARTS_SQL = "SELECT _part, count() AS rows FROM labels GROUP BY _part"


class Commit(NamedTuple):
    """An offset of the labeled topic that the door committed, and when, Unix milliseconds."""

    partition: int
    offset: int
    at_ms: int


def stack_day(posts: Sequence[Post], progress: Progress, *, crowd_target: int, seconds: float) -> tuple[LoggedDay, str]:
    """Posts the day within `seconds`, and reads what the logs hold. Also gives what `_part` tells on 8123, in words.

    Raises:
        RecordingError: a part did not do what it should.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its broker is stopped under it
    expected = len(virtual_day(posts, Random(0), crowd_target=crowd_target, is_sealed=True).holdings.rows)
    first_port = free_port(8)
    settings = {"UNJOIN_CROWD_TARGET": str(crowd_target), "UNJOIN_METRICS_PORT": str(first_port)}
    with tempfile.TemporaryDirectory(prefix="unjoin-attack-") as folder:
        data_dir = Path(folder)
        starting = progress.add_task("starting a pipeline", total=None)
        with Stack(data_dir, **settings) as stack:
            progress.remove_task(starting)
            with Watcher(stack.bootstrap) as watcher, Scraper(first_port) as scraper:
                _post_all(stack, posts, seconds, progress)
                waiting = progress.add_task("waiting for the last crowd", total=None)
                released = watcher.stop_after(expected)
                entries = asyncio.run(_entries(stack.bootstrap))
                commits = asyncio.run(_commits(stack.bootstrap))
                scraper.stop()
            told = [_told(row) for row in stack.rows(TOLD_SQL)]
            parts = _parts(stack)
            days = {datetime.date.fromisoformat(one.row.day) for one in released}
            keys = [
                (edge, epoch)
                for day in days
                if (edge := Keyring(data_dir / "keys" / "edge").existing_key_of(day))
                and (epoch := Keyring(data_dir / "keys" / "epoch").existing_key_of(day))
            ]
            progress.remove_task(waiting)
    answers = [post for post in posts if post.task]
    if len(entries) != len(answers):
        raise RecordingError(f"the labeled topic holds {len(entries)} records of {len(answers)} answers")
    return _day(answers, released, entries, commits, scraper.seen, told, keys), parts


class Scraper:
    """Reads the door's count of released labels every second, in a thread of its own.

    Attributes:
        seen: (Unix milliseconds, count) at each scrape.
    """

    def __init__(self, first_port: int) -> None:
        self._ports = range(first_port, first_port + 8)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._scrape, name="scraper", daemon=True)
        self.seen: list[tuple[float, int]] = []

    def __enter__(self) -> "Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Returns once nothing is scraped any more."""
        self._left.set()
        self._thread.join()

    def _scrape(self) -> None:
        while not self._left.wait(1.0):
            for port in self._ports:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
                        lines = answer.read().decode().splitlines()
                except (OSError, urllib.error.URLError):
                    continue
                counts = [float(line.split()[-1]) for line in lines if line.startswith(f"{RELEASED_METRIC} ")]
                if counts:
                    self._ports = range(port, port + 1)
                    self.seen.append((time.time() * 1_000, round(counts[0])))


def _post_all(stack: Stack, posts: Sequence[Post], seconds: float, progress: Progress) -> None:
    began = time.monotonic()
    for number, post in enumerate(progress.track(posts, description="posting the day")):
        # Not a synchronisation: the day has a pace, as its crowds have to be seconds apart for who looks every second.
        time.sleep(max(0.0, began + seconds * number / len(posts) - time.monotonic()))
        stack.post(post.batch(time.time_ns() // 1_000_000))


async def _entries(bootstrap: str) -> list[Entry]:
    """Every record of the labeled topic, with what can be read of it without a key."""
    return [
        Entry(record.partition, record.offset, record.timestamp, len(record.value), *_readable(record.value))
        for record in await _all_records(bootstrap, LABELED)
    ]


def _readable(value: bytes) -> tuple[str, str, str]:
    try:
        datum: Any = decode(value, "events.labeled-value")
        return datum["voter"].hex(), datum["act"]["task"], datum["act"]["answer"]
    except (UnjoinError, LookupError, TypeError, AttributeError):
        return "", "", ""


async def _commits(bootstrap: str) -> list[Commit]:
    """Every commit of the labeled topic's offsets, by whatever group, in the order of time."""
    commits = []
    for record in await _all_records(bootstrap, OFFSETS):
        if record.key and record.value and (commit := commit_of(record.key, record.value)):
            commits.append(commit)
    return sorted(commits, key=lambda commit: (commit.at_ms, commit.offset))


def commit_of(key: bytes, value: bytes) -> Commit | None:
    """A record of `__consumer_offsets`; None for what is no commit of the labeled topic.

    Source: kafka/clients `OffsetCommitKey.json`, `OffsetCommitValue.json`, versions 0 to 4.
    """
    (version,) = struct.unpack_from(">h", key)
    if version > 1:
        return None  # what a group is, not where
    at = 2
    _, at = _text(key, at)
    topic, at = _text(key, at)
    (partition,) = struct.unpack_from(">i", key, at)
    if topic != LABELED:
        return None
    version, offset = struct.unpack_from(">hq", value)
    at = 10 + (4 if version >= 3 else 0)
    at = _compact_end(value, at) if version >= 4 else _text(value, at)[1]
    (at_ms,) = struct.unpack_from(">q", value, at)
    return Commit(partition, offset, at_ms)


def _text(data: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + size].decode(), at + 2 + size


def _compact_end(data: bytes, at: int) -> int:
    """Behind a compact string: its length and one as an unsigned varint, then so many bytes."""
    size = shift = 0
    while True:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return at + max(0, size - 1)


async def _all_records(bootstrap: str, topic: str) -> list[Any]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        while not all([await consumer.position(one) >= ends[one] for one in partitions]):
            for some in (await consumer.getmany(timeout_ms=500)).values():
                records += some
    finally:
        await consumer.stop()
    return sorted(records, key=lambda record: (record.partition, record.offset))


def _told(row: dict[str, Any]) -> Told:
    places = tuple(zip(row["ts"], row["xs"], row["ys"], strict=True))
    return Told(row["session"], float(row["at"]), int(row["strokes"]), places)


def _parts(stack: Stack) -> str:
    try:
        return f"readable, {len(stack.rows(PARTS_SQL))} parts"
    except RecordingError as error:
        return str(error)


def _day(
    posts: Sequence[Post],
    released: Sequence[Released],
    entries: list[Entry],
    commits: Sequence[Commit],
    scrapes: Sequence[tuple[float, int]],
    told: list[Told],
    keys: Sequence[tuple[bytes, bytes]],
) -> LoggedDay:
    """Answers came one after the other: the nth record by time is the nth of `posts`."""
    by_time = sorted(range(len(entries)), key=lambda place: (entries[place].appended_at_ms, place))
    post_of_row_id: dict[str, int] = {}
    voters: dict[str, str] = {}
    for number, post in enumerate(posts):
        for edge_key, epoch_key in keys:
            voter = voter_of(SITE, post.session, edge_key)
            voters[voter.hex()] = post.session
            post_of_row_id[str(row_id(voter, post.task, epoch_key))] = number
    order = sorted(released, key=lambda one: (one.arrived_at_ms, one.partition, one.offset))
    numbers = [post_of_row_id[one.row.row_id] for one in order]
    entry_of = [by_time[number] for number in numbers]
    rows = [Row(one.row.task, one.row.kind, one.row.answer) for one in order]
    is_readable = any(entry.voter for entry in entries)
    holdings = Holdings(entries, told, rows, _by_commit(commits, entries, entry_of), _by_scrape(scrapes, len(rows)))
    truth = Truth(voters if is_readable else {}, [posts[number].session for number in numbers], entry_of)
    seal = "readable" if is_readable else "sealed"
    return LoggedDay(f"the pipeline, labeled topic {seal}", holdings, truth)


def _by_commit(commits: Sequence[Commit], entries: Sequence[Entry], entry_of: Sequence[int]) -> list[Moment]:
    """Which released batch a commit is of, its tallies say; here it is simply told."""
    moments, begun = [], dict[int, int]()
    for commit in commits:
        first = begun.get(commit.partition, 0)
        if commit.offset > first:
            rows = tuple(
                row
                for row, entry in enumerate(entry_of)
                if entries[entry].partition == commit.partition and first <= entries[entry].offset < commit.offset
            )
            moments.append(Moment(commit.at_ms, commit.partition, commit.offset, rows))
            begun[commit.partition] = commit.offset
    return moments


def _by_scrape(scrapes: Sequence[tuple[float, int]], rows: int) -> list[Moment]:
    """Labels by the order in which they left, as many as the count rose by."""
    moments, before = [], 0
    for at_ms, shown in scrapes:
        count = min(shown, rows)
        if count > before:
            moments.append(Moment(at_ms, 0, -1, tuple(range(before, count))))
            before = count
    return moments
