"""The questions that `history` asks, as SQL: one statement each for filter, order and page.

A list that is ordered by a metric has three parts: runs whose metric is defined, runs whose metric
is NULL, and failed runs, which have no metrics at all. Each part is read from an index and stops
at the limit; a plain outer join would have to sort every run. Where the index holds the first two
in one order, they are one part. See specs/queries.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from ntrader.storage.rows import order_value
from ntrader.storage.run_rows import runs_with_details
from ntrader.storage.tables import metrics_table, runs_table, tags_table

_TAGGED = tags_table.alias("tagged")


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
    # Many runs may match parameters or an expression and be sorted: as their keys alone.
    keys_first = bool(where.parameters) or where.expression is not None
    created_at = runs_table.c.created_at if where.tag is None else _TAGGED.c.run_created_at
    value = created_at.label("order_value")
    listed = _keys(where, value) if keys_first else runs_with_details().add_columns(value)
    if where.tag is not None:
        # A tag has its run's time: its newest runs are the first entries of an index.
        mine = and_(_TAGGED.c.run_id == runs_table.c.run_id, _TAGGED.c.tag == where.tag)
        listed = listed.join(_TAGGED, mine)
        where = replace(where, tag=None)
    listed = (
        listed.where(*of_whole_runs(where))
        .order_by(_directed(created_at, order), runs_table.c.id.desc())
        .limit(limit)
    )
    if after is not None:
        listed = listed.where(_beyond(created_at, runs_table.c.id, order, after))
    return _in_detail(listed, order) if keys_first else listed


def _keys(where: RunFilter, value: ColumnElement[Any]) -> Select[Any]:
    """Return the query for the ids of runs, with what the filter needs beside them."""
    keys = select(runs_table.c.id, value).select_from(runs_table)
    if needs_metrics(where):
        return keys.outerjoin(metrics_table, metrics_table.c.backtest_run_id == runs_table.c.id)
    return keys


def _page_by_metric(
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None
) -> Select[Any]:
    parts = [part.limit(limit) for part in _parts(where, order, limit, after)]
    every = union_all(*parts).subquery("every")
    picked = (
        select(every.c.id, every.c.order_value)
        .order_by(_directed(every.c.order_value, order).nulls_last(), every.c.id.desc())
        .limit(limit)
    )
    return _in_detail(picked, order)


def _in_detail(page: Select[Any], order: RunOrder) -> Select[Any]:
    """Return the query for the whole runs of a page of ids."""
    picked = page.subquery("picked")
    return (
        runs_with_details()
        .add_columns(picked.c.order_value)
        .join(picked, picked.c.id == runs_table.c.id)
        .order_by(_directed(picked.c.order_value, order).nulls_last(), picked.c.id.desc())
    )


def _parts(
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None
) -> Iterator[Select[Any]]:
    """Give the parts of a list that lie after the cursor, each in the list's order."""
    if where.status is not RunStatus.FAILED:
        yield from _successful_parts(where, order, limit, after)
    if where.status is not RunStatus.SUCCESS:
        failed = (
            select(
                runs_table.c.id, null().cast(metrics_table.c[order.by].type).label("order_value")
            )
            .where(runs_table.c.execution_status == RunStatus.FAILED)
            .where(*conditions(where, FAILED))
            .order_by(runs_table.c.id.desc())
        )
        yield _older(failed, (runs_table.c.id,), after)


def _successful_parts(
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None
) -> Iterator[Select[Any]]:
    metric: ColumnElement[Any] = metrics_table.c[order.by]
    run = metrics_table.c.backtest_run_id
    successful = select(run.label("id"), metric.label("order_value")).where(
        *conditions(where, SUCCESSFUL)
    )
    keys: tuple[ColumnElement[int], ...] = (run,)
    if needs_run(where):
        successful = successful.join(runs_table, runs_table.c.id == run)
        # PostgreSQL does not see that what is less in one table is less in the other.
        keys = (run, runs_table.c.id)
    # Written as the index is: PostgreSQL does not see that NULLs are all alike, and would sort.
    as_indexed = (metric.desc().nulls_last(), run.desc())
    undefined = _older(successful.where(metric.is_(None)).order_by(*as_indexed), keys, after)
    if after is not None and after.value is None:
        yield undefined
        return
    if after is None and not order.ascending:
        # As the index has them, undefined ones included.
        yield successful.order_by(*as_indexed)
        return
    higher, lower = metric.is_not(None), metric.is_not(None)
    if after is not None:
        value = _value_of(after, metric)
        higher, lower = metric > value, metric < value
        equal = successful.where(metric == value).order_by(run.desc())
        yield equal.where(*(key < after.id for key in keys))
    if order.ascending:
        yield from _lowest_parts(successful.where(higher), metric, run, limit)
    else:
        yield successful.where(lower).order_by(*as_indexed)
    yield undefined


def _lowest_parts(
    defined: Select[Any], metric: ColumnElement[Any], run: ColumnElement[int], limit: int
) -> Iterator[Select[Any]]:
    """Give the parts of runs whose metric is defined, the lowest first.

    Read backwards, the index has the older of equal runs first, and the list wants the newer: half
    of all runs may be equal. So the values are read backwards, and the runs that have the highest
    of them, which the limit may cut, once more forwards.
    """
    # NULLs are not among them; read backwards, the index has them first.
    first = defined.order_by(metric.asc().nulls_first()).limit(limit).cte("first")
    highest = select(func.max(first.c.order_value)).scalar_subquery()
    yield select(first.c.id, first.c.order_value).where(first.c.order_value < highest)
    # Asked first, the second condition ends the part where there is no such run.
    equal = defined.where(metric == highest, highest.is_not(None))
    yield equal.order_by(run.desc())


def _older(
    part: Select[Any], keys: Sequence[ColumnElement[int]], after: Cursor | None
) -> Select[Any]:
    """Return a part without values, from the cursor on if that lies within such a part."""
    if after is None or after.value is not None:
        return part
    return part.where(*(key < after.id for key in keys))


def _beyond(
    column: ColumnElement[Any],
    run: ColumnElement[int],
    order: RunOrder,
    after: Cursor,
) -> Condition:
    """Return the condition that a run comes after the cursor, whose value is defined."""
    value = _value_of(after, column)
    if not order.ascending:
        # The first condition is for a column that is not in the run's table.
        return and_(column <= value, tuple_(column, run) < tuple_(value, after.id))
    # Among equals the newer run comes first in both directions.
    return and_(column >= value, or_(column > value, run < after.id))


def _value_of(after: Cursor, column: ColumnElement[Any]) -> Any:
    """Return the cursor's value as the column has it."""
    try:
        return order_value(after.value or "", column.type.python_type)
    except (ValueError, ArithmeticError):
        raise CursorMismatchError("The cursor is damaged.") from None


def _directed(column: ColumnElement[Any], order: RunOrder) -> UnaryExpression[Any]:
    return column.asc() if order.ascending else column.desc()
