"""What a user writes to name a run."""

import re
from dataclasses import dataclass
from uuid import UUID

from ntrader.errors import UsageError

SHORTEST_PREFIX = 4

_NEWEST = re.compile(r"@(?:~([0-9]{1,18}))?")
_DASHES_AFTER = (8, 12, 16, 20)


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest run, or the one that is `back` runs older."""

    back: int


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of an id, as the first and the last id that begin so."""

    first: UUID
    last: UUID

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole id."""
        return self.first == self.last


def parse_reference(text: str) -> Newest | Prefix:
    """Read `@`, `@~N`, an id, or at least the first four characters of one.

    Raises:
        UsageError: it is neither.
    """
    text = text.strip()
    if match := _NEWEST.fullmatch(text):
        return Newest(int(match[1] or 0))
    prefix = parse_prefix(text)
    if prefix is None:
        raise UsageError(f"{text!r} does not name a run.", hint=_FORMS)
    return prefix


def parse_prefix(text: str, *, shortest: int = SHORTEST_PREFIX) -> Prefix | None:
    """Read an id or the beginning of one, with or without its dashes; None if it is neither."""
    digits = text.lower()
    if "-" in digits:
        digits = digits.replace("-", "")
        if not _dashed(digits).startswith(text.lower()):
            return None
    if not re.fullmatch(f"[0-9a-f]{{{shortest},32}}", digits):
        return None
    return Prefix(UUID(hex=digits.ljust(32, "0")), UUID(hex=digits.ljust(32, "f")))


def _dashed(digits: str) -> str:
    return "".join(
        f"{digit}-" if place in _DASHES_AFTER else digit
        for place, digit in enumerate(digits, start=1)
    )


_FORMS = (
    f"Give an id, at least its first {SHORTEST_PREFIX} characters, @ for the newest run, "
    "or @~1 for the one before it."
)
