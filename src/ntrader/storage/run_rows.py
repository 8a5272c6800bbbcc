"""Runs as they are read: the query for whole runs, and from its rows to the domain's values.

The rows are the driver's own (`Database.read`): a member of an enum is its value.
"""

from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import ColumnElement, Double, Numeric, Select, cast, exists, func, select

from ntrader.domain.results import METRICS, PerformanceMetrics
from ntrader.domain.runs import (
    UNDEFINED_METRICS,
    BacktestRun,
    DatasetReference,
    RunError,
    RunMode,
    RunStatus,
    StrategyReference,
)
from ntrader.storage.column_types import MONEY
from ntrader.storage.tables import (
    datasets_table,
    metrics_table,
    notes_table,
    runs_table,
    strategies_table,
    tags_table,
)


@cache
def runs_with_details() -> Select[Any]:
    """Return the query for whole runs, which `run_from` reads."""
    return (
        select(
            *map(_read, runs_table.columns),
            *(_read(metrics_table.c[name]) for name in METRICS),
            datasets_table.c.name.label("dataset_name"),
            datasets_table.c.content_hash.label("dataset_hash"),
            _newer_dataset().label("dataset_outdated"),
            strategies_table.c.name.label("stored_strategy_name"),
            strategies_table.c.version.label("stored_strategy_version"),
            # Looked up for the runs that are shown only: two index probes for each.
            select(func.array_agg(tags_table.c.tag))
            .where(tags_table.c.run_id == runs_table.c.run_id)
            .scalar_subquery()
            .label("tags"),
            select(notes_table.c.note)
            .where(notes_table.c.run_id == runs_table.c.run_id)
            .scalar_subquery()
            .label("note"),
        )
        .join_from(runs_table, datasets_table, datasets_table.c.id == runs_table.c.dataset_id)
        .join(strategies_table, strategies_table.c.id == runs_table.c.strategy_id)
        .outerjoin(metrics_table, metrics_table.c.backtest_run_id == runs_table.c.id)
    )


def _read(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column as it is read: what is no money is a float, which the driver reads sooner."""
    if isinstance(column.type, Numeric) and column.type is not MONEY:
        return cast(column, Double).label(column.key)
    return column


def _newer_dataset() -> ColumnElement[bool]:
    """Whether there is a newer version of a run's dataset: same name, instrument and bars."""
    newer = datasets_table.alias("newer")
    return (
        exists()
        .where(
            newer.c.name == datasets_table.c.name,
            newer.c.instrument["symbol"] == datasets_table.c.instrument["symbol"],
            newer.c.instrument["venue"] == datasets_table.c.instrument["venue"],
            newer.c.timeframe == datasets_table.c.timeframe,
            newer.c.created_at > datasets_table.c.created_at,
        )
        .correlate(datasets_table)
    )


def run_from(row: asyncpg.Record) -> BacktestRun:
    """Read a row of `runs_with_details`."""
    metadata = row["metadata"]
    return BacktestRun(
        id=row["id"],
        run_id=row["run_id"],
        mode=RunMode(row["run_mode"]),
        status=RunStatus(row["execution_status"]),
        strategy_name=row["strategy_name"],
        strategy_type=row["strategy_type"],
        symbol=row["instrument_symbol"],
        timeframe=row["timeframe"],
        start=row["start_date"],
        end=row["end_date"],
        initial_capital=row["initial_capital"],
        data_source=row["data_source"],
        dataset=DatasetReference(
            id=row["dataset_id"],
            name=row["dataset_name"],
            content_hash=row["dataset_hash"],
            outdated=row["dataset_outdated"],
        ),
        duration_seconds=row["execution_duration_seconds"],
        snapshot=row["config_snapshot"],
        metadata=metadata,
        fingerprint=row["fingerprint"],
        result_digest=row["result_digest"],
        reproduced_from=row["reproduced_from_run_id"],
        metrics=None
        if row["total_trades"] is None
        else PerformanceMetrics(
            **{name: row[name] for name in METRICS}, undefined=metadata.get(UNDEFINED_METRICS, {})
        ),
        error=None
        if row["error_message"] is None
        else RunError(message=row["error_message"], traceback=row["error_traceback"] or ""),
        created_at=row["created_at"],
        tags=tuple(sorted(row["tags"] or ())),
        note=row["note"],
        strategy=StrategyReference(
            id=row["strategy_id"],
            name=row["stored_strategy_name"],
            version=row["stored_strategy_version"],
        ),
    )
