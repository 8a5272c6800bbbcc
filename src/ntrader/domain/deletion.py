"""Deletions: what goes with a run, and what stays."""

from dataclasses import dataclass
from uuid import UUID

from ntrader.domain.artifacts import Artifact
from ntrader.domain.runs import BacktestRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """Runs that are to be deleted, or were, and what goes with them.

    `files` go with the runs. `reproductions` are runs that stay and lose the link to their
    original. `left` are files that could not be removed although their run is gone.
    """

    runs: tuple[BacktestRun, ...]
    files: tuple[Artifact, ...]
    reproductions: tuple[UUID, ...]
    done: bool = False
    left: tuple[Artifact, ...] = ()

    @property
    def bytes(self) -> int:
        """How much room the files take."""
        return sum(file.size_bytes for file in self.files)
