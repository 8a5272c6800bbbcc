"""Tags and notes: what a user says of a run, kept beside it."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ntrader.errors import UsageError

MAX_TAG = 64
MAX_NOTE = 10_000

_KEPT_CONTROLS = "\n\t"


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is said of one run."""

    tags: tuple[str, ...] = ()
    note: str | None = None

    @classmethod
    def checked(cls, tags: Iterable[str], note: str | None) -> Self:
        """Return what a user says of a run.

        Raises:
            UsageError: a tag or the note is not valid.
        """
        return cls(checked_tags(tags), None if note is None else checked_note(note))

    def __bool__(self) -> bool:
        return bool(self.tags or self.note)


NOTHING_SAID = Annotations()


def checked_tags(given: Iterable[str]) -> tuple[str, ...]:
    """Return tags in one spelling, each once, sorted.

    Raises:
        UsageError: one is empty, too long, or has white space or what is not printable.
    """
    return tuple(sorted({checked_tag(tag) for tag in given}))


def checked_tag(given: str) -> str:
    """Return a tag in one spelling; errors as for `checked_tags`."""
    tag = unicodedata.normalize("NFC", given)
    if not 1 <= len(tag) <= MAX_TAG:
        raise UsageError(
            f"A tag has 1 to {MAX_TAG} characters, not {len(tag):,}.",
            hint="`ntrader note` takes longer text.",
        )
    if " " in tag or not tag.isprintable():
        raise UsageError(
            f"{given!r} is not a tag.", hint="A tag is one word of printable characters."
        )
    return tag


def checked_note(given: str) -> str:
    """Return a note without the white space around it, its lines ended by a line feed.

    Raises:
        UsageError: it is empty or too long, or has control characters.
    """
    note = unicodedata.normalize("NFC", given).replace("\r\n", "\n").strip()
    if not note:
        raise UsageError("The note is empty.", hint="`ntrader note RUN --clear` removes a note.")
    if len(note) > MAX_NOTE:
        raise UsageError(
            f"The note has {len(note):,} characters.", hint=f"At most {MAX_NOTE:,} are kept."
        )
    for char in note:
        # Cs: half of a surrogate pair, which is how bytes arrive that are no text.
        if unicodedata.category(char) in ("Cc", "Cs") and char not in _KEPT_CONTROLS:
            raise UsageError(
                f"The note has a character that is no text: U+{ord(char):04X}.",
                hint="Lines and tabs are fine; other control characters are not.",
            )
    return note
