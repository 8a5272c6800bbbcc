"""Backtests: run what a user asks for, and save what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from ntrader.domain.annotations import NOTHING_SAID, Annotations
from ntrader.domain.pending import PendingRun
from ntrader.domain.results import (
    BacktestFailure,
    BacktestMetadata,
    EnhancedBacktestResult,
    Outcome,
)
from ntrader.domain.runs import BacktestRun, RunDetails, RunStatus
from ntrader.domain.snapshot import ConfigSnapshot, InstrumentConfig, RunConfig, StrategyConfig
from ntrader.errors import NtraderError, UsageError
from ntrader.services.datasets import dataset_for_run
from ntrader.services.environment import ENGINE, engine_version, environment
from ntrader.services.history import read_run
from ntrader.services.persistence import Kept, begin_run, keep_outcome
from ntrader.services.requests import COMMAND_LINE, RunRequest
from ntrader.services.workspace import Workspace

if TYPE_CHECKING:
    from ntrader.domain.artifacts import Artifact
    from ntrader.domain.datasets import Dataset
    from ntrader.engine.catalog import StoredBars
    from ntrader.engine.strategies.definition import StrategyDefinition

type Progress = Callable[[int, int], None]

DUPLICATES_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What running a backtest gave.

    `duplicates` are earlier runs of the same question, newest first. `save_error` says why the run
    is not saved although it should be, `waiting` that it waits in the journal for the next command
    that reaches the database. `reused` marks an earlier run that is shown in place of
    a new one, `interruption` says when a signal ended the run.
    """

    details: RunDetails
    duplicates: tuple[BacktestRun, ...]
    saved: bool
    save_error: NtraderError | None = None
    waiting: bool = False
    reused: bool = False
    interruption: str | None = None

    @property
    def contradictions(self) -> tuple[BacktestRun, ...]:
        """The duplicates that gave another answer: one question has one answer, so that is a fault.

        Failed runs gave none.
        """
        digest = self.details.run.result_digest
        return tuple(
            run
            for run in self.duplicates
            if digest is not None and run.result_digest not in (None, digest)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A backtest that is ready to run: everything is found and checked."""

    strategy: StrategyDefinition
    dataset: Dataset
    bars: StoredBars
    snapshot: ConfigSnapshot


async def run_backtest(
    workspace: Workspace,
    request: RunRequest,
    *,
    config_path: Path | None = None,
    save: bool = True,
    reuse: bool = False,
    annotations: Annotations = NOTHING_SAID,
    progress: Progress | None = None,
) -> RunReport:
    """Run a backtest and save it, a failed one too, with what is said of it.

    With `reuse`, an earlier successful run of the same question is returned instead of a new one,
    if the data still are what they were.

    Raises:
        InvalidConfigError: a parameter or value is not valid.
        NotFoundError: the strategy or the data are not there.
        UsageError: the period holds no bars, or the data are ambiguous.
        DatabaseUnavailableError: the database cannot be reached; nothing was run.
        JournalError: the run cannot be written down; nothing was run.
    """
    plan = await prepare(workspace, request, config_path=config_path)
    if reuse:
        earlier = await _earlier_answer(workspace, plan, annotations)
        if earlier is not None:
            return earlier
    return await execute(workspace, plan, save=save, annotations=annotations, progress=progress)


async def _earlier_answer(
    workspace: Workspace, plan: Plan, annotations: Annotations
) -> RunReport | None:
    """Return the newest successful run of the same question, if its data verify."""
    store = await workspace.store()
    runs = await store.runs.same_question(_fingerprint(plan), limit=DUPLICATES_SHOWN)
    answers = [run for run in runs if run.status is RunStatus.SUCCESS]
    content_hash = plan.dataset.content_hash
    if not answers or workspace.catalog.verify(content_hash) != content_hash:
        return None
    newest = answers[0]
    await store.annotations.add(newest.run_id, annotations)
    return RunReport(
        details=await read_run(workspace, str(newest.run_id)),
        duplicates=tuple(run for run in runs if run is not newest),
        saved=True,
        reused=True,
    )


async def execute(
    workspace: Workspace,
    plan: Plan,
    *,
    save: bool = True,
    progress: Progress | None = None,
    reproduced_from: UUID | None = None,
    annotations: Annotations = NOTHING_SAID,
) -> RunReport:
    """Run a plan and save what came out, linked to the run that it reproduces.

    Raises:
        DatabaseError: the run could not be saved, for want of rights; nothing was run.
        DatabaseUnavailableError: the database cannot be reached; nothing was run.
        JournalError: the run cannot be written down; nothing was run.
    """
    from ntrader.engine.loading import load_engine

    load_engine()
    from ntrader.engine.runner import run
    from ntrader.storage.rights import require_saving

    pending = pending_run(workspace, plan, reproduced_from, annotations)
    metadata = pending.metadata
    store = await workspace.store()
    if save:
        await require_saving(store.database)
    duplicates = await store.runs.same_question(metadata.fingerprint, limit=DUPLICATES_SHOWN)

    def compute() -> Outcome:
        config = plan.snapshot.config
        outcome = run(config, plan.strategy, plan.bars, metadata, progress=progress)
        return censored_outcome(workspace, outcome)

    kept: Kept | None = None
    if save:
        with begin_run(workspace, pending) as entry:
            outcome = compute()
            # The user gets the result, saved or not; the caller tells which.
            kept = await keep_outcome(workspace, entry, pending, outcome)
    else:
        outcome = compute()
    return RunReport(
        details=_details(pending, outcome, () if kept is None else kept.artifacts),
        duplicates=duplicates,
        saved=kept is not None and kept.error is None,
        save_error=None if kept is None else kept.error,
        waiting=kept is not None and kept.waiting,
        interruption=outcome.message
        if isinstance(outcome, BacktestFailure) and outcome.interrupted
        else None,
    )


def censored_outcome(workspace: Workspace, outcome: Outcome) -> Outcome:
    """Return the outcome without passwords: a strategy's error may quote the environment."""
    if not isinstance(outcome, BacktestFailure):
        return outcome
    return replace(
        outcome,
        message=workspace.censored(outcome.message),
        traceback=workspace.censored(outcome.traceback),
    )


def _details(pending: PendingRun, outcome: Outcome, artifacts: tuple[Artifact, ...]) -> RunDetails:
    result = outcome if isinstance(outcome, EnhancedBacktestResult) else None
    return RunDetails(
        run=BacktestRun.from_outcome(
            outcome,
            pending.dataset,
            reproduced_from=pending.reproduced_from,
            annotations=pending.annotations,
        ),
        artifacts=tuple(sorted(artifacts, key=lambda artifact: artifact.filename)),
        fills=None if result is None else result.fills,
        equity=None if result is None else result.equity,
        warnings=() if result is None else result.warnings,
    )


async def prepare(
    workspace: Workspace, request: RunRequest, *, config_path: Path | None = None
) -> Plan:
    """Find the strategy and the data of a request, check them, and settle every open choice.

    Raises: as `run_backtest`.
    """
    from ntrader.engine.bars import instant
    from ntrader.engine.instruments import bar_type_text
    from ntrader.engine.strategies.registry import find_strategy

    strategy = find_strategy(request.strategy)
    parameters = strategy.check(request.parameters)
    dataset = await dataset_for_run(
        workspace, dataset=request.dataset, symbol=request.symbol, timeframe=request.timeframe
    )
    bars = workspace.catalog.open(dataset.content_hash, request.start, request.end)
    if bars.first_label is None or bars.last_label is None:
        raise UsageError(
            f"Dataset {dataset.name} has no bars in that period.",
            hint=f"It runs from {dataset.start:%Y-%m-%d} to {dataset.last_moment:%Y-%m-%d}.",
        )
    config = RunConfig(
        strategy=StrategyConfig(
            name=strategy.spec.name,
            version=strategy.spec.version,
            type=strategy.spec.type,
            source_hash=strategy.spec.source_hash,
            parameters=parameters,
        ),
        instrument=InstrumentConfig(**dataset.instrument.to_dict()),
        bar_type=bar_type_text(dataset.instrument, dataset.timeframe),
        timeframe=str(dataset.timeframe),
        start=instant(bars.first_label),
        end=instant(bars.last_label + dataset.timeframe.nanoseconds),
        initial_capital=request.capital,
        equity_fraction=request.equity_fraction,
        fee=request.fee,
        fill=request.fill,
        slippage=request.slippage,
        seed=request.seed,
        dataset_hash=dataset.content_hash,
    )
    snapshot = ConfigSnapshot(
        strategy_path=strategy.spec.path,
        config_path=COMMAND_LINE if config_path is None else str(config_path),
        config=config,
    )
    return Plan(strategy=strategy, dataset=dataset, bars=bars, snapshot=snapshot)


def _fingerprint(plan: Plan) -> str:
    return plan.snapshot.fingerprint(engine=ENGINE, engine_version=engine_version())


def pending_run(
    workspace: Workspace,
    plan: Plan,
    reproduced_from: UUID | None,
    annotations: Annotations,
    *,
    run_id: UUID | None = None,
) -> PendingRun:
    """Return the run of a plan as it begins now; a service has given it its `run_id` before."""
    return PendingRun(
        database=workspace.place,
        metadata=BacktestMetadata(
            run_id=run_id or uuid4(),
            snapshot=plan.snapshot,
            fingerprint=_fingerprint(plan),
            started_at=datetime.now(UTC),
            environment=environment(plan.strategy.source),
        ),
        dataset=plan.dataset,
        strategy=plan.strategy.spec,
        source=plan.strategy.source.code,
        reproduced_from=reproduced_from,
        annotations=annotations,
    )
