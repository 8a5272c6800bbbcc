"""What a store is asked: each question to the product, and to plain asyncpg by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import Cursor, RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.services.history import find_run, list_runs, summarize_runs
from ntrader.services.workspace import Workspace
from ntrader.storage.store import Store

from .filling import FIRST, LAST
from .measuring import Ask

LIMIT = 20
DEEP = 400


@dataclass(frozen=True, slots=True)
class Question:
    """One question, asked three ways; `aim` is a multiple of the floor."""

    name: str
    floor: Ask
    store: Ask
    service: Ask | None = None
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Places in a filled store."""

    run_ids: Sequence[UUID]
    deep: tuple[datetime, int] | None


async def sample(connection: asyncpg.Connection) -> Sample:
    """Look at a store: ten runs in its middle, and where the page `DEEP` begins."""
    middle = FIRST + (LAST - FIRST) / 2
    found = await connection.fetch(
        "SELECT run_id FROM backtest_runs WHERE created_at >= $1 AND execution_status = 'success'"
        " ORDER BY created_at LIMIT 10",
        middle,
    )
    deep = await connection.fetchrow(
        "SELECT created_at, id FROM backtest_runs ORDER BY created_at DESC, id DESC"
        " OFFSET $1 LIMIT 1",
        DEEP * LIMIT - 1,
    )
    return Sample([row[0] for row in found], None if deep is None else tuple(deep))


_SHOWN = """
    SELECT r.id, r.run_id, r.created_at, r.strategy_name, r.instrument_symbol, r.timeframe,
        m.total_return, m.sharpe_ratio, m.max_drawdown, m.total_trades
    FROM backtest_runs r LEFT JOIN performance_metrics m ON m.backtest_run_id = r.id"""
_BY_METRIC = """
    SELECT r.id, r.run_id, r.created_at, r.strategy_name, r.instrument_symbol, r.timeframe,
        m.total_return, m.sharpe_ratio, m.max_drawdown, m.total_trades
    FROM performance_metrics m JOIN backtest_runs r ON r.id = m.backtest_run_id"""
_WHOLE = """
    SELECT r.*, m.*
    FROM backtest_runs r LEFT JOIN performance_metrics m ON m.backtest_run_id = r.id"""
_PARAMETERS = "r.config_snapshot #> '{config,strategy,parameters}'"
_BEST = "ORDER BY m.sharpe_ratio DESC NULLS LAST, m.backtest_run_id DESC LIMIT 21"
_NEWEST = "ORDER BY r.created_at DESC, r.id DESC LIMIT 21"
_SUMMARY = """
    SELECT r.strategy_name, count(*), count(*) FILTER (WHERE r.execution_status = 'failed'),
        max(r.created_at), max(m.sharpe_ratio), avg(m.sharpe_ratio), max(m.total_return),
        avg(m.total_return)
    FROM backtest_runs r LEFT JOIN performance_metrics m ON m.backtest_run_id = r.id
    GROUP BY r.strategy_name"""


def questions(
    connection: asyncpg.Connection, workspace: Workspace, store: Store, about: Sample
) -> list[Question]:
    """Return all questions that only read."""

    def by_hand(query: str, *values: Any) -> Ask:
        return lambda: connection.fetch(query, *values)

    def listed(
        name: str,
        query: str,
        *values: Any,
        by: str = "sharpe_ratio",
        ascending: bool = False,
        after: Cursor | None = None,
        aim: float | None = 7,
        **conditions: Any,
    ) -> Question:
        where, order = RunFilter(**conditions), RunOrder(by, ascending)
        return Question(
            name,
            by_hand(query, *values),
            lambda: store.runs.page(where, order, limit=LIMIT, after=after),
            lambda: list_runs(workspace, where, order, limit=LIMIT, after=after),
            aim,
        )

    one = about.run_ids[0]
    ids = list(about.run_ids)
    week = LAST - timedelta(days=100)
    expression = parse_expression("sharpe_ratio > 1.5 and parameters.fast_period = 10")
    found = [
        Question(
            "get one by id",
            by_hand(f"{_WHOLE} WHERE r.run_id = $1", one),
            lambda: store.runs.get(one),
            lambda: find_run(workspace, str(one)),
            7,
        ),
        Question(
            "compare 10 runs",
            by_hand(f"{_WHOLE} WHERE r.run_id = ANY($1)", ids),
            lambda: store.runs.get_many(ids),
            lambda: store.runs.resolve_many(list(map(str, ids))),
            4,
        ),
        listed("list 20 newest", f"{_SHOWN} {_NEWEST}", by="created_at"),
        listed(
            "filter by strategy, order by Sharpe",
            f"{_BY_METRIC} WHERE m.strategy_name = $1 {_BEST}",
            "sma",
            strategy="sma",
        ),
        listed(
            "rare strategy, order by Sharpe",
            f"{_BY_METRIC} WHERE m.strategy_name = $1 {_BEST}",
            "rare",
            strategy="rare",
        ),
        listed(
            "filter by a parameter, order by Sharpe",
            f"{_BY_METRIC} WHERE {_PARAMETERS} @> $1 {_BEST}",
            '{"fast_period": 10}',
            parameters={"fast_period": 10},
        ),
        listed(
            "one week, order by Sharpe",
            f"{_BY_METRIC} WHERE m.created_at >= $1 AND m.created_at < $2 {_BEST}",
            week,
            week + timedelta(days=7),
            since=week,
            until=week + timedelta(days=7),
        ),
        listed(
            "rare symbol, order by Sharpe",
            f"{_BY_METRIC} WHERE m.instrument_symbol = $1 {_BEST}",
            "SYM099",
            symbol="SYM099",
        ),
        listed(
            "order by Sortino ratio",
            f"{_BY_METRIC} {_BEST.replace('sharpe', 'sortino')}",
            by="sortino_ratio",
        ),
        listed(
            "order by trades",
            f"{_BY_METRIC} ORDER BY m.total_trades DESC, m.backtest_run_id DESC LIMIT 21",
            by="total_trades",
        ),
        listed(
            "tag, newest",
            f"{_SHOWN} WHERE r.run_id IN (SELECT run_id FROM run_tags WHERE tag = $1) {_NEWEST}",
            "keep",
            by="created_at",
            tag="keep",
        ),
        listed(
            "failed, newest",
            f"{_SHOWN} WHERE r.execution_status = 'failed' {_NEWEST}",
            by="created_at",
            status=RunStatus.FAILED,
        ),
        listed(
            "--where, order by Sharpe",
            f"{_BY_METRIC} WHERE m.sharpe_ratio > 1.5 AND {_PARAMETERS} @> $1 {_BEST}",
            '{"fast_period": 10}',
            expression=expression,
        ),
        listed(
            "rare symbol, order by Sortino",
            f"{_BY_METRIC} WHERE m.instrument_symbol = $1 {_BEST.replace('sharpe', 'sortino')}",
            "SYM099",
            by="sortino_ratio",
            symbol="SYM099",
        ),
        listed(
            "strategy and parameter, order by Sortino",
            f"{_BY_METRIC} WHERE m.strategy_name = $1 AND {_PARAMETERS} @> $2"
            f" {_BEST.replace('sharpe', 'sortino')}",
            "own_3",
            '{"fast_period": 10}',
            by="sortino_ratio",
            strategy="own_3",
            parameters={"fast_period": 10},
        ),
        listed(
            "Sharpe above 3, order by the lowest return",
            f"{_BY_METRIC} WHERE m.sharpe_ratio > 3"
            " ORDER BY m.total_return, m.backtest_run_id DESC LIMIT 21",
            by="total_return",
            ascending=True,
            expression=parse_expression("sharpe_ratio > 3"),
        ),
        Question(
            "count of a strategy, capped",
            by_hand(
                "SELECT count(*) FROM"
                " (SELECT 1 FROM backtest_runs WHERE strategy_name = $1 LIMIT 1001) AS few",
                "sma",
            ),
            lambda: store.runs.count(RunFilter(strategy="sma")),
            aim=7,
        ),
        Question(
            "group by strategy",
            by_hand(_SUMMARY),
            lambda: store.runs.summaries(RunFilter()),
            lambda: summarize_runs(workspace, RunFilter()),
        ),
    ]
    if about.deep is not None:
        created_at, run = about.deep
        scope = Cursor.scope_of(RunFilter(), RunOrder())
        found.append(
            listed(
                f"page {DEEP} deep, by cursor",
                f"{_SHOWN} WHERE (r.created_at, r.id) < ($1, $2) {_NEWEST}",
                created_at,
                run,
                by="created_at",
                after=Cursor(scope, created_at.isoformat(), run),
            )
        )
    return found
