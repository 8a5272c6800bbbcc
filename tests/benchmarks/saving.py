"""Saving and deleting, beside the same rows written by plain asyncpg."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import asyncpg
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import JSONB

from ntrader.domain.results import EnhancedBacktestResult
from ntrader.storage import rows
from ntrader.storage.bulk import BATCH
from ntrader.storage.saving import NewRun
from ntrader.storage.store import Store
from ntrader.storage.tables import events_table, metrics_table, runs_table
from support.outcomes import make_artifact, make_events

from .filling import lay_foundations, realistic_runs
from .measuring import Times, alternate

FILES = ("fills.parquet", "trades.parquet", "equity.parquet")
TRADES = 20

type Row = Mapping[str, Any]


class ByHand:
    """A run's rows, made beforehand: only the database's work is left."""

    def __init__(self, run: NewRun) -> None:
        values = rows.run_values(
            run.outcome,
            dataset_id=run.dataset_id,
            strategy_id=run.strategy_id,
            data_source=run.data_source,
            reproduced_from=None,
        )
        self.run = _encoded(runs_table, values)
        self.metrics: Row = {}
        if isinstance(run.outcome, EnhancedBacktestResult):
            copies = {name: values[name] for name in rows.COPIED}
            self.metrics = {**copies, **rows.metrics_values(run.outcome.metrics)}
        self.artifacts = [rows.artifact_values(each) for each in run.artifacts]
        self.events = [
            _encoded(
                events_table,
                {
                    "run_id": run.run_id,
                    "event_type": event.type.value,
                    "timestamp": event.timestamp,
                    "payload": event.payload,
                },
            )
            for event in run.events
        ]


def _encoded(table: Table, values: Row) -> Row:
    return {
        name: json.dumps(value) if isinstance(table.c[name].type, JSONB) else value
        for name, value in values.items()
    }


def _insert(table: str, row: Row, returning: str = "") -> str:
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) {returning}"


async def save_by_hand(connection: asyncpg.Connection, made: ByHand) -> None:
    """Save one run in one transaction, a statement for each table."""
    async with connection.transaction():
        new_id = await connection.fetchval(
            _insert("backtest_runs", made.run, "RETURNING id"), *made.run.values()
        )
        if made.metrics:
            metrics = {"backtest_run_id": new_id, **made.metrics}
            await connection.execute(_insert("performance_metrics", metrics), *metrics.values())
        for table, children in (("artifacts", made.artifacts), ("events", made.events)):
            if children:
                values = [tuple(child.values()) for child in children]
                await connection.executemany(_insert(table, children[0]), values)


async def copy_by_hand(connection: asyncpg.Connection, made: Sequence[ByHand]) -> None:
    """Save many runs by COPY, in transactions as large as the product's."""
    for start in range(0, len(made), BATCH):
        await _copy_batch(connection, made[start : start + BATCH])


async def _copy_batch(connection: asyncpg.Connection, made: Sequence[ByHand]) -> None:
    async with connection.transaction():
        ids = await connection.fetch(
            "SELECT nextval(pg_get_serial_sequence('backtest_runs', 'id'))"
            " FROM generate_series(1, $1)",
            len(made),
        )
        numbered = [(each["nextval"], run) for each, run in zip(ids, made, strict=True)]
        await connection.copy_records_to_table(
            runs_table.name,
            columns=["id", *made[0].run],
            records=[(run, *each.run.values()) for run, each in numbered],
        )
        successful = [(run, each) for run, each in numbered if each.metrics]
        await connection.copy_records_to_table(
            metrics_table.name,
            columns=["backtest_run_id", *successful[0][1].metrics],
            records=[(run, *each.metrics.values()) for run, each in successful],
        )


def _with_children(run: NewRun) -> NewRun:
    if not isinstance(run.outcome, EnhancedBacktestResult):
        return run
    artifacts = [make_artifact(run.run_id, name) for name in FILES]
    return replace(run, artifacts=artifacts, events=make_events(TRADES))


async def measure_saving(
    connection: asyncpg.Connection, store: Store, *, rounds: int, bulk: int
) -> dict[str, dict[str, Times]]:
    """Return, by name and way, what it takes to save a run, to save `bulk`, and to delete one."""
    foundations = await lay_foundations(store)

    def new_runs(seed: int, count: int) -> list[NewRun]:
        return list(realistic_runs(foundations, count, seed=seed))

    single = {way: iter(new_runs(seed, rounds + 1)) for way, seed in (("floor", 11), ("store", 12))}
    by_hand = iter([ByHand(_with_children(run)) for run in single["floor"]])
    ours = iter([_with_children(run) for run in single["store"]])
    saved = await alternate(
        {
            "floor": lambda: save_by_hand(connection, next(by_hand)),
            "store": lambda: _add(store, next(ours)),
        },
        rounds,
    )
    copied = [[ByHand(run) for run in new_runs(20 + turn, bulk)] for turn in range(2)]
    added = [new_runs(30 + turn, bulk) for turn in range(2)]
    many = await alternate(
        {
            "floor": lambda: copy_by_hand(connection, copied.pop()),
            "store": lambda: store.runs.add_many(added.pop()),
        },
        1,
    )
    found = await connection.fetch(
        "SELECT run_id FROM backtest_runs ORDER BY run_id LIMIT $1", 2 * (rounds + 1)
    )
    doomed = iter([row["run_id"] for row in found])
    deleted = await alternate(
        {
            "floor": lambda: connection.execute(
                "DELETE FROM backtest_runs WHERE run_id = $1", next(doomed)
            ),
            "store": lambda: store.runs.delete([next(doomed)]),
        },
        rounds,
    )
    return {"save one run": saved, "save many runs": many, "delete one run": deleted}


async def _add(store: Store, run: NewRun) -> None:
    about = {each.name: getattr(run, each.name) for each in fields(run)}
    await store.runs.add(about.pop("outcome"), **about)
