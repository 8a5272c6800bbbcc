"""Saving one run with all that belongs to it, in one statement: one way to the server and back.

A statement for each table would take three times as long, nearly all of it waiting. What belongs to
the run is inserted for the row that came back: nothing where the run is there already.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from ntrader.domain.annotations import NOTHING_SAID, Annotations
from ntrader.domain.artifacts import Artifact
from ntrader.domain.events import Event
from ntrader.domain.results import METRICS, EnhancedBacktestResult, Outcome
from ntrader.domain.runs import RunMode
from ntrader.storage import rows
from ntrader.storage.tables import (
    artifacts_table,
    events_table,
    metrics_table,
    notes_table,
    runs_table,
    tags_table,
)
from ntrader.storage.transactions import Transaction

_ORIGINAL = "reproduced_from_run_id"
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """A run that is to be saved, with all that belongs to it."""

    outcome: Outcome
    dataset_id: UUID
    strategy_id: UUID
    data_source: str
    artifacts: Sequence[Artifact] = ()
    events: Sequence[Event] = ()
    reproduced_from: UUID | None = None
    annotations: Annotations = NOTHING_SAID
    mode: RunMode = RunMode.BACKTEST

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self.outcome.metadata.run_id

    def values(self, *, original: UUID | None) -> dict[str, Any]:
        """Return the columns of the run itself, as the reproduction of `original`."""
        return rows.run_values(
            self.outcome,
            dataset_id=self.dataset_id,
            strategy_id=self.strategy_id,
            data_source=self.data_source,
            reproduced_from=original,
            mode=self.mode,
        )


async def save_run(transaction: Transaction, run: NewRun) -> bool:
    """Save a run, with all that belongs to it or not at all; return whether it was new.

    An original that is not there is forgotten. The statement goes straight to the driver, which
    needs a third of the time: SQLAlchemy would look at each of its sixty values, and would put it
    between a BEGIN and a COMMIT that a single statement does not need.
    """
    statement, names = _statement()
    values = _parameters(run)
    arguments = (values[name] for name in names)
    return await transaction.driver.fetchval(statement, *arguments) is not None


def _parameters(run: NewRun) -> dict[str, Any]:
    metrics: Mapping[str, Any] = {}
    if isinstance(run.outcome, EnhancedBacktestResult):
        metrics = rows.metrics_values(run.outcome.metrics)
    artifacts = [rows.artifact_values(artifact) for artifact in run.artifacts]
    events = rows.event_columns(run.run_id, run.events)
    values = run.values(original=run.reproduced_from)
    return {
        **{f"run_{name}": value for name, value in values.items()},
        "run_config_snapshot": json_text(values["config_snapshot"]),
        "run_metadata": json_text(values["metadata"]),
        **{f"metric_{name}": metrics.get(name) for name in METRICS},
        **{
            f"artifact_{name}": [each[name] for each in artifacts]
            for name in _names(artifacts_table)
        },
        "event_event_type": events["event_types"],
        "event_timestamp": events["timestamps"],
        "event_payload": [json_text(payload) for payload in events["payloads"]],
        "tag_tag": list(run.annotations.tags),
        "note_note": run.annotations.note,
    }


def json_text(value: Any) -> str:
    """Return JSON as the driver takes it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _names(table: Table, *without: str) -> list[str]:
    return [column.name for column in table.columns if column.name not in without]


class _Places:
    """The numbered places of a statement's values, each with its type, as they are asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def of(self, prefix: str, table: Table, columns: Iterable[str], *, array: bool = False) -> str:
        return ", ".join(self.one(prefix, table, name, array=array) for name in columns)

    def one(self, prefix: str, table: Table, column: str, *, array: bool = False) -> str:
        name = f"{prefix}_{column}"
        if name not in self.names:
            self.names.append(name)
        kind = table.c[column].type.compile(_POSTGRESQL)
        return f"${self.names.index(name) + 1}::{kind}{'[]' if array else ''}"


@cache
def _statement() -> tuple[str, tuple[str, ...]]:
    """Return the statement, which gives the run's new id or nothing, and the names of its values.

    Nothing but names of our own columns is put into the text.
    """
    places = _Places()
    of_run = _names(runs_table, "id", _ORIGINAL)
    of_artifact = _names(artifacts_table)
    of_event = ["event_type", "timestamp", "payload"]
    copied, metrics = ", ".join(rows.COPIED), ", ".join(METRICS)
    statement = f"""
        WITH run AS (
            INSERT INTO backtest_runs ({", ".join(of_run)}, {_ORIGINAL})
            VALUES (
                {places.of("run", runs_table, of_run)},
                (SELECT run_id FROM backtest_runs
                    WHERE run_id = {places.one("run", runs_table, _ORIGINAL)})
            )
            ON CONFLICT (run_id) DO NOTHING
            RETURNING id, run_id, {copied}
        ), metrics AS (
            INSERT INTO performance_metrics (backtest_run_id, {copied}, {metrics})
            SELECT id, {copied}, {places.of("metric", metrics_table, METRICS)} FROM run
            WHERE {places.one("metric", metrics_table, "total_trades")} IS NOT NULL
        ), artifact AS (
            INSERT INTO artifacts ({", ".join(of_artifact)})
            SELECT artifact.* FROM run,
                unnest({places.of("artifact", artifacts_table, of_artifact, array=True)})
                AS artifact
        ), event AS (
            INSERT INTO events (run_id, {", ".join(of_event)})
            SELECT run_id, event.* FROM run,
                unnest({places.of("event", events_table, of_event, array=True)}) AS event
        ), tag AS (
            INSERT INTO run_tags (run_id, tag)
            SELECT run_id, tag.* FROM run,
                unnest({places.one("tag", tags_table, "tag", array=True)}) AS tag
        ), note AS (
            INSERT INTO run_notes (run_id, note)
            SELECT run_id, {places.one("note", notes_table, "note")} FROM run
            WHERE {places.one("note", notes_table, "note")} IS NOT NULL
        )
        SELECT id FROM run
        """  # noqa: S608
    return statement, tuple(places.names)
