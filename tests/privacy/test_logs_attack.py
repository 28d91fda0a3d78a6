"""Who holds all logs and no key: the attacks see what is left open, and nothing where it is closed.

In process and small, so that it is quick; `python -m attacks.logs` does it at full size, and on the whole pipeline.
"""

import struct
from functools import cache
from random import Random

import numpy as np
import pytest

from attacks.logs.evidence import Attacker, Outcome, marginals
from attacks.logs.stack_day import Commit, commit_of
from attacks.logs.traffic import HOUR_MS, Telling, posts_of_day
from attacks.logs.virtual_day import seen_every, virtual_day
from schemas.topics import LABELED

VOTERS, READING, TIMES, INTERVALS, CONTENT, SCRAPES = range(6)


@cache
def attacked(telling: Telling, *, is_sealed: bool) -> list[Outcome]:
    rng = Random(1)
    posts = posts_of_day(rng, telling, sessions=300, answers=12, span_ms=HOUR_MS / 3, tasks=2_000)
    return Attacker(virtual_day(posts, rng, crowd_target=20, is_sealed=is_sealed)).outcomes()


def test_times_of_requests_join_every_voter_that_can_be_read() -> None:
    """The positive control of the seal: without it, the day's voters are sessions by another name."""
    outcomes = attacked(Telling.PLAIN, is_sealed=False)
    assert outcomes[VOTERS].found.value > 0.99
    assert outcomes[READING].found.value > 0.9


def test_sealed_topic_joins_no_voter_and_its_ranges_tell_no_more_than_who_is_in_a_crowd() -> None:
    """What times and commits leave is the watcher's knowledge: the busiest member is the best guess."""
    outcomes = attacked(Telling.PLAIN, is_sealed=True)
    assert outcomes[VOTERS].found.successes == 0
    for number in (READING, TIMES):
        assert outcomes[number].found.value <= outcomes[number].bar
        assert not outcomes[number].leaks


@pytest.mark.parametrize("number", [CONTENT, SCRAPES])
def test_every_stroke_and_every_rest_tell_which_answer_is_whose(number: int) -> None:
    """The positive control of the reductions: an attack that did not see this would prove nothing."""
    assert attacked(Telling.PLAIN, is_sealed=True)[number].found.lower > 0.25


def test_requests_of_their_own_do_not_hide_what_signals_say() -> None:
    """The positive control of what follows: the attack looks through everybody whose signals came near an answer."""
    outcomes = attacked(Telling.APART, is_sealed=True)
    assert outcomes[CONTENT].found.lower > outcomes[TIMES].found.upper


@pytest.mark.parametrize("number", [TIMES, INTERVALS, CONTENT, SCRAPES])
def test_what_the_sdk_sends_tells_no_more_than_who_is_in_a_crowd(number: int) -> None:
    """Signals in requests of their own, of movements without place and time: no answer is near any of them."""
    outcome = attacked(Telling.REDUCED, is_sealed=True)[number]
    assert outcome.found.value <= outcome.bar
    assert not outcome.leaks


def test_signals_that_leave_with_each_answer_tell_by_their_times_alone() -> None:
    """Where every answer ends its page, intervals between requests are the limit; docs/privacy.md has the figures."""
    times, intervals, content = (
        attacked(Telling.PAGED, is_sealed=True)[number].found.value for number in (TIMES, INTERVALS, CONTENT)
    )
    assert times < intervals
    assert content < intervals + 0.03


def test_commits_of_the_labeled_topic_are_read_and_others_are_not() -> None:
    """As brokers write them: version 1 of the key, 3 and 4 of the value, whose text is a compact one."""

    def text(value: str) -> bytes:
        return struct.pack(">h", len(value)) + value.encode()

    value = struct.pack(">hqi", 3, 77, -1) + text('{"released": 5}') + struct.pack(">q", 1_790_000_000_123)
    key = struct.pack(">h", 1) + text("unjoin-door") + text(LABELED) + struct.pack(">i", 0)
    assert commit_of(key, value) == Commit(0, 77, 1_790_000_000_123)
    compact = b"\xad\x01" + b"x" * 172  # of 172 bytes, and one, in two bytes
    newer = struct.pack(">hqi", 4, 78, -1) + compact + struct.pack(">q", 1_790_000_000_124) + b"\0"
    assert commit_of(key, newer) == Commit(0, 78, 1_790_000_000_124)
    other = struct.pack(">h", 1) + text("unjoin-sink") + text("events.signals") + struct.pack(">i", 0)
    assert commit_of(other, value) is None
    assert commit_of(struct.pack(">h", 2) + text("unjoin-door"), value) is None


def test_who_looks_seldom_sees_what_left_in_between_at_once() -> None:
    """So are counts that change at whole minutes."""
    rng = Random(1)
    posts = posts_of_day(rng, Telling.PLAIN, sessions=100, answers=12, span_ms=HOUR_MS / 6, tasks=500)
    left = virtual_day(posts, rng, crowd_target=20, is_sealed=True).holdings.committed
    seen = seen_every(60_000, left)
    assert len(seen) < len(left)
    assert sorted(row for moment in seen for row in moment.rows) == sorted(
        row for moment in left for row in moment.rows
    )


def test_no_two_labels_are_taken_for_one_record() -> None:
    """Two labels that both look like one record: the one that looks like nothing else gets it."""
    odds = marginals(np.log(np.array([[0.9, 0.9], [0.99, 0.01]])))
    assert odds[1, 0] > 0.8
    assert odds[0, 1] > 0.8
