"""Submissions: runs that the service has accepted, from the queue to their end.

A run gets its `run_id` when it is accepted. It appears among the runs of the store only when it has
ended; until then its submission is all that there is of it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from ntrader.domain.identity import instant_text
from ntrader.domain.runs import BacktestRun, RunStatus

MAX_ATTEMPTS = 3
"""How often a run is begun before it counts as one that kills its workers."""

# What a submission's request has beside the run itself.
TRACE = "trace"
STRATEGY = "strategy"


class SubmissionKind(StrEnum):
    """What is done."""

    BACKTEST = "backtest"
    REPRODUCTION = "reproduction"


class SubmissionStatus(StrEnum):
    """Where it stands. `done` and `failed` runs are in the store, but see `Submission.error`."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self in FINAL


FINAL = frozenset({SubmissionStatus.DONE, SubmissionStatus.FAILED, SubmissionStatus.CANCELLED})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgress:
    """How far a run has come.

    `fraction` is within 0..1, `bars_per_second` an average since its start. `equity` is the account
    marked at the last bar's close, in the instrument's currency; None before the first.
    """

    bars_done: int
    bars_total: int
    bars_per_second: float | None = None
    equity: float | None = None

    @property
    def fraction(self) -> float:
        """The part of the bars that is done."""
        return self.bars_done / self.bars_total if self.bars_total else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the progress as JSON values."""
        return {
            "fraction": round(self.fraction, 6),
            "bars_done": self.bars_done,
            "bars_total": self.bars_total,
            "bars_per_second": self.bars_per_second,
            "equity": self.equity,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        names = ("bars_done", "bars_total", "bars_per_second", "equity")
        return cls(**{name: values[name] for name in names})


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSubmission:
    """A run as it is accepted.

    `request` is what a worker needs to carry it out. `strategy_id` and `dataset_id` are what the
    run will belong to, `original` the run that it reproduces. `request_id` is that of the HTTP
    request, and follows the run into the worker's log.
    """

    run_id: UUID
    kind: SubmissionKind
    request: dict[str, Any]
    strategy_id: UUID | None = None
    dataset_id: UUID | None = None
    original: UUID | None = None
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A submission as it is kept.

    `attempts` counts how often a worker has begun it and did not give it back. `error` is why it
    failed; a run that failed before it could begin (its data are gone, say) is told here alone.
    `version` grows with every change.
    """

    run_id: UUID
    kind: SubmissionKind
    status: SubmissionStatus
    request: dict[str, Any]
    strategy_id: UUID | None
    dataset_id: UUID | None
    original: UUID | None
    request_id: str | None
    attempts: int
    progress: RunProgress | None
    error: str | None
    worker: str | None
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    version: int

    @property
    def trace(self) -> dict[str, str]:
        """The context of the request that has submitted the run; empty without traces."""
        found: dict[str, str] = self.request.get(TRACE, {})
        return found

    @property
    def strategy(self) -> str:
        """The name of the registered strategy that is run."""
        backtest = self.request.get("run", self.request)
        return str(backtest.get(STRATEGY, "unknown"))


def submission_document(submission: Submission) -> dict[str, Any]:
    """Return the state of a run as one object."""
    return {
        "run_id": str(submission.run_id),
        "kind": submission.kind.value,
        "status": submission.status.value,
        "progress": None if submission.progress is None else submission.progress.to_dict(),
        "attempts": submission.attempts,
        "error": submission.error,
        "strategy_id": _text(submission.strategy_id),
        "dataset_id": _text(submission.dataset_id),
        "reproduced_from": _text(submission.original),
        "submitted_at": instant_text(submission.submitted_at),
        "started_at": _instant(submission.started_at),
        "finished_at": _instant(submission.finished_at),
        "version": submission.version,
    }


def state_of_run(run: BacktestRun) -> dict[str, Any]:
    """Return the state of a saved run that no service has accepted, such as a command's."""
    success = run.status is RunStatus.SUCCESS
    kind = SubmissionKind.BACKTEST if run.reproduced_from is None else SubmissionKind.REPRODUCTION
    return {
        "run_id": str(run.run_id),
        "kind": kind.value,
        "status": (SubmissionStatus.DONE if success else SubmissionStatus.FAILED).value,
        "progress": None,
        "attempts": 1,
        "error": None if run.error is None else run.error.message,
        "strategy_id": None if run.strategy is None else str(run.strategy.id),
        "dataset_id": None if run.dataset is None else str(run.dataset.id),
        "reproduced_from": _text(run.reproduced_from),
        "submitted_at": instant_text(run.created_at),
        "started_at": instant_text(run.created_at),
        "finished_at": instant_text(run.created_at),
        "version": 0,
    }


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _instant(value: datetime | None) -> str | None:
    return None if value is None else instant_text(value)
