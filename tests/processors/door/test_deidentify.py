"""The door's two values."""

import datetime
import hashlib
import hmac
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.door.deidentify import deidentify, row_id, version
from schemas.events import IdentifiedLabel
from testkit.unmasked import unmasked

DAY = datetime.date(2026, 3, 4)
KEY = bytes(range(32))
OTHER_KEY = bytes(32)
VOTER = b"v" * 32


def label(
    voter: bytes = VOTER, task: str = "dogs-1", kind: str = "image_label", answer: str = "beagle"
) -> IdentifiedLabel:
    return IdentifiedLabel(voter=voter, day=DAY, kind=kind, task=task, answer=answer)


def test_repeated_answer_is_the_same_row_and_not_a_second_vote() -> None:
    """Clients resend and the door replays; both must replace themselves."""
    first, again, changed = (
        deidentify(label(answer=answer), KEY, unmasked) for answer in ("beagle", "beagle", "poodle")
    )
    assert first == again
    assert changed.row_id == first.row_id
    assert changed.version != first.version


def test_row_id_is_half_of_the_documented_hmac() -> None:
    """The framing is a contract: another one would turn every replayed label into a second vote."""
    framed = b"unjoin row_id 1\0" + b"\0\0\0\x20" + VOTER + b"\0\0\0\x06" + b"dogs-1"
    expected = hmac.new(KEY, framed, hashlib.sha256).digest()[:16]
    assert row_id(VOTER, "dogs-1", KEY) == uuid.UUID(bytes=expected)


@given(st.binary(min_size=1, max_size=40), st.text(max_size=20), st.integers(1, 39))
def test_moving_a_byte_from_voter_to_task_makes_another_row(voter: bytes, task: str, cut: int) -> None:
    """Without lengths, ("ab", "c") and ("a", "bc") would share a vote."""
    moved = voter[-1:]
    if moved.isascii():
        assert row_id(voter, task, KEY) != row_id(voter[:-1], moved.decode() + task, KEY)


def test_row_id_and_version_are_unrelated_and_die_with_their_key() -> None:
    """One key serves both; neither may be computed from the other, nor from another day's key."""
    here, there = deidentify(label(), KEY, unmasked), deidentify(label(), OTHER_KEY, unmasked)
    assert here.row_id != there.row_id
    assert here.version != there.version
    assert uuid.UUID(here.row_id).bytes[:8] != here.version.to_bytes(8, "big")


def test_equal_row_id_and_version_mean_an_equal_row() -> None:
    """A sink that finds both stored skips the row; it must not skip something else. So kind and mask count."""
    assert version(VOTER, "t", "image_label", "a", KEY) != version(VOTER, "t", "text_answer", "a", KEY)
    hidden = [deidentify(label(answer=answer), KEY, mask=lambda _: "[email]") for answer in ("a@b.cc", "d@e.ff")]
    assert hidden[0] == hidden[1]


def test_what_leaves_holds_neither_voter_nor_the_unmasked_answer() -> None:
    """The row is all that leaves."""
    row = deidentify(
        label(answer="me@example.org"), KEY, mask=lambda answer: answer.replace("me@example.org", "[email]")
    )
    shown = repr(row)
    assert "me@" not in shown
    assert VOTER.hex() not in shown.replace("-", "")
    assert (row.day, row.task, row.kind, row.answer) == (DAY, "dogs-1", "image_label", "[email]")


@pytest.mark.parametrize("kind", ["image_label", "audio_transcript", "text_answer"])
def test_answer_of_every_kind_is_masked(kind: str) -> None:
    """Each is a free string of a public key, whatever it is called."""
    assert deidentify(label(kind=kind, answer="me@example.org"), KEY, mask=lambda _: "[email]").answer == "[email]"


STYLES = (
    'it\'s a "beagle"', "it’s a “beagle”", "it\u2019s\ta «beagle» ", "it´s  a\u00a0„beagle“\n",
    "i\u200bt's a \"bea\u00adgle\"", "ｉｔ's a \"beagle\"\ufe0f", "\u2066it's a \"beagle\"\u2069",
)  # fmt: skip


@pytest.mark.parametrize("answer", STYLES)
def test_answers_that_differ_in_style_alone_are_one_row(answer: str) -> None:
    """Quote styles and invisible characters find a session's other answers; no bit of them leaves, nor of a version."""
    assert deidentify(label(answer=answer), KEY, unmasked) == deidentify(label(answer=STYLES[0]), KEY, unmasked)


def test_masker_sees_the_canonical_answer() -> None:
    """What hides a number from a pattern must be gone before patterns look."""
    seen: list[str] = []
    deidentify(label(answer=" me\u200b@example.org\t“hi” "), KEY, mask=lambda answer: seen.append(answer) or answer)
    assert seen == ['me@example.org "hi"']


def test_answer_of_nothing_visible_is_an_empty_vote() -> None:
    """Who sends only blanks has voted, as who sends nothing has; neither may be lost uncounted."""
    assert deidentify(label(answer="\u200b \t"), KEY) == deidentify(label(answer=""), KEY)


def test_record_held_over_the_upgrade_keeps_its_row() -> None:
    """The identity of a vote never depended on its answer, so what was stored in another form is replaced."""
    answer = "it’s\u200b a beagle"
    before = (str(row_id(VOTER, "dogs-1", KEY)), version(VOTER, "dogs-1", "image_label", answer, KEY))
    now = deidentify(label(answer=answer), KEY)
    assert (now.row_id, now.version) == (before[0], version(VOTER, "dogs-1", "image_label", "it's a beagle", KEY))
    assert now.version != before[1]
