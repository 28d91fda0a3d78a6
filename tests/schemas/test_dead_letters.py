"""When the share of dead letters is too large."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letters import ShareCap, too_many


def test_fifty_first_bad_record_of_the_last_hundred_is_one_too_many() -> None:
    """Fewer would halt a quiet topic; more would drain a busy one."""
    cap = ShareCap(0.5)
    for _ in range(50):
        cap.note(bad=True)
        assert not cap.exceeded
    cap.note(bad=True)
    assert cap.exceeded
    assert too_many(cap, "records of t-0", "cannot be read", "Look").startswith("51 of the last 100 records of t-0")


def test_share_of_one_is_no_cap() -> None:
    """Somebody looked, and wants all of it set aside."""
    cap = ShareCap(share_max=1.0)
    cap.note(bad=True, records=1_000_000)
    assert (cap.set_aside, cap.exceeded) == (100, False)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 150)), max_size=30), st.sampled_from([0.0, 0.5, 0.9]))
def test_what_is_counted_is_the_last_hundred(notes: list[tuple[bool, int]], share_max: float) -> None:
    """However records come, one by one or a block at a time."""
    cap, all_of_them = ShareCap(share_max), list[bool]()
    for bad, records in notes:
        cap.note(bad=bad, records=records)
        all_of_them += [bad] * records
        assert cap.set_aside == sum(all_of_them[-100:])
        assert cap.exceeded == (cap.set_aside > share_max * 100)
