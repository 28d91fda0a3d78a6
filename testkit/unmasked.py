"""A mask that masks nothing, for tests and attacks in which answers have to be told apart."""


def unmasked(answer: str) -> str:
    """The answer as it is."""
    return answer
