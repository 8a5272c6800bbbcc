"""Which databases have their files in a home.

One home may serve several, as where DATABASE_URL is set now and then. A file that one of them knows
nothing of may be another's.
"""

from contextlib import suppress
from pathlib import Path

_FILE = "databases"


def remember(home: Path, place: str) -> None:
    """Note that the database at `place` uses this home; where that cannot be written, do not."""
    with suppress(OSError):
        if place not in known(home):
            home.mkdir(parents=True, exist_ok=True)
            with (home / _FILE).open("a", encoding="utf-8") as file:
                file.write(f"{place}\n")


def known(home: Path) -> frozenset[str]:
    """Return the databases that have used this home."""
    try:
        return frozenset((home / _FILE).read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return frozenset()
