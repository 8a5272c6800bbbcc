"""Wording: how a sentence says how many there are."""


def counted(number: int, noun: str) -> str:
    """Return a number of things: `1 run`, `2,000 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
