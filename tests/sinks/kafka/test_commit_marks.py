"""What a commit is to a database: its own, a later state's, another's, the version before's, or anybody's."""

from hypothesis import example, given
from hypothesis import strategies as st

from sinks.kafka.block_planner import Intent, split_expired
from sinks.kafka.commit_marks import Commit, Kind, Meaning, marked, meaning_of, rewound, split_mark

ids = st.text("0123456789abcdef-", min_size=1, max_size=36)
offsets = st.integers(0, 2**40)
said = st.one_of(
    st.just(""),
    offsets.map(str),
    st.builds(lambda end, more, gone: f"{end} {end + more} expired={gone}", offsets, offsets, offsets),
)
unmarked = st.one_of(said, st.text(max_size=40)).filter(lambda text: split_mark(text)[0] is None)
moments = st.dictionaries(ids, st.sets(ids, min_size=1, max_size=3), min_size=1, max_size=2)


@given(ids, ids, said)
def test_mark_is_read_as_it_was_written_and_the_rest_with_it(database: str, moment: str, rest: str) -> None:
    assert split_mark(marked(database, moment, rest)) == ((database, moment), rest)


@given(ids, ids, said, offsets, offsets)
def test_version_before_reads_a_marked_commit_as_one_after_which_any_row_may_be_stored(
    database: str, moment: str, rest: str, offset: int, more: int
) -> None:
    """While an upgrade goes on, and after one that was taken back."""
    before, _ = split_expired(marked(database, moment, rest))
    assert Intent.of(offset, before, offset + more) == Intent(offset, offset + more)


@given(st.text(max_size=60))
@example("by=")
@example("by=/")
@example("by=database/")
@example("by=/moment 7")
@example("before by=database/moment")
def test_text_that_is_no_mark_is_kept_whole(text: str) -> None:
    """Whoever writes into the group may write anything."""
    mark, rest = split_mark(text)
    assert (mark is None and rest == text) or text.startswith("by=")


@given(moments, offsets, said, st.data())
def test_own_commit_is_gone_on_from_and_one_of_elsewhere_is_refused(
    known: dict[str, set[str]], offset: int, rest: str, data: st.DataObject
) -> None:
    """Another sink's moment of the same database is as good as one's own."""
    database = data.draw(st.sampled_from(sorted(known)))
    moment = data.draw(st.sampled_from(sorted(known[database])))
    own = meaning_of(Commit(offset, marked(database, moment, rest)), known, None)
    assert (own.kind, own.go_on) == (Kind.OWN, Commit(offset, rest))
    later = data.draw(ids.filter(lambda one: one not in known[database]))
    assert meaning_of(Commit(offset, marked(database, later, rest)), known, None).kind is Kind.AHEAD
    other = data.draw(ids.filter(lambda one: one not in known))
    assert meaning_of(Commit(offset, marked(other, moment, rest)), known, Commit(offset, rest)).kind is Kind.OTHER


@given(moments, offsets, unmarked, st.one_of(st.none(), st.builds(Commit, offsets, unmarked)))
def test_commit_without_a_mark_is_believed_only_where_it_was_adopted(
    known: dict[str, set[str]], offset: int, text: str, adopted: Commit | None
) -> None:
    """Below where the sink goes on, nothing was passed by anybody but a sink of this database."""
    meaning = meaning_of(Commit(offset, text), known, adopted)
    if adopted is None:
        assert meaning.go_on == Commit(None)
    else:
        assert meaning.go_on.offset == adopted.offset
    assert meaning.kind is (Kind.ADOPTED if adopted == Commit(offset, text) else Kind.FOREIGN)


@given(offsets, said, offsets, unmarked, st.integers(1, 1_000))
def test_after_a_foreign_commit_any_row_may_be_stored_and_what_was_counted_stays(
    adopted: int, was_said: str, offset: int, text: str, more: int
) -> None:
    """Rows above the adopted commit may be there: the version before went on after it was noted."""
    before = Commit(adopted, was_said)
    if Commit(offset, text) == before:
        return
    go_on = meaning_of(Commit(offset, text), {"database": {"moment"}}, before).go_on
    rest, expired = split_expired(go_on.metadata)
    assert expired == split_expired(was_said)[1]
    assert Intent.of(adopted, rest, adopted + more) == Intent(adopted, adopted + more)


def test_no_commit_is_no_commit() -> None:
    assert meaning_of(Commit(None), {"database": {"moment"}}, None).kind is Kind.NONE


@given(st.sampled_from(Kind), st.one_of(st.none(), offsets), offsets, offsets, st.one_of(st.none(), offsets), said)
def test_rewound_group_reads_again_what_the_database_may_lack(
    kind: Kind, believed: int | None, start: int, length: int, since: int | None, was_said: str
) -> None:
    """Never forward from a commit of this database, never out of the log; every row from there on is looked for."""
    end = start + length
    meaning = Meaning(kind, Commit(believed, was_said if believed is not None else ""))
    to = rewound(meaning, start, end, since)
    assert to.offset is not None
    assert start <= to.offset <= end
    if since is None:
        assert to.offset == start
    if since is not None and start <= since <= end:
        assert to.offset <= since
    if believed is not None and kind is not Kind.OTHER:
        assert to.offset <= max(start, believed)
        assert split_expired(to.metadata)[1] == split_expired(was_said)[1]
    rest, _ = split_expired(to.metadata)
    assert Intent.of(to.offset, rest, end) == Intent(to.offset, end)
