"""What is written down of a request, and what not."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.subjects.erasures import Erased, ErasureError, State, decoded, erasure_of
from schemas.subjects.selectors import AccountSelector, SessionSelector, email_selector

ROWS = st.dictionaries(st.sampled_from(["personal", "labelers"]), st.integers(0, 5), max_size=2)


def request(reference: str = "T-1"):  # type: ignore[no-untyped-def]
    return erasure_of(email_selector("ann@a.test"), id="0" * 16, reference=reference, salt=b"s" * 32, now_ms=1)


def test_nothing_that_is_written_down_names_the_person() -> None:
    """Whoever reads the topic, a statement or a log learns that somebody asked."""
    assert b"ann" not in request().encoded()
    assert decoded(request().encoded()) == request()


@given(st.binary(max_size=200))
def test_any_record_is_a_request_or_says_that_it_is_none(value: bytes) -> None:
    """A record that somebody else wrote must not end a sink."""
    with suppress(ErasureError):
        decoded(value)


@pytest.mark.parametrize("reference", ["x" * 129, "a\nb", "\x1b[2J", "\ud800"])
def test_reference_that_cannot_be_shown_is_refused(reference: str) -> None:
    with pytest.raises(ErasureError, match="reference"):
        request(reference)


@given(st.lists(ROWS, max_size=6))
def test_every_row_counts_once_however_often_the_count_is_repeated(looks: list[dict[str, int]]) -> None:
    """A crash between a count and its deletion makes the next sink count again."""
    one = request()
    gone, before = 0, dict[str, int]()
    for rows in looks:
        one = one.counted(rows).counted(rows)
        gone += sum(max(0, count - rows.get(table, 0)) for table, count in before.items())
        before = rows
    assert sum(one.deleted.values()) == gone


def test_person_is_known_by_any_salt_until_they_are_forgotten() -> None:
    """Two operators who began at the same time made two salts."""
    ann = request()
    bob = erasure_of(SessionSelector("dev", "s-1"), id="1" * 16, reference="", salt=b"t" * 32, now_ms=1)
    erased = Erased([ann, bob])
    assert erased
    assert erased.covers([SessionSelector("dev", "s-1")])
    assert erased.covers([AccountSelector("ann@a.test"), email_selector("Ann@A.test")])
    assert not erased.covers([AccountSelector("ann@a.test"), SessionSelector("dev", "s-2"), email_selector("s-1@a")])
    assert not Erased([ann.reached(State.FORGOTTEN, 9, digest="", salt="")])
