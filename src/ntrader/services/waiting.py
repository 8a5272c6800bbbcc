"""Waiting: what is in the journal, as a user sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntrader.services.unfinished import UNFINISHED
from ntrader.storage.journal import EntryState, Waiting

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalStatus:
    """How many runs are in the journal.

    `with_result` and `without_result` are those whose process is gone: the next command saves them,
    the latter as failed. `unfinished` is other work that the next command settles. `elsewhere` are
    such of another database, by its place. `damaged` are the files of entries that cannot be read.
    """

    directory: Path
    with_result: int
    without_result: int
    running: int
    unfinished: int
    elsewhere: dict[str, int]
    damaged: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return {
            "directory": str(self.directory),
            "with_result": self.with_result,
            "without_result": self.without_result,
            "running": self.running,
            "unfinished": self.unfinished,
            "elsewhere": self.elsewhere,
            "damaged": [str(path) for path in self.damaged],
        }

    def facts(self) -> list[tuple[str, str]]:
        """Return the status as named facts."""
        counts = [
            (self.with_result, "with a result, which the next command saves"),
            (self.without_result, "without one, which the next command saves as failed"),
            (self.running, "running or just being saved"),
            (self.unfinished, "of interrupted work on files, which the next command settles"),
        ]
        counts += [(count, f"for {place}") for place, count in self.elsewhere.items()]
        said = [f"{count:,} {what}" for count, what in counts if count]
        facts = [("Journal", "; ".join(said) or "nothing waits")]
        return facts + [("Damaged entry", str(path)) for path in self.damaged]


def journal_status(workspace: Workspace) -> JournalStatus:
    """Look into the journal; nothing is changed.

    Raises:
        JournalError: it cannot be read.
    """
    found = workspace.journal.look()
    gone = [each for each in found if each.document is not None]
    here = [each for each in gone if _place(each) == workspace.place]
    runs = [each for each in here if UNFINISHED not in (each.document or {})]
    return JournalStatus(
        directory=workspace.journal.directory,
        with_result=_count(runs, EntryState.ENDED),
        without_result=_count(runs, EntryState.ABANDONED),
        running=_count(found, EntryState.RUNNING),
        unfinished=len(here) - len(runs),
        elsewhere=dict(Counter(_place(each) for each in gone if each not in here)),
        damaged=tuple(each.path for each in found if each.state is EntryState.DAMAGED),
    )


def _count(entries: Iterable[Waiting], state: EntryState) -> int:
    return sum(each.state is state for each in entries)


def _place(entry: Waiting) -> str:
    return str((entry.document or {}).get("database"))
