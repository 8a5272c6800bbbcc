"""Recording of runs that were made elsewhere: paper and live trading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader.domain.annotations import Annotations
from ntrader.domain.identity import canonical_json, instant_text, sha256_text
from ntrader.domain.results import (
    BacktestFailure,
    BacktestMetadata,
    EnhancedBacktestResult,
    EquityCurve,
    Outcome,
    PerformanceMetrics,
)
from ntrader.domain.runs import BacktestRun, RunMode, RunStatus
from ntrader.domain.snapshot import (
    ConfigSnapshot,
    FillMode,
    InstrumentConfig,
    RunConfig,
    StrategyConfig,
)
from ntrader.errors import UsageError
from ntrader.services.persistence import events_of
from ntrader.services.refusals import about
from ntrader.services.registered import definition_of, get_strategy

if TYPE_CHECKING:
    from ntrader.domain.datasets import Dataset
    from ntrader.domain.strategies import Parameters, StrategyRecord
    from ntrader.services.workspace import Workspace

ELSEWHERE = "recorded"
"""Where the snapshot says that the run's configuration came from."""

_OWN_TYPE = "other"
_UNKNOWN = "it was not recorded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A paper or live run as it is told. `metrics` are None exactly for a failed run."""

    run_id: UUID
    mode: RunMode
    dataset_id: UUID
    strategy_id: UUID
    status: RunStatus
    start: datetime
    end: datetime
    initial_capital: Decimal
    parameters: Mapping[str, Any]
    executed_at: datetime | None
    duration_seconds: float
    fee: Decimal
    metrics: Mapping[str, Any] | None
    error_message: str | None
    tags: Sequence[str] = ()
    note: str | None = None


async def record_run(workspace: Workspace, recording: Recording) -> BacktestRun:
    """Save a run that was made elsewhere, and return it; the same `run_id` again is the same run.

    Raises:
        RefusedFieldsError: a field is not valid.
        DatabaseError: a value breaks one of the store's rules.
    """
    from ntrader.engine.instruments import bar_type_text

    if recording.mode is RunMode.BACKTEST:
        raise UsageError("A backtest is not recorded but run.")
    store = await workspace.store()
    with about("dataset_id"):
        dataset = await store.datasets.get(recording.dataset_id)
    with about("strategy_id"):
        record = await get_strategy(workspace, recording.strategy_id)
    with about("tags"):
        said = Annotations.checked(recording.tags, recording.note)
    with about("parameters"):
        strategy = _strategy_config(record, recording.parameters)
    bar_type = bar_type_text(dataset.instrument, dataset.timeframe)
    with about("start"):
        snapshot = _snapshot(recording, record, dataset, strategy, bar_type)
    outcome = _outcome(recording, snapshot)
    await store.runs.add(
        outcome,
        dataset_id=dataset.id,
        strategy_id=record.id,
        data_source=dataset.source,
        events=tuple(events_of(outcome)),
        annotations=said,
        mode=recording.mode,
    )
    return await store.runs.get(recording.run_id)


def _strategy_config(record: StrategyRecord, parameters: Mapping[str, Any]) -> StrategyConfig:
    values: Parameters = {**record.params, **parameters}
    try:
        definition = definition_of(record)
    except UsageError:
        # Only its row is known here: it was run elsewhere, by whoever has its code.
        name, kind = record.name, _OWN_TYPE
    else:
        name, kind = definition.spec.name, definition.spec.type
        values = definition.check(values)
    return StrategyConfig(
        name=name,
        version=record.version,
        type=kind,
        source_hash=record.source_hash,
        parameters=values,
    )


def _snapshot(
    recording: Recording,
    record: StrategyRecord,
    dataset: Dataset,
    strategy: StrategyConfig,
    bar_type: str,
) -> ConfigSnapshot:
    return ConfigSnapshot(
        strategy_path=record.implementation,
        config_path=ELSEWHERE,
        config=RunConfig(
            strategy=strategy,
            instrument=InstrumentConfig(**dataset.instrument.to_dict()),
            bar_type=bar_type,
            timeframe=str(dataset.timeframe),
            start=recording.start,
            end=recording.end,
            initial_capital=recording.initial_capital,
            equity_fraction=Decimal(1),
            fee=recording.fee,
            fill=FillMode.CLOSE,
            slippage=Decimal(0),
            seed=0,
            dataset_hash=dataset.content_hash,
        ),
    )


def _outcome(recording: Recording, snapshot: ConfigSnapshot) -> Outcome:
    at = recording.executed_at or datetime.now(UTC)
    metadata = BacktestMetadata(
        run_id=recording.run_id,
        snapshot=snapshot,
        # Of another kind than that of any backtest: the question was put to a market.
        fingerprint=snapshot.fingerprint(engine=recording.mode.value, engine_version=ELSEWHERE),
        started_at=at,
        environment={},
    )
    if recording.metrics is None:
        return BacktestFailure(
            metadata=metadata,
            message=recording.error_message or "It failed.",
            traceback="",
            finished_at=at,
            duration_seconds=recording.duration_seconds,
            bars_done=0,
        )
    undefined = {name: _UNKNOWN for name, value in recording.metrics.items() if value is None}
    return EnhancedBacktestResult(
        metadata=metadata,
        metrics=PerformanceMetrics(**recording.metrics, undefined=undefined),
        equity=_no_curve(),
        fills=(),
        trades=(),
        warnings=(),
        result_digest=_digest(recording.metrics),
        finished_at=at,
        duration_seconds=recording.duration_seconds,
    )


def _no_curve() -> EquityCurve:
    import numpy as np

    return EquityCurve(np.empty(0, np.int64), np.empty(0, np.float64))


def _digest(metrics: Mapping[str, Any]) -> str:
    """Return the identity of an answer of which the numbers are all that is known."""
    values = {
        name: instant_text(value) if isinstance(value, datetime) else str(value)
        for name, value in metrics.items()
        if value is not None
    }
    return sha256_text(canonical_json(values))
