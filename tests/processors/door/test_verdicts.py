"""Who is not human is known for the day, and in bounded memory."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.door.deidentify import rank, row_id, verdict_id
from processors.door.records import stored_verdict_of, verdict_key_of, verdict_value_of
from processors.door.verdicts import DAYS_KEPT, JudgedVoters, StoredVerdict, earlier_verdicts
from schemas.outcomes import DecodeError

DAY = datetime.date(2026, 11, 24)
NEXT = datetime.timedelta(days=1)


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


verdicts = st.builds(
    StoredVerdict,
    voter_id=st.integers(0, 9).map(name),
    day=st.sampled_from([DAY, DAY + NEXT]),
    human=st.booleans(),
    partition=st.integers(0, 1 << 20),
    offset=st.integers(0, 1 << 50),
)


@given(verdicts)
def test_stored_verdict_is_read_back(verdict: StoredVerdict) -> None:
    """What a crash leaves is what lies on the topic."""
    assert stored_verdict_of(verdict_value_of(verdict)) == verdict
    with pytest.raises(DecodeError):
        stored_verdict_of(verdict_value_of(verdict) + b"x")


@given(verdicts, verdicts)
def test_only_the_same_verdict_written_again_is_compacted(one: StoredVerdict, other: StoredVerdict) -> None:
    """Of two verdicts on one voter the earlier is needed by a replay that goes on between them."""
    place = [(verdict.voter_id, verdict.partition, verdict.offset) for verdict in (one, other)]
    assert (verdict_key_of(one) == verdict_key_of(other)) == (place[0] == place[1])


def test_stored_verdict_joins_neither_a_row_nor_a_voter() -> None:
    """Whoever holds the topic and the table of labels, but no key, has two unrelated random strings."""
    voter, key = b"v" * 32, b"k" * 32
    stored = verdict_value_of(StoredVerdict(verdict_id(voter, key), DAY, False, 0, 5))
    assert voter not in stored
    for task in ("", "t"):
        assert row_id(voter, task, key).bytes[:8] not in stored
        assert rank(voter, task, key) not in stored
    assert verdict_id(voter, b"other" * 6 + b"xx") != verdict_id(voter, key) != verdict_id(b"w" * 32, key)


@given(st.lists(verdicts), st.integers(0, 1 << 50))
def test_verdicts_of_other_partitions_and_behind_the_first_record_are_left_to_the_log(
    stored: list[StoredVerdict], first: int
) -> None:
    """One that lies behind does not apply to what lies before it."""
    for one in earlier_verdicts(stored, 3, first):
        assert (one.partition, one.offset < first) == (3, True)


def test_memory_is_bounded_by_forgetting_the_voter_that_was_judged_first() -> None:
    """The same ones, whether they were judged now or are read back."""
    one_by_one = JudgedVoters(voters_max=100)
    for number in range(150):
        assert one_by_one.change(name(number), DAY, human=False)
    read_back = JudgedVoters([StoredVerdict(name(n), DAY, False, 0, n) for n in reversed(range(150))], voters_max=100)
    for judged in (one_by_one, read_back):
        assert [judged.is_human(name(number), DAY) for number in range(150)] == [True] * 50 + [False] * 100


def test_days_of_which_no_label_can_come_any_more_are_forgotten() -> None:
    """A door that runs for a year remembers three days."""
    judged = JudgedVoters()
    for days in range(365):
        judged.change(name(days), DAY + days * NEXT, human=False)
    assert sum(judged.knows(DAY + days * NEXT) for days in range(365)) == DAYS_KEPT


def test_verdict_of_one_day_says_nothing_of_another() -> None:
    """A voter is a pseudonym of one day."""
    judged = JudgedVoters([StoredVerdict(name(1), DAY, False, 0, 0)])
    assert not judged.is_human(name(1), DAY)
    assert judged.is_human(name(1), DAY + NEXT)
