"""The questions that `history` asks, as SQL: one statement each for filter, order and page.

A list that is ordered by a metric has three parts: runs whose metric is defined, runs whose metric
is NULL, and failed runs, which have no metrics at all. Each part is read from an index and stops
at the limit; a plain outer join would have to sort every run.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    UnaryExpression,
    and_,
    func,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    union_all,
)

from ntrader.domain.queries import CREATED_AT, Cursor, RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.errors import CursorMismatchError
from ntrader.storage.rows import order_value, runs_with_details
from ntrader.storage.tables import metrics_table, runs_table, tags_table

type Condition = ColumnElement[bool]


def page_statement(
    where: RunFilter, order: RunOrder, *, limit: int, after: Cursor | None
) -> Select[Any]:
    """Return the query for the first `limit` runs after `after`, with their `order_value`.

    Raises:
        CursorMismatchError: `after` was issued for another list.
    """
    if after is not None and after.scope != Cursor.scope_of(where, order):
        raise CursorMismatchError(
            "The cursor belongs to a list with another filter or order.",
            hint="Repeat the options of the page that gave the cursor.",
        )
    if order.by == CREATED_AT:
        return _page_by_creation(where, order, limit, after)
    return _page_by_metric(where, order, limit, after)


def count_statement(where: RunFilter, *, cap: int) -> Select[Any]:
    """Return the query that counts the runs, but never more than one beyond `cap`."""
    some: Select[Any] = (
        select(literal_column("1")).select_from(runs_table).where(*conditions(where)).limit(cap + 1)
    )
    return select(func.count()).select_from(some.subquery())


def conditions(where: RunFilter) -> list[Condition]:
    """Return what must hold of a run."""
    found = [*_shared_conditions(where, runs_table), *_run_conditions(where)]
    if where.status is not None:
        found.append(runs_table.c.execution_status == where.status)
    return found


def _shared_conditions(where: RunFilter, table: Table) -> list[Condition]:
    """Return the conditions on columns that metrics have a copy of."""
    found: list[Condition] = []
    if where.strategy is not None:
        found.append(table.c.strategy_name == where.strategy)
    if where.symbol is not None:
        found.append(table.c.instrument_symbol == where.symbol)
    if where.since is not None:
        found.append(table.c.created_at >= where.since)
    if where.until is not None:
        found.append(table.c.created_at < where.until)
    return found


def _run_conditions(where: RunFilter) -> list[Condition]:
    """Return the conditions that only the run itself answers."""
    found: list[Condition] = []
    if where.strategy_type is not None:
        found.append(runs_table.c.strategy_type == where.strategy_type)
    if where.timeframe is not None:
        found.append(runs_table.c.timeframe == where.timeframe)
    if where.fingerprint is not None:
        found.append(runs_table.c.fingerprint == where.fingerprint)
    if where.tag is not None:
        tagged = select(tags_table.c.run_id).where(tags_table.c.tag == where.tag)
        found.append(runs_table.c.run_id.in_(tagged))
    if where.strategy_path is not None:
        found.append(_snapshot_contains({"strategy_path": where.strategy_path}))
    if where.parameters:
        parameters = dict(where.parameters)
        found.append(_snapshot_contains({"config": {"strategy": {"parameters": parameters}}}))
    return found


def _snapshot_contains(wanted: dict[str, Any]) -> Condition:
    """Return the condition that is answered from the snapshots' GIN index."""
    return runs_table.c.config_snapshot.contains(wanted)


def _page_by_creation(
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None
) -> Select[Any]:
    created_at = runs_table.c.created_at
    statement = (
        runs_with_details()
        .add_columns(created_at.label("order_value"))
        .where(*conditions(where))
        .order_by(_directed(created_at, order), runs_table.c.id.desc())
        .limit(limit)
    )
    if after is None:
        return statement
    return statement.where(_beyond(created_at, runs_table.c.id, order, after))


def _page_by_metric(
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None
) -> Select[Any]:
    parts = [part.limit(limit) for part in _parts(where, order, after)]
    every = union_all(*parts).subquery("every")
    picked = (
        select(every.c.id, every.c.order_value)
        .order_by(_directed(every.c.order_value, order).nulls_last(), every.c.id.desc())
        .limit(limit)
        .subquery("picked")
    )
    return (
        runs_with_details()
        .add_columns(picked.c.order_value)
        .join(picked, picked.c.id == runs_table.c.id)
        .order_by(_directed(picked.c.order_value, order).nulls_last(), picked.c.id.desc())
    )


def _parts(where: RunFilter, order: RunOrder, after: Cursor | None) -> Iterator[Select[Any]]:
    """Give the parts of a list that lie after the cursor, each in the list's order."""
    metric: ColumnElement[Any] = metrics_table.c[order.by]
    run = metrics_table.c.backtest_run_id
    among_undefined = after is not None and after.value is None
    if where.status is not RunStatus.FAILED:
        successful = select(run.label("id"), metric.label("order_value")).where(
            *_shared_conditions(where, metrics_table)
        )
        if needs_run := _run_conditions(where):
            successful = successful.join(runs_table, runs_table.c.id == run).where(*needs_run)
        if not among_undefined:
            defined = successful.where(metric.is_not(None))
            if after is not None:
                defined = defined.where(_beyond(metric, run, order, after))
            yield defined.order_by(_directed(metric, order).nulls_last(), run.desc())
        undefined = successful.where(metric.is_(None)).order_by(run.desc())
        yield undefined.where(run < after.id) if after and among_undefined else undefined
    if where.status is not RunStatus.SUCCESS:
        failed = (
            select(runs_table.c.id, null().cast(metric.type).label("order_value"))
            .where(runs_table.c.execution_status == RunStatus.FAILED)
            .where(*_shared_conditions(where, runs_table), *_run_conditions(where))
            .order_by(runs_table.c.id.desc())
        )
        yield failed.where(runs_table.c.id < after.id) if after and among_undefined else failed


def _beyond(
    column: ColumnElement[Any],
    run: ColumnElement[int],
    order: RunOrder,
    after: Cursor,
) -> Condition:
    """Return the condition that a run comes after the cursor, whose value is defined."""
    try:
        value = order_value(after.value or "", column.type.python_type)
    except (ValueError, ArithmeticError):
        raise CursorMismatchError("The cursor is damaged.") from None
    if not order.ascending:
        return tuple_(column, run) < tuple_(value, after.id)
    # Among equals the newer run comes first in both directions.
    return and_(column >= value, or_(column > value, run < after.id))


def _directed(column: ColumnElement[Any], order: RunOrder) -> UnaryExpression[Any]:
    return column.asc() if order.ascending else column.desc()
