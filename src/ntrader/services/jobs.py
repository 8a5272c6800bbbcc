"""Runs over the service: accepting, following, cancelling and forgetting them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader import tracing
from ntrader.domain.annotations import Annotations
from ntrader.domain.runs import BacktestRun
from ntrader.domain.submissions import (
    STRATEGY,
    TRACE,
    NewSubmission,
    Submission,
    SubmissionKind,
    SubmissionStatus,
    state_of_run,
    submission_document,
)
from ntrader.errors import ConflictError, NotFoundError, UsageError
from ntrader.services.refusals import about
from ntrader.services.registered import definition_of, get_strategy, is_registered
from ntrader.services.requests import RunRequest, snapshot_of
from ntrader.storage.jobs import SubmissionRepository
from ntrader.storage.jobs_queue import JobQueue
from ntrader.storage.jobs_schema import ensure_queue

if TYPE_CHECKING:
    from ntrader.domain.datasets import Dataset
    from ntrader.services.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Jobs:
    """A workspace together with the runs that its service has accepted."""

    workspace: Workspace
    submissions: SubmissionRepository


@dataclass(frozen=True, kw_only=True, slots=True)
class BacktestOrder:
    """A backtest as the service is asked for it; `options` are those of `RunRequest`."""

    run_id: UUID
    dataset_id: UUID
    strategy_id: UUID
    parameters: Mapping[str, Any]
    options: Mapping[str, Any]
    tags: Sequence[str] = ()
    note: str | None = None
    request_id: str | None = None


async def open_jobs(workspace: Workspace) -> Jobs:
    """Open the queue of a workspace; its schema is made where it is missing.

    Raises:
        DatabaseUnavailableError: the database cannot be reached.
        DatabaseError: the user of the database URL may not make the queue's schema.
    """
    database = (await workspace.store()).database
    queue = JobQueue(await ensure_queue(database))
    return Jobs(workspace, SubmissionRepository(database, queue))


async def submit_backtest(jobs: Jobs, order: BacktestOrder) -> Submission:
    """Accept a backtest: everything that can be checked without its bars is checked.

    Raises:
        RefusedFieldsError: there is no such dataset or strategy, the strategy is none that the
            service runs, a parameter is not valid, or the dataset has no bars in the period.
    """
    store = await jobs.workspace.store()
    with about("strategy_id"):
        strategy = await get_strategy(jobs.workspace, order.strategy_id)
        definition = definition_of(strategy)
    with about("dataset_id"):
        dataset = await store.datasets.get(order.dataset_id)
    with about("parameters"):
        parameters = definition.check({**strategy.params, **order.parameters})
    request = RunRequest.model_validate(
        {
            **order.options,
            "strategy": definition.spec.name,
            "parameters": parameters,
            "dataset": str(dataset.id),
        }
    )
    with about("start"):
        _refuse_other_period(request, dataset)
    with about("tags"):
        said = Annotations.checked(order.tags, order.note)
    return await jobs.submissions.add(
        NewSubmission(
            run_id=order.run_id,
            kind=SubmissionKind.BACKTEST,
            request={
                "run": request.model_dump(mode="json"),
                "tags": list(said.tags),
                "note": said.note,
                TRACE: tracing.carrier(),
            },
            strategy_id=strategy.id,
            dataset_id=dataset.id,
            request_id=order.request_id,
        )
    )


def _refuse_other_period(request: RunRequest, dataset: Dataset) -> None:
    begins_late = request.start is not None and request.start >= dataset.end
    ends_early = request.end is not None and request.end <= dataset.start
    if begins_late or ends_early:
        raise UsageError(
            f"Dataset {dataset.name} has no bars in that period.",
            hint=f"It runs from {dataset.start:%Y-%m-%d} to {dataset.last_moment:%Y-%m-%d}.",
        )


async def submit_reproduction(
    jobs: Jobs, original: UUID, *, run_id: UUID, request_id: str | None = None
) -> Submission:
    """Accept that a saved run is run again from its snapshot.

    Raises:
        NotFoundError: there is no such run.
        UsageError: its strategy is none that the service runs, or it is no backtest.
    """
    store = await jobs.workspace.store()
    run = await store.runs.get(original)
    snapshot = snapshot_of(run)
    if run.mode != "backtest":
        raise UsageError(f"A run in mode {run.mode} cannot be run again: it is no backtest.")
    if not is_registered(snapshot.strategy_path):
        raise UsageError(
            f"The strategy of run {run.run_id} is not registered with this service.",
            hint="Run it again with `ntrader reproduce`, where its file is.",
        )
    configuration = run.configuration
    return await jobs.submissions.add(
        NewSubmission(
            run_id=run_id,
            kind=SubmissionKind.REPRODUCTION,
            request={STRATEGY: run.strategy_name, TRACE: tracing.carrier()},
            strategy_id=None if configuration is None else configuration.id,
            dataset_id=None if run.dataset is None else run.dataset.id,
            original=original,
            request_id=request_id,
        )
    )


async def cancel_run(jobs: Jobs, run_id: UUID) -> Submission:
    """Cancel an accepted run; one that is cancelled already stays so.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it has ended.
    """
    changed = await jobs.submissions.cancel(run_id)
    if changed is not None:
        return changed
    found = await jobs.submissions.find(run_id)
    if found is not None and found.status is SubmissionStatus.CANCELLED:
        return found
    if found is None:
        store = await jobs.workspace.store()
        await store.runs.get(run_id)
    raise ConflictError(f"Run {run_id} has ended: there is nothing to cancel.")


async def run_state(jobs: Jobs, run_id: UUID) -> dict[str, Any]:
    """Return where a run stands, whoever began it.

    Raises:
        NotFoundError: there is no such run.
    """
    submission = await jobs.submissions.find(run_id)
    store = await jobs.workspace.store()
    if submission is None:
        return state_of_run(await store.runs.get(run_id))
    if submission.status is SubmissionStatus.DONE:
        # A command may have deleted it, and commands know nothing of submissions.
        await store.runs.get(run_id)
    return submission_document(submission)


async def saved_run(jobs: Jobs, run_id: UUID) -> BacktestRun:
    """Return a run that has ended and is saved.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it is accepted and has not ended, or has ended without a result.
    """
    store = await jobs.workspace.store()
    run = await store.runs.find(run_id)
    if run is not None:
        return run
    submission = await jobs.submissions.find(run_id)
    if submission is None:
        raise NotFoundError(f"There is no run {run_id}.")
    raise ConflictError(
        f"Run {run_id} is {submission.status.value}: it has no result.",
        hint=submission.error or "Follow its state until it is done.",
    )


async def list_submissions(
    jobs: Jobs,
    statuses: Sequence[SubmissionStatus],
    *,
    limit: int,
    after: tuple[datetime, UUID] | None,
) -> Sequence[Submission]:
    """Return accepted runs, newest first."""
    return await jobs.submissions.page(statuses, limit=limit, after=after)


async def forget_run(jobs: Jobs, run_id: UUID) -> None:
    """Delete a run that has ended with all that belongs to it.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it has not ended.
    """
    from ntrader.services.deletion import delete_runs, plan_deletion

    submission = await jobs.submissions.find(run_id)
    if submission is not None and not submission.status.is_final:
        raise ConflictError(
            f"Run {run_id} is {submission.status.value}.", hint="Cancel it before you delete it."
        )
    store = await jobs.workspace.store()
    if await store.runs.find(run_id) is not None:
        await delete_runs(jobs.workspace, await plan_deletion(jobs.workspace, [str(run_id)]))
    elif submission is None:
        raise NotFoundError(f"There is no run {run_id}.")
    await jobs.submissions.delete(run_id)
