"""Carrying out an accepted run, in the process that a worker keeps for that.

There is no journal: the run is in the database since it was accepted, and a worker that ends leaves
it to the next one. What is done twice is saved once, because the run had its id before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader.domain.annotations import NOTHING_SAID, Annotations
from ntrader.domain.results import (
    BacktestFailure,
    BacktestMetadata,
    EnhancedBacktestResult,
    Outcome,
)
from ntrader.domain.runs import RunStatus
from ntrader.domain.submissions import RunProgress, SubmissionKind, SubmissionStatus
from ntrader.errors import DatabaseUnavailableError, NtraderError, UsageError
from ntrader.services.backtests import Plan, censored_outcome, pending_run, prepare
from ntrader.services.originals import load_original, plan_again
from ntrader.services.persistence import save_run
from ntrader.services.registered import is_registered
from ntrader.services.requests import RunRequest
from ntrader.services.run_files import write_run_files

if TYPE_CHECKING:
    from ntrader.domain.artifacts import Artifact
    from ntrader.domain.pending import PendingRun
    from ntrader.domain.strategies import StrategyRecord, StrategySpec
    from ntrader.services.workspace import Workspace

SERVICE = Path("service")
"""Where the snapshot says that the run's configuration came from."""

SAVE_SECONDS = 300.0
"""For which a result waits for a database that is away; then the run is done again."""

type Tell = Callable[[RunProgress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTask:
    """An accepted run as it goes to the process that carries it out.

    With `failure` the run is not begun: it is saved as failed, for that reason.
    """

    run_id: UUID
    kind: SubmissionKind
    request: dict[str, Any]
    strategy_id: UUID | None
    original: UUID | None
    failure: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON values."""
        return {
            "run_id": str(self.run_id),
            "kind": self.kind.value,
            "request": self.request,
            "strategy_id": None if self.strategy_id is None else str(self.strategy_id),
            "original": None if self.original is None else str(self.original),
            "failure": self.failure,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunTask:
        """Read what `to_dict` wrote."""
        strategy_id, original = values["strategy_id"], values["original"]
        return cls(
            run_id=UUID(values["run_id"]),
            kind=SubmissionKind(values["kind"]),
            request=values["request"],
            strategy_id=None if strategy_id is None else UUID(strategy_id),
            original=None if original is None else UUID(original),
            failure=values["failure"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How an accepted run ended: done or failed, and why."""

    status: SubmissionStatus
    error: str | None = None


async def carry_out(workspace: Workspace, task: RunTask, tell: Tell) -> Ended:
    """Run what was accepted and save what came out, unless it is saved already.

    Raises:
        DatabaseUnavailableError: the database was away for too long; nothing is saved.
    """
    saved = await saved_ending(workspace, task.run_id)
    if saved is not None:
        return saved
    try:
        plan = await _plan(workspace, task)
    except DatabaseUnavailableError:
        raise
    except NtraderError as error:
        # It cannot even begin: there is nothing that a run could be saved with.
        return Ended(
            status=SubmissionStatus.FAILED,
            error=error.with_hint,
        )
    pending = await _pending(workspace, task, plan)
    if task.failure is None:
        outcome = censored_outcome(workspace, _compute(plan, pending.metadata, tell))
    else:
        outcome = _failed(pending.metadata, task.failure)
    return await _saved(workspace, pending, outcome)


async def _saved(workspace: Workspace, pending: PendingRun, outcome: Outcome) -> Ended:
    files: tuple[Artifact, ...] = ()
    if isinstance(outcome, EnhancedBacktestResult):
        try:
            files = write_run_files(workspace.artifacts, outcome)
        except OSError as error:
            reason = f"The files of the run cannot be written: {error.strerror or error}."
            outcome = _failed(pending.metadata, reason)

    async def save() -> None:
        await save_run(await workspace.store(), pending, outcome, files)

    await _insistently(save)
    if isinstance(outcome, BacktestFailure):
        return Ended(status=SubmissionStatus.FAILED, error=outcome.message)
    return Ended(status=SubmissionStatus.DONE)


async def saved_ending(workspace: Workspace, run_id: UUID) -> Ended | None:
    """Return how a run ended that is saved; None where it is not."""
    store = await workspace.store()
    run = await store.runs.find(run_id)
    if run is None:
        return None
    if run.status is RunStatus.SUCCESS:
        return Ended(status=SubmissionStatus.DONE)
    return Ended(
        status=SubmissionStatus.FAILED, error=None if run.error is None else run.error.message
    )


async def _pending(workspace: Workspace, task: RunTask, plan: Plan) -> PendingRun:
    """Return the run as it begins; it will belong to the configuration that was asked for."""
    pending = pending_run(workspace, plan, task.original, _said(task), run_id=task.run_id)
    if task.strategy_id is None:
        return pending
    store = await workspace.store()
    record = await store.strategies.find_by_id(task.strategy_id)
    if record is None:
        return pending
    return replace(pending, strategy=_configured(plan.strategy.spec, record))


async def _plan(workspace: Workspace, task: RunTask) -> Plan:
    if task.kind is SubmissionKind.REPRODUCTION:
        original = await load_original(
            workspace, str(task.original), trust=False, needs_today=False
        )
        if not is_registered(original.snapshot.strategy_path):
            raise UsageError("The service runs registered strategies only.")
        return plan_again(workspace, original, original.pinned_code, original.dataset)
    request = RunRequest.model_validate(task.request["run"])
    if not is_registered(request.strategy):
        raise UsageError("The service runs registered strategies only.")
    return await prepare(workspace, request, config_path=SERVICE)


def _compute(plan: Plan, metadata: BacktestMetadata, tell: Tell) -> Outcome:
    from ntrader.engine.runner import run

    began = time.monotonic()
    equity: float | None = None

    def marked(value: float) -> None:
        nonlocal equity
        equity = round(value, 4)

    def progress(done: int, total: int) -> None:
        seconds = time.monotonic() - began
        rate = round(done / seconds, 1) if seconds > 0 else None
        tell(RunProgress(bars_done=done, bars_total=total, bars_per_second=rate, equity=equity))

    tell(RunProgress(bars_done=0, bars_total=len(plan.bars)))
    return run(
        plan.snapshot.config,
        plan.strategy,
        plan.bars,
        metadata,
        progress=progress,
        marked=marked,
    )


def _failed(metadata: BacktestMetadata, message: str) -> BacktestFailure:
    return BacktestFailure(
        metadata=metadata,
        message=message,
        traceback="",
        finished_at=datetime.now(UTC),
        duration_seconds=0.0,
        bars_done=0,
    )


def _said(task: RunTask) -> Annotations:
    tags, note = task.request.get("tags", ()), task.request.get("note")
    return Annotations.checked(tags, note) if tags or note else NOTHING_SAID


def _configured(spec: StrategySpec, record: StrategyRecord) -> StrategySpec:
    """Return the strategy as the configuration names it, with the configuration's own defaults."""
    return replace(
        spec,
        name=record.name,
        version=record.version,
        description=record.description,
        parameters=tuple(
            replace(each, default=record.params.get(each.name, each.default))
            for each in spec.parameters
        ),
    )


async def _insistently(save: Callable[[], Awaitable[None]]) -> None:
    """Save, and wait for a database that is away: the result exists nowhere else."""
    end = time.monotonic() + SAVE_SECONDS
    while True:
        try:
            await save()
        except DatabaseUnavailableError:
            if time.monotonic() > end:
                raise
        else:
            return
        await asyncio.sleep(1)
