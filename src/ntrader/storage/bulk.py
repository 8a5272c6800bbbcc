"""Many runs at once, by PostgreSQL's COPY: for imports and sweeps.

COPY takes rows as they are, so what is there already is left out before. Between the two somebody
may save one of the runs; then the database refuses all of them, and nothing is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Table, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Uuid

from ntrader.domain.results import EnhancedBacktestResult
from ntrader.storage import rows
from ntrader.storage.saving import NewRun, json_text
from ntrader.storage.tables import (
    artifacts_table,
    events_table,
    metrics_table,
    notes_table,
    runs_table,
    tags_table,
)
from ntrader.storage.transactions import Transaction

BATCH = 500
"""How many runs are worth one transaction: more are not faster, and take more memory."""


async def copy_runs(transaction: Transaction, runs: Iterable[NewRun]) -> int:
    """Save the runs that are not there yet, within a transaction; return how many were new.

    An original that is neither there nor among them is forgotten.
    """
    wanted = {run.run_id: run for run in runs}
    originals = {run.reproduced_from for run in wanted.values() if run.reproduced_from}
    there = await _saved(transaction, {*wanted, *originals})
    new = [run for run_id, run in wanted.items() if run_id not in there]
    if not new:
        return 0
    known = there | wanted.keys()
    values = [run.values(original=_known(run.reproduced_from, known)) for run in new]
    await _copy(transaction, runs_table, values)
    ids = await _saved(transaction, {run.run_id for run in new})
    await _copy(
        transaction,
        artifacts_table,
        [rows.artifact_values(artifact) for run in new for artifact in run.artifacts],
    )
    await _copy(transaction, events_table, [row for run in new for row in _event_rows(run)])
    await _annotate(transaction, new)
    # Last: the triggers on it lock the statistics of these strategies until the commit.
    await _copy(
        transaction,
        metrics_table,
        [
            {
                "backtest_run_id": ids[run.run_id],
                **{name: value[name] for name in rows.COPIED},
                **rows.metrics_values(run.outcome.metrics),
            }
            for run, value in zip(new, values, strict=True)
            if isinstance(run.outcome, EnhancedBacktestResult)
        ],
    )
    return len(new)


async def _saved(transaction: Transaction, run_ids: Collection[UUID]) -> dict[UUID, int]:
    found = await transaction.execute(_IDS, {"run_ids": list(run_ids)})
    return {row.run_id: row.id for row in found}


_IDS = select(runs_table.c.run_id, runs_table.c.id).where(
    runs_table.c.run_id == func.any(bindparam("run_ids", type_=ARRAY(Uuid)))
)


def _known(original: UUID | None, known: Collection[UUID]) -> UUID | None:
    return original if original in known else None


def _event_rows(run: NewRun) -> Iterable[dict[str, Any]]:
    columns = rows.event_columns(run.run_id, run.events)
    for event_type, timestamp, payload in zip(
        columns["event_types"], columns["timestamps"], columns["payloads"], strict=True
    ):
        yield {
            "run_id": run.run_id,
            "event_type": event_type,
            "timestamp": timestamp,
            "payload": payload,
        }


async def _annotate(transaction: Transaction, runs: Iterable[NewRun]) -> None:
    said = [(run.run_id, run.annotations) for run in runs if run.annotations]
    tags = [{"run_id": run_id, "tag": tag} for run_id, each in said for tag in each.tags]
    notes = [{"run_id": run_id, "note": each.note} for run_id, each in said if each.note]
    await _copy(transaction, tags_table, tags)
    await _copy(transaction, notes_table, notes)


async def _copy(
    transaction: Transaction, table: Table, values: Sequence[Mapping[str, Any]]
) -> None:
    if not values:
        return
    columns = list(values[0])
    encoders = [_encoder(table, name) for name in columns]
    await transaction.driver.copy_records_to_table(
        table.name,
        columns=columns,
        records=[
            [encode(row[name]) for encode, name in zip(encoders, columns, strict=True)]
            for row in values
        ],
    )


def _encoder(table: Table, name: str) -> Callable[[Any], Any]:
    return json_text if isinstance(table.c[name].type, JSONB) else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
