"""Integrity: what a check of the whole store looked at, and what it found wrong."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

MOST_LISTED = 10_000
"""How many problems a report names; it counts all of them."""


class ProblemKind(StrEnum):
    """What is wrong."""

    FILE_MISSING = "file_missing"
    FILE_ALTERED = "file_altered"
    FILE_WITHOUT_ROW = "file_without_row"
    SNAPSHOT = "snapshot"
    FINGERPRINT = "fingerprint"
    RESULT_DIGEST = "result_digest"
    METRICS = "metrics"
    DATASET_MISSING = "dataset_missing"
    DATASET_ALTERED = "dataset_altered"
    DATASET_WITHOUT_ROW = "dataset_without_row"
    SOURCE_ALTERED = "source_altered"
    JOURNAL = "journal"


_ANSWER_AGAIN = "`ntrader reproduce RUN` gives the answer again, as a run of its own."
_CHANGED_ROW = (
    "Something changed the database beside ntrader: restore a dump, or delete the run "
    "with `ntrader delete`."
)
_IMPORT_AGAIN = "Import the original file again with `ntrader data import`: it replaces the data."
_SET_ASIDE = "`ntrader db check --repair` sets it aside."

HINTS: dict[ProblemKind, str] = {
    ProblemKind.FILE_MISSING: _ANSWER_AGAIN,
    ProblemKind.FILE_ALTERED: _ANSWER_AGAIN,
    ProblemKind.FILE_WITHOUT_ROW: _SET_ASIDE,
    ProblemKind.SNAPSHOT: _CHANGED_ROW,
    ProblemKind.FINGERPRINT: _CHANGED_ROW,
    ProblemKind.RESULT_DIGEST: _CHANGED_ROW,
    ProblemKind.METRICS: _CHANGED_ROW,
    ProblemKind.DATASET_MISSING: _IMPORT_AGAIN,
    ProblemKind.DATASET_ALTERED: _IMPORT_AGAIN,
    ProblemKind.DATASET_WITHOUT_ROW: _SET_ASIDE,
    ProblemKind.SOURCE_ALTERED: "Restore a dump: a run of this code cannot be reproduced any more.",
    ProblemKind.JOURNAL: "Every command tries to save what is in the journal, and says why it "
    "cannot. `ntrader reproduce` or `ntrader run` gives the answer again; then remove the file.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong; `file` is relative to ntrader's home."""

    kind: ProblemKind
    what: str
    run_id: UUID | None = None
    file: str | None = None

    @property
    def hint(self) -> str:
        """What to do about it."""
        return HINTS[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as JSON values."""
        return {
            "kind": self.kind.value,
            "run_id": None if self.run_id is None else str(self.run_id),
            "file": self.file,
            "message": self.what,
            "hint": self.hint,
        }


@dataclass(slots=True)
class CheckReport:
    """What was looked at, what is wrong, and what a repair did.

    What is no problem is counted too. `recent_files` have no row and may be of a run that is being
    saved. `other_files` have none here, but may be of another database that uses this home.
    `absent_datasets` were never on this machine: their runs were imported without data. `running`
    and `waiting` are entries of the journal: of living processes, and for other databases.
    """

    runs: int = 0
    files: int = 0
    datasets: int = 0
    sources: int = 0
    recent_files: int = 0
    other_files: int = 0
    absent_datasets: int = 0
    running: int = 0
    waiting: int = 0
    counts: Counter[ProblemKind] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Count a problem, and keep it where the list is not too long already."""
        self.counts[problem.kind] += 1
        if len(self.problems) < MOST_LISTED:
            self.problems.append(problem)

    @property
    def total(self) -> int:
        """How many problems there are."""
        return self.counts.total()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return self.total == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "clean": self.clean,
            "checked": {
                "runs": self.runs,
                "files": self.files,
                "datasets": self.datasets,
                "sources": self.sources,
            },
            "recent_files": self.recent_files,
            "other_files": self.other_files,
            "absent_datasets": self.absent_datasets,
            "journal": {"running": self.running, "waiting_for_other_databases": self.waiting},
            "counts": {kind.value: count for kind, count in sorted(self.counts.items())},
            "problems": [problem.to_dict() for problem in self.problems],
            "truncated": self.total > len(self.problems),
            "repairs": self.repairs,
        }
