"""Backtests: run what a user asks for, and save what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from ntrader.domain.results import BacktestMetadata, EnhancedBacktestResult
from ntrader.domain.runs import BacktestRun, RunDetails
from ntrader.domain.snapshot import ConfigSnapshot, InstrumentConfig, RunConfig, StrategyConfig
from ntrader.errors import NtraderError, UsageError
from ntrader.services.datasets import dataset_for_run
from ntrader.services.environment import ENGINE, engine_version, environment
from ntrader.services.persistence import save_outcome
from ntrader.services.requests import COMMAND_LINE, RunRequest
from ntrader.services.workspace import Workspace

if TYPE_CHECKING:
    from ntrader.domain.datasets import Dataset
    from ntrader.engine.bars import Bars
    from ntrader.engine.strategies.definition import StrategyDefinition

type Progress = Callable[[int, int], None]

DUPLICATES_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What running a backtest gave.

    `duplicates` are earlier runs of the same question, newest first. `save_error` says why the run
    is not saved although it should be.
    """

    details: RunDetails
    warnings: tuple[str, ...]
    duplicates: tuple[UUID, ...]
    saved: bool
    save_error: NtraderError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A backtest that is ready to run: everything is found and checked."""

    strategy: StrategyDefinition
    dataset: Dataset
    bars: Bars
    snapshot: ConfigSnapshot


async def run_backtest(
    workspace: Workspace,
    request: RunRequest,
    *,
    config_path: Path | None = None,
    save: bool = True,
    progress: Progress | None = None,
) -> RunReport:
    """Run a backtest and save it, a failed one too.

    Raises:
        InvalidConfigError: a parameter or value is not valid.
        NotFoundError: the strategy or the data are not there.
        UsageError: the period holds no bars, or the data are ambiguous.
        DatabaseUnavailableError: the database cannot be reached; nothing was run.
    """
    plan = await prepare(workspace, request, config_path=config_path)
    metadata = _metadata(plan)
    store = await workspace.store()
    duplicates = await store.runs.same_question(metadata.fingerprint, limit=DUPLICATES_SHOWN)

    from ntrader.engine.runner import run

    outcome = run(plan.snapshot.config, plan.strategy, plan.bars, metadata, progress=progress)
    failure: NtraderError | None = None
    if save:
        try:
            await save_outcome(workspace, outcome, plan.dataset, plan.strategy.spec)
        except NtraderError as error:
            # The user still gets the result; the caller tells that it is not saved.
            failure = error
    saved = save and failure is None
    result = outcome if isinstance(outcome, EnhancedBacktestResult) else None
    return RunReport(
        details=RunDetails(
            run=BacktestRun.from_outcome(outcome, plan.dataset),
            artifacts=await store.runs.artifacts(metadata.run_id) if saved else (),
            fills=None if result is None else result.fills,
            equity=None if result is None else result.equity,
        ),
        warnings=() if result is None else result.warnings,
        duplicates=tuple(run.run_id for run in duplicates),
        saved=saved,
        save_error=failure,
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
    bars = workspace.catalog.load(dataset.content_hash, request.start, request.end)
    if len(bars) == 0:
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
        start=instant(bars.times[0]),
        end=instant(bars.close_times(dataset.timeframe)[-1]),
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


def _metadata(plan: Plan) -> BacktestMetadata:
    return BacktestMetadata(
        run_id=uuid4(),
        snapshot=plan.snapshot,
        fingerprint=plan.snapshot.fingerprint(engine=ENGINE, engine_version=engine_version()),
        started_at=datetime.now(UTC),
        environment=environment(),
    )
