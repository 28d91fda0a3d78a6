"""The finder of names: the real model where the extra `names` is installed, and what is said where it is not."""

import sys
from importlib.util import find_spec

import pytest

from unjoin import person_names
from unjoin.person_names import NameFinder, NamesUnavailable

installed = pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec(person_names.PACKAGE) is None,
    reason="the extra `names` is not installed (requirements/names.lock)",
)


@installed
@pytest.mark.parametrize(
    "answer", ["my name is Anna Petrova", "ask John Miller about the parcel", "signed, Søren", "I think it's maria"]
)
def test_answer_with_a_name_is_found(answer: str) -> None:
    """With or without capitals, anywhere in the sentence."""
    assert NameFinder().names_a_person(answer)


@installed
@pytest.mark.parametrize("answer", ["", " ", "a brown dog near a tree", "the sign says no parking", "stop", "犬"])
def test_answer_without_a_name_is_not(answer: str) -> None:
    """Else nothing would be left to train on."""
    assert not NameFinder().names_a_person(answer)


@installed
@pytest.mark.parametrize("filler", ["a brown dog, ", "犬", "가", "5 "])
def test_name_at_the_end_of_a_long_answer_is_found(filler: str) -> None:
    """The model sees 512 tokens at a time; an answer may be longer, and a letter several tokens."""
    assert NameFinder().names_a_person(filler * (4_000 // len(filler.encode())) + ", signed by Anna Petrova")


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional part that is missing is a choice, and no traceback."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NamesUnavailable, match=r"names\.lock"):
        NameFinder()
