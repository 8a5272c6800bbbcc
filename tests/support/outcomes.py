"""Realistic values of the domain, with any detail replaced."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import numpy as np

from ntrader.domain.artifacts import Artifact, ArtifactKind
from ntrader.domain.datasets import Dataset, Instrument, InstrumentKind
from ntrader.domain.events import Event, EventType
from ntrader.domain.identity import sha256_text
from ntrader.domain.results import (
    METRICS,
    BacktestFailure,
    BacktestMetadata,
    EnhancedBacktestResult,
    EquityCurve,
    PerformanceMetrics,
)
from ntrader.domain.snapshot import ConfigSnapshot
from ntrader.domain.strategies import ParameterSpec, StrategySpec
from ntrader.domain.timeframes import Timeframe

START = datetime(2012, 1, 3, tzinfo=UTC)
END = datetime(2012, 12, 31, tzinfo=UTC)
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

TYPES = {"sma": "trend_following", "rsi": "mean_reversion", "momentum": "momentum"}


def make_instrument(symbol: str = "IBM", **changes: Any) -> Instrument:
    values: dict[str, Any] = {
        "symbol": symbol,
        "venue": "NYSE",
        "kind": InstrumentKind.EQUITY,
        "currency": "USD",
        "base_currency": None,
        "price_precision": 2,
        "size_precision": 0,
    }
    return Instrument(**{**values, **changes})


def make_dataset(symbol: str = "IBM", **changes: Any) -> Dataset:
    values: dict[str, Any] = {
        "id": uuid4(),
        "name": f"{symbol.lower()}-daily",
        "description": "Daily bars.",
        "content_hash": sha256_text(symbol),
        "instrument": make_instrument(symbol),
        "timeframe": Timeframe.parse("1d"),
        "start": START,
        "end": END,
        "rows": 250,
        "source": f"{symbol}.csv",
        "created_at": NOW,
    }
    return Dataset(**{**values, **changes})


def make_spec(name: str = "sma", **changes: Any) -> StrategySpec:
    values: dict[str, Any] = {
        "name": name,
        "aliases": (),
        "version": "1.0.0",
        "type": TYPES.get(name, "own"),
        "description": f"The {name} strategy.",
        "path": f"ntrader.engine.strategies.{name}:Strategy",
        "source_hash": sha256_text(name),
        "parameters": (
            ParameterSpec(
                name="fast_period", type="int", default=10, description="Bars.", minimum=1
            ),
            ParameterSpec(
                name="slow_period", type="int", default=20, description="Bars.", minimum=2
            ),
        ),
    }
    return StrategySpec(**{**values, **changes})


def make_snapshot(
    *,
    strategy: str = "sma",
    symbol: str = "IBM",
    timeframe: str = "1d",
    parameters: Mapping[str, Any] | None = None,
    **config: Any,
) -> ConfigSnapshot:
    values: dict[str, Any] = {
        "strategy": {
            "name": strategy,
            "version": "1.0.0",
            "type": TYPES.get(strategy, "own"),
            "source_hash": sha256_text(strategy),
            "parameters": dict(parameters or {"fast_period": 10, "slow_period": 20}),
        },
        "instrument": make_instrument(symbol).to_dict(),
        "bar_type": f"{symbol}.NYSE-1-DAY-LAST-EXTERNAL",
        "timeframe": timeframe,
        "start": START,
        "end": END,
        "initial_capital": Decimal(100_000),
        "equity_fraction": Decimal("0.95"),
        "fee": Decimal("0.001"),
        "fill": "next-open",
        "slippage": Decimal(0),
        "seed": 1,
        "dataset_hash": sha256_text(symbol),
    }
    return ConfigSnapshot.model_validate(
        {
            "strategy_path": f"ntrader.engine.strategies.{strategy}:Strategy",
            "config_path": "command line",
            "config": {**values, **config},
        }
    )


def make_metadata(
    *,
    run_id: UUID | None = None,
    started_at: datetime = NOW,
    environment: dict[str, Any] | None = None,
    **snapshot: Any,
) -> BacktestMetadata:
    made = make_snapshot(**snapshot)
    return BacktestMetadata(
        run_id=run_id or uuid4(),
        snapshot=made,
        fingerprint=made.fingerprint(engine="nautilus_trader", engine_version="1.231.0"),
        started_at=started_at,
        environment=environment or {"python": "3.13.1", "nautilus_trader": "1.231.0"},
    )


def make_metrics(**changes: Any) -> PerformanceMetrics:
    values: dict[str, Any] = {
        "total_return": 0.12345678,
        "final_balance": Decimal("112345.6780"),
        "cagr": 0.1236,
        "sharpe_ratio": 1.25,
        "sortino_ratio": 1.75,
        "max_drawdown": -0.08,
        "max_drawdown_at": datetime(2012, 6, 4, tzinfo=UTC),
        "calmar_ratio": 1.545,
        "volatility": 0.15,
        "total_trades": 6,
        "winning_trades": 3,
        "losing_trades": 2,
        "break_even_trades": 1,
        "win_rate": 0.5,
        "profit_factor": 2.5,
        "expectancy": Decimal("2057.6130"),
        "avg_win": Decimal("6000.0000"),
        "avg_loss": Decimal("-2827.1610"),
        "total_fees": Decimal("310.2500"),
        "exposure": 0.55,
        "undefined": {},
    }
    return PerformanceMetrics(**{**values, **changes})


def make_result(**changes: Any) -> EnhancedBacktestResult:
    """Return a run that ended well; `changes` are metrics or parts of its configuration."""
    of_metrics = {*METRICS, "undefined"}
    metrics = make_metrics(**{key: changes.pop(key) for key in of_metrics & changes.keys()})
    own: dict[str, Any] = {
        key: changes.pop(key) for key in ("warnings", "duration_seconds") if key in changes
    }
    metadata = make_metadata(**changes)
    values: dict[str, Any] = {
        "metadata": metadata,
        "metrics": metrics,
        "equity": EquityCurve(np.array([0, 1], np.int64), np.array([1e5, 1.1e5])),
        "fills": (),
        "trades": (),
        "warnings": (),
        "result_digest": sha256_text(f"{metadata.fingerprint} result"),
        "finished_at": metadata.started_at + timedelta(seconds=1.5),
        "duration_seconds": 1.5,
    }
    return EnhancedBacktestResult(**{**values, **own})


def make_failure(
    *,
    message: str = "ValueError: bar 100",
    traceback: str = "Traceback (most recent call last):\n  ...\nValueError: bar 100",
    bars_done: int = 99,
    **changes: Any,
) -> BacktestFailure:
    metadata = make_metadata(**changes)
    return BacktestFailure(
        metadata=metadata,
        message=message,
        traceback=traceback,
        finished_at=metadata.started_at + timedelta(seconds=0.5),
        duration_seconds=0.5,
        bars_done=bars_done,
    )


def make_artifact(run_id: UUID, filename: str = "equity.parquet", **changes: Any) -> Artifact:
    values: dict[str, Any] = {
        "id": uuid4(),
        "run_id": run_id,
        "kind": ArtifactKind.PARQUET,
        "filename": filename,
        "storage_path": f"{run_id.hex[:2]}/{run_id}/{filename}",
        "mime_type": "application/vnd.apache.parquet",
        "size_bytes": 1234,
        "sha256": sha256_text(filename),
        "created_at": NOW,
    }
    return Artifact(**{**values, **changes})


def make_events(trades: int = 2) -> tuple[Event, ...]:
    """Return the events of a run's life: market time for trades, the wall clock for the rest."""
    closed = (
        Event(
            type=EventType.TRADE_CLOSED,
            timestamp=START + timedelta(days=number + 1),
            payload={"profit": f"{number}.5", "quantity": "100"},
        )
        for number in range(trades)
    )
    return (
        Event(type=EventType.STARTED, timestamp=NOW, payload={}),
        *closed,
        Event(type=EventType.FINISHED, timestamp=NOW + timedelta(seconds=1), payload={"bars": 250}),
    )
