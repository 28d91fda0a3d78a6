"""Lists on a command line, with commas between their parts."""


def numbers(text: str) -> list[int]:
    """1,10 → [1, 10]"""
    return [int(part) for part in text.split(",")]


def words(text: str) -> list[str]:
    """small,realistic → ["small", "realistic"]"""
    return text.split(",")
