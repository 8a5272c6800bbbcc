"""The questions that `history` asks, as SQL: one statement each for filter, order and page.

A list that is ordered by a metric has three parts: runs whose metric is defined, runs whose metric
is NULL, and failed runs, which have no metrics at all. Each part is read from an index and stops
at the limit; a plain outer join would have to sort every run. Where an index holds the first two
in one order, or none holds either, they are one part. See specs/queries.md.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
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
from ntrader.storage.conditions import (
    FAILED,
    SUCCESSFUL,
    WHOLE_RUNS,
    Condition,
    conditions,
    needs_metrics,
    needs_run,
)
from ntrader.storage.ranked_metrics import INDEXED_METRICS
from ntrader.storage.rows import order_value, runs_with_details
from ntrader.storage.tables import metrics_table, runs_table


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
    some: Select[Any] = select(literal_column("1")).select_from(runs_table)
    if needs_metrics(where):
        some = some.outerjoin(metrics_table, metrics_table.c.backtest_run_id == runs_table.c.id)
    some = some.where(*of_whole_runs(where)).limit(cap + 1)
    return select(func.count()).select_from(some.subquery())


def of_whole_runs(where: RunFilter) -> list[Condition]:
    """Return what must hold of runs that are joined with their metrics."""
    found = conditions(where, WHOLE_RUNS)
    if where.status is not None:
        found.append(runs_table.c.execution_status == where.status)
    return found


def _page_by_creation(
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None
) -> Select[Any]:
    created_at = runs_table.c.created_at
    statement = (
        runs_with_details()
        .add_columns(created_at.label("order_value"))
        .where(*of_whole_runs(where))
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
    if where.status is not RunStatus.FAILED:
        yield from _successful_parts(where, order, after)
    if where.status is not RunStatus.SUCCESS:
        failed = (
            select(
                runs_table.c.id, null().cast(metrics_table.c[order.by].type).label("order_value")
            )
            .where(runs_table.c.execution_status == RunStatus.FAILED)
            .where(*conditions(where, FAILED))
            .order_by(runs_table.c.id.desc())
        )
        yield _older(failed, runs_table.c.id, after)


def _successful_parts(
    where: RunFilter, order: RunOrder, after: Cursor | None
) -> Iterator[Select[Any]]:
    metric: ColumnElement[Any] = metrics_table.c[order.by]
    run = metrics_table.c.backtest_run_id
    successful = select(run.label("id"), metric.label("order_value")).where(
        *conditions(where, SUCCESSFUL)
    )
    if needs_run(where):
        successful = successful.join(runs_table, runs_table.c.id == run)
    # Written as the index is: PostgreSQL does not see that NULLs are all alike, and would sort.
    among_undefined = (metric.desc().nulls_last(), run.desc())
    undefined = _older(successful.where(metric.is_(None)).order_by(*among_undefined), run, after)
    if after is not None and after.value is None:
        yield undefined
        return
    beyond = None if after is None else _beyond(metric, run, order, after)
    indexed = order.by in INDEXED_METRICS
    if not indexed or (beyond is None and not order.ascending):
        # Sorted in one pass, or as the index has them.
        every = successful if beyond is None else successful.where(or_(beyond, metric.is_(None)))
        yield every.order_by(_directed(metric, order).nulls_last(), run.desc())
        return
    defined = successful.where(metric.is_not(None) if beyond is None else beyond)
    # There are no NULLs here; read backwards, the index would have them first.
    ordered = metric.asc().nulls_first() if order.ascending else metric.desc().nulls_last()
    yield defined.order_by(ordered, run.desc())
    yield undefined


def _older(part: Select[Any], run: ColumnElement[int], after: Cursor | None) -> Select[Any]:
    """Return a part without values, from the cursor on if that lies within such a part."""
    if after is None or after.value is not None:
        return part
    return part.where(run < after.id)


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
