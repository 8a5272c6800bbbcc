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
    EquityCurve,
    Fill,
    Outcome,
    PerformanceMetrics,
)
from ntrader.domain.strategies import Parameters

# What the metadata of a run has.
ENVIRONMENT = "environment"
IMPORTED = "imported"
UNDEFINED_METRICS = "undefined_metrics"
BARS_DONE = "bars_done"


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
class Ending:
    """How an outcome is kept: with numbers and a digest, or with an error.

    `metadata` is the JSON that is stored beside: where the run was made, whence it came, and why
    metrics are undefined or how far a failed run got.
    """

    status: RunStatus
    metrics: PerformanceMetrics | None
    result_digest: str | None
    error: RunError | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """Return how the outcome ended."""
        about = outcome.metadata
        origin = {} if about.imported is None else {IMPORTED: about.imported}
        metadata: dict[str, Any] = {ENVIRONMENT: about.environment, **origin}
        if isinstance(outcome, BacktestFailure):
            return cls(
                status=RunStatus.FAILED,
                metrics=None,
                result_digest=None,
                error=RunError(message=outcome.message, traceback=outcome.traceback),
                metadata={**metadata, BARS_DONE: outcome.bars_done},
            )
        metrics = outcome.metrics
        return cls(
            status=RunStatus.SUCCESS,
            metrics=metrics,
            result_digest=outcome.result_digest,
            error=None,
            metadata={**metadata, UNDEFINED_METRICS: dict(metrics.undefined)},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReference:
    """The dataset that a run used; it is `outdated` where a newer version of it is stored."""

    id: UUID
    name: str
    content_hash: str
    outdated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyReference:
    """The stored strategy that a run belongs to, or a named configuration of one."""

    id: UUID
    name: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BacktestRun:
    """One saved run. `id` orders runs of one instant; `run_id` is the run's name to the world.

    `snapshot` and `metadata` are the JSON that was stored. `metrics` is None for a failed run.
    `strategy` is None before the run is saved.
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
    strategy: StrategyReference | None = None

    @property
    def configuration(self) -> StrategyReference | None:
        """The named configuration that the run belongs to; None where it has the strategy's own.

        No configuration bears the name of a registered strategy.
        """
        if self.strategy is None or self.strategy.name == self.strategy_name:
            return None
        return self.strategy

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
        return self.metadata.get(IMPORTED)

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
        about = outcome.metadata
        config = about.snapshot.config
        ending = Ending.of(outcome)
        return cls(
            id=0,
            run_id=about.run_id,
            mode=mode,
            status=ending.status,
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
            snapshot=about.snapshot.to_json(),
            metadata=ending.metadata,
            fingerprint=about.fingerprint,
            result_digest=ending.result_digest,
            reproduced_from=reproduced_from,
            metrics=ending.metrics,
            error=ending.error,
            created_at=about.started_at,
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
