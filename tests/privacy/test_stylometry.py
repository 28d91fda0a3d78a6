"""The way in which somebody writes: a canonical form takes away what nobody sees, and not what everybody can read."""

from random import Random

from attacks.stylometry import answers_of, figures


def test_canonical_text_names_fewer_writers_than_what_was_typed() -> None:
    """Quotes, blanks, hidden characters and decomposed letters are habits of bytes; words and capitals stay."""
    typed, stored = figures(answers_of(Random(1), workers=30, days=3, answers=8))
    assert typed.found.lower > 2 / 30, "an attack that is blind to habits proves nothing"
    assert stored.found.value < typed.found.value
