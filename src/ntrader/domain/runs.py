"""Runs, as they are read back from the store."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from ntrader.domain.annotations import NOTHING_SAID, Annotations
from ntrader.domain.artifacts import Artifact
from ntrader.domain.datasets import Dataset
from ntrader.domain.pins import Pin
from ntrader.domain.results import (
    BacktestFailure,
    EnhancedBacktestResult,
    EquityCurve,
    Fill,
    Outcome,
    PerformanceMetrics,
)
from ntrader.domain.strategies import Parameters


class RunMode(StrEnum):
    """How the orders were executed."""

    BACKTEST = "backtest"
    PAPER = "paper"
    LIVE = "live"


class RunStatus(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunError:
    """Why a run failed."""

    message: str
    traceback: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReference:
    """The dataset that a run used."""

    id: UUID
    name: str
    content_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BacktestRun:
    """One saved run. `id` orders runs of one instant; `run_id` is the run's name to the world.

    `snapshot` and `metadata` are the JSON that was stored. `metrics` is None for a failed run.
    `tags` (sorted) and `note` may change; nothing else does.
    """

    id: int
    run_id: UUID
    mode: RunMode
    status: RunStatus
    strategy_name: str
    strategy_type: str
    symbol: str
    timeframe: str
    start: datetime
    end: datetime
    initial_capital: Decimal
    data_source: str
    dataset: DatasetReference | None
    duration_seconds: float
    snapshot: dict[str, Any]
    metadata: dict[str, Any]
    fingerprint: str
    result_digest: str | None
    reproduced_from: UUID | None
    metrics: PerformanceMetrics | None
    error: RunError | None
    created_at: datetime
    tags: tuple[str, ...] = ()
    note: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The `config` member of the snapshot."""
        config: dict[str, Any] = self.snapshot["config"]
        return config

    @property
    def parameters(self) -> Parameters:
        """The strategy's parameters by name, sorted: the store keeps no order of its own."""
        return dict(sorted(self.config["strategy"]["parameters"].items()))

    @property
    def last_moment(self) -> datetime:
        """The last moment of the period, to show: `end` itself belongs to the next bar."""
        return self.end - timedelta(seconds=1)

    @property
    def imported(self) -> dict[str, Any] | None:
        """When and whence the run came, if it came from another machine."""
        return self.metadata.get("imported")

    @classmethod
    def from_outcome(
        cls,
        outcome: Outcome,
        dataset: Dataset,
        *,
        mode: RunMode = RunMode.BACKTEST,
        reproduced_from: UUID | None = None,
        annotations: Annotations = NOTHING_SAID,
    ) -> Self:
        """Return the run that an outcome is saved as; its `id` is 0 until the store gives one."""
        metadata = outcome.metadata
        config = metadata.snapshot.config
        stored: dict[str, Any] = {"environment": metadata.environment}
        error: RunError | None = None
        metrics: PerformanceMetrics | None = None
        digest: str | None = None
        match outcome:
            case EnhancedBacktestResult():
                status = RunStatus.SUCCESS
                metrics, digest = outcome.metrics, outcome.result_digest
                if metrics.undefined:
                    stored["undefined_metrics"] = dict(metrics.undefined)
            case BacktestFailure():
                status = RunStatus.FAILED
                error = RunError(message=outcome.message, traceback=outcome.traceback)
                stored["bars_done"] = outcome.bars_done
        return cls(
            id=0,
            run_id=metadata.run_id,
            mode=mode,
            status=status,
            strategy_name=config.strategy.name,
            strategy_type=config.strategy.type,
            symbol=config.instrument.symbol,
            timeframe=config.timeframe,
            start=config.start,
            end=config.end,
            initial_capital=config.initial_capital,
            data_source=dataset.source,
            dataset=DatasetReference(
                id=dataset.id, name=dataset.name, content_hash=dataset.content_hash
            ),
            duration_seconds=round(outcome.duration_seconds, 6),
            snapshot=metadata.snapshot.to_json(),
            metadata=stored,
            fingerprint=metadata.fingerprint,
            result_digest=digest,
            reproduced_from=reproduced_from,
            metrics=metrics,
            error=error,
            created_at=metadata.started_at,
            tags=annotations.tags,
            note=annotations.note,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDetails:
    """A run with its files and what they hold.

    `fills` and `equity` are None for a failed run, which has no files, and where `problem` says why
    the files cannot be read. `stale` is what the run rests on and has changed since.
    """

    run: BacktestRun
    artifacts: tuple[Artifact, ...]
    fills: tuple[Fill, ...] | None = None
    equity: EquityCurve | None = None
    warnings: tuple[str, ...] = ()
    problem: str | None = None
    stale: tuple[Pin, ...] = ()
