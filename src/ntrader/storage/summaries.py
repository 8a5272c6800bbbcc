"""What the runs of each strategy amount to, as SQL.

Reading a million runs takes half a second, so the statistics that triggers keep are read instead:
for each strategy and metric, how many runs lie in each of 1,000 narrow buckets, and their sum. The
best value is the first of an index. The median is exact too: the buckets tell where it lies, and
the index is read from there, past no more runs than a bucket holds.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, Select, TextClause, bindparam, func, select, text
from sqlalchemy.types import Text

from ntrader.domain.queries import RunFilter
from ntrader.domain.runs import RunStatus
from ntrader.domain.summaries import MetricSummary, StrategySummary
from ntrader.storage.queries import of_whole_runs
from ntrader.storage.ranked_metrics import SUMMARIZED_METRICS
from ntrader.storage.tables import metrics_table, runs_table

# Where the first bucket begins, and how wide one is: as in the migration that made the triggers.
_BUCKETS = {"sharpe_ratio": ("-5", "0.01"), "total_return": ("-1", "0.005")}
_HIGHEST = 1001


def summary_statement(where: RunFilter) -> TextClause | Select[Any]:
    """Return the query for one row a strategy, by name; `summary_from` reads a row."""
    if where == RunFilter(strategy=where.strategy):
        return _FROM_STATISTICS.bindparams(strategy=where.strategy)
    return _from_runs(where)


def summary_from(row: Row[Any]) -> StrategySummary:
    """Read a row of `summary_statement`."""
    found = row._mapping
    return StrategySummary(
        strategy=found["strategy"],
        runs=int(found["runs"]),
        failed=int(found["failed"]),
        newest_at=found["newest_at"],
        **{name: _metric_from(found.get, name) for name in SUMMARIZED_METRICS},
    )


def _metric_from(get: Callable[[str], Any], name: str) -> MetricSummary:
    values = (get(f"{part}_{name}") for part in ("best", "median", "mean"))
    return MetricSummary(*(None if value is None else float(value) for value in values))


def _from_runs(where: RunFilter) -> Select[Any]:
    columns = []
    for name in SUMMARIZED_METRICS:
        metric = metrics_table.c[name]
        columns += [
            func.max(metric).label(f"best_{name}"),
            func.percentile_cont(0.5).within_group(metric).label(f"median_{name}"),
            func.avg(metric).label(f"mean_{name}"),
        ]
    failed = runs_table.c.execution_status == RunStatus.FAILED
    return (
        select(
            runs_table.c.strategy_name.label("strategy"),
            func.count().label("runs"),
            func.count().filter(failed).label("failed"),
            func.max(runs_table.c.created_at).label("newest_at"),
            *columns,
        )
        .join_from(
            runs_table,
            metrics_table,
            metrics_table.c.backtest_run_id == runs_table.c.id,
            isouter=True,
        )
        .where(*of_whole_runs(where))
        .group_by(runs_table.c.strategy_name)
        .order_by(runs_table.c.strategy_name)
    )


def _of_metric(name: str) -> str:
    # The sum of a bigint is a numeric, and the default frame ends with the last of equals: both
    # take twice as long.
    lowest, width = _BUCKETS[name]
    return f"""
    LEFT JOIN LATERAL (
        SELECT {name} AS best FROM performance_metrics
        WHERE strategy_name = strategy.name AND {name} IS NOT NULL
        ORDER BY {name} DESC NULLS LAST LIMIT 1
    ) AS best_{name} ON true
    LEFT JOIN LATERAL (
        SELECT avg({name}) AS median FROM (
            SELECT bucket, above FROM (
                SELECT bucket, runs, sum(runs::int) OVER (
                    ORDER BY bucket DESC ROWS UNBOUNDED PRECEDING
                ) - runs AS above
                FROM run_statistics
                WHERE strategy_name = strategy.name AND subject = '{name}'
                    AND bucket >= 0 AND runs > 0
            ) AS bucket
            WHERE above + runs > (runs_{name} - 1) / 2
            ORDER BY bucket DESC
            LIMIT 1
        ) AS bucket
        CROSS JOIN LATERAL (
            SELECT {name} FROM performance_metrics
            WHERE strategy_name = strategy.name
                AND {name} < CASE bucket WHEN {_HIGHEST} THEN 'Infinity'
                    ELSE {lowest} + bucket * {width} END
            ORDER BY {name} DESC NULLS LAST
            OFFSET (runs_{name} - 1) / 2 - above LIMIT 2 - runs_{name} % 2
        ) AS middle
    ) AS median_{name} ON true"""  # noqa: S608 - names of ours


def _columns_of(name: str) -> str:
    mine = f"FILTER (WHERE subject = '{name}' AND bucket >= 0)"
    return f"(sum(runs) {mine})::bigint AS runs_{name}, sum(total) {mine} AS total_{name}"


# Nothing but names of ours is put into the text.
_FROM_STATISTICS = text(
    f"""
    SELECT strategy.name AS strategy, runs, failed, newest.created_at AS newest_at,
        {
        ", ".join(
            f"total_{name} / nullif(runs_{name}, 0) AS mean_{name},"
            f" best_{name}.best AS best_{name}, median_{name}.median AS median_{name}"
            for name in SUMMARIZED_METRICS
        )
    }
    FROM (
        SELECT strategy_name AS name,
            sum(runs) FILTER (WHERE subject IN ('failed', 'total_return')) AS runs,
            coalesce(sum(runs) FILTER (WHERE subject = 'failed'), 0) AS failed,
            {", ".join(map(_columns_of, SUMMARIZED_METRICS))}
        FROM run_statistics
        WHERE :strategy IS NULL OR strategy_name = :strategy
        GROUP BY strategy_name
    ) AS strategy
    CROSS JOIN LATERAL (
        SELECT created_at FROM backtest_runs WHERE strategy_name = strategy.name
        ORDER BY created_at DESC LIMIT 1
    ) AS newest
    {"".join(map(_of_metric, SUMMARIZED_METRICS))}
    WHERE runs > 0
    ORDER BY strategy.name
    """  # noqa: S608
).bindparams(bindparam("strategy", type_=Text))
