"""The questions that `history` asks, as SQL: one statement each for filter, order and page.

A list that is ordered by a metric has three parts: runs whose metric is defined, runs whose metric
is NULL, and failed runs, which have no metrics at all. Each part is read from an index and stops
at the limit; a plain outer join would have to sort every run. Where the index holds the first two
in one order, they are one part.

A page comes in three forms, among which `ntrader.storage.ways` chooses. See specs/queries.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
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
    JOINED,
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

_EVERYTHING = RunFilter()
_TAGGED = tags_table.alias("tagged")


def page_statement(
    where: RunFilter,
    order: RunOrder,
    *,
    limit: int,
    after: Cursor | None,
    steps: int | None = None,
) -> Select[Any]:
    """Return the query for the first `limit` runs after `after`, with their `order_value`.

    With `steps` only that many runs of the order are looked at, matching or not, and those of equal
    value: if the page is full it is the page, if not it says nothing.

    Raises:
        CursorMismatchError: `after` was issued for another list.
    """
    if order.by == CREATED_AT:
        return _page_by_creation(where, order, limit, _checked(after, where, order), steps)
    parts = _parts(where, order, limit, _checked(after, where, order), steps)
    return _page_of(parts, order, limit)


def gathered_statement(
    where: RunFilter, order: RunOrder, *, limit: int, after: Cursor | None
) -> Select[Any]:
    """Return the query for the same page, by finding all runs that match and sorting them.

    Raises: as `page_statement`.
    """
    parts = _gathered_parts(where, order, limit, _checked(after, where, order))
    return _page_of(parts, order, limit)


def weighing_statement(where: RunFilter, order: RunOrder) -> CompoundSelect[Any]:
    """Return the query for all runs, for one that is looked at, and for those that match.

    It is for the planner to say what it expects of each. Failed runs count if only they are wanted.
    """
    every = _gathered(_EVERYTHING, order)
    if where.status is RunStatus.FAILED:
        matching = _failed(where, order)
        return union_all(every, matching.where(runs_table.c.id == 0), matching)
    matching = _gathered(where, order)
    return union_all(every, matching.where(metrics_table.c.backtest_run_id == 0), matching)


def _checked(after: Cursor | None, where: RunFilter, order: RunOrder) -> Cursor | None:
    if after is not None and after.scope != Cursor.scope_of(where, order):
        raise CursorMismatchError(
            "The cursor belongs to a list with another filter or order.",
            hint="Repeat the options of the page that gave the cursor.",
        )
    return after


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
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None, steps: int | None
) -> Select[Any]:
    created_at = runs_table.c.created_at if where.tag is None else _TAGGED.c.run_created_at
    value = created_at.label("order_value")
    # Many runs may match parameters or an expression and be sorted: as their keys alone.
    keys_first = bool(where.parameters) or where.expression is not None
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
    if steps is not None:
        window = RunFilter(since=where.since, until=where.until)
        within = conditions(window, WHOLE_RUNS)
        last = _after_steps(runs_table.c.created_at, order, after, steps, *within)
        listed = listed.where(_in_order(created_at, last, order))
    return _in_detail(listed, order) if keys_first else listed


def _keys(where: RunFilter, value: ColumnElement[Any]) -> Select[Any]:
    """Return the query for the ids of runs, with what the filter needs beside them."""
    keys = select(runs_table.c.id, value).select_from(runs_table)
    if needs_metrics(where):
        return keys.outerjoin(metrics_table, metrics_table.c.backtest_run_id == runs_table.c.id)
    return keys


def _page_of(parts: Iterable[Select[Any]], order: RunOrder, limit: int) -> Select[Any]:
    """Return the query for a page of a list that has parts, each in the list's order."""
    every = union_all(*(part.limit(limit) for part in parts)).subquery("every")
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
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None, steps: int | None
) -> Iterator[Select[Any]]:
    """Give the parts of a list that lie after the cursor, each in the list's order."""
    if where.status is not RunStatus.FAILED:
        yield from _successful_parts(where, order, limit, after, steps)
    if where.status is not RunStatus.SUCCESS and steps is None:
        failed = _failed(where, order).order_by(runs_table.c.id.desc())
        yield _older(failed, (runs_table.c.id,), after)


def _failed(where: RunFilter, order: RunOrder) -> Select[Any]:
    """Return the query for the failed runs."""
    value: ColumnElement[Any] = runs_table.c.created_at
    if order.by != CREATED_AT:
        value = null().cast(metrics_table.c[order.by].type)
    return (
        select(runs_table.c.id, value.label("order_value"))
        .where(runs_table.c.execution_status == RunStatus.FAILED)
        .where(*conditions(where, FAILED))
    )


def _successful(where: RunFilter, order: RunOrder) -> Select[Any]:
    """Return the query for the runs that have metrics."""
    columns = metrics_table.c
    found: Select[Any] = select(
        columns.backtest_run_id.label("id"), columns[order.by].label("order_value")
    ).where(*conditions(where, SUCCESSFUL))
    if needs_run(where):
        return found.join(runs_table, runs_table.c.id == columns.backtest_run_id)
    return found


def _successful_parts(
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None, steps: int | None
) -> Iterator[Select[Any]]:
    metric: ColumnElement[Any] = metrics_table.c[order.by]
    run = metrics_table.c.backtest_run_id
    successful = _successful(where, order)
    # PostgreSQL does not see that what is less in one table is less in the other.
    keys = (run, runs_table.c.id) if needs_run(where) else (run,)
    # Written as the index is: PostgreSQL does not see that NULLs are all alike, and would sort.
    as_indexed = (metric.desc().nulls_last(), run.desc())
    undefined = _older(successful.where(metric.is_(None)).order_by(*as_indexed), keys, after)
    if after is not None and after.value is None:
        yield undefined
        return
    if after is None and steps is None and not order.ascending:
        # As the index has them, undefined ones included.
        yield successful.order_by(*as_indexed)
        return
    higher, lower = metric.is_not(None), metric.is_not(None)
    if after is not None:
        value = _value_of(after, metric)
        higher, lower = metric > value, metric < value
        equal = successful.where(metric == value).order_by(run.desc())
        yield equal.where(*(key < after.id for key in keys))
    if steps is not None:
        last = _after_steps(metric, order, after, steps)
        successful = successful.where(_in_order(metric, last, order))
    if order.ascending:
        yield from _lowest_parts(successful.where(higher), metric, run, limit)
    else:
        yield successful.where(lower).order_by(*as_indexed)
    if steps is None:
        yield undefined


def _after_steps(
    column: ColumnElement[Any],
    order: RunOrder,
    after: Cursor | None,
    steps: int,
    *within: Condition,
) -> ColumnElement[Any]:
    """Return the value that a part of an order has so many steps after its beginning or the cursor.

    Where the part ends before, it is the last of the order.
    """
    some = select(column).where(*within).offset(steps).limit(1).correlate(None)
    if after is not None:
        some = some.where(_in_order(_value_of(after, column), column, order))
    as_indexed = _directed(column, order)
    if order.by != CREATED_AT:
        # NULLs are not among them; the index has them last, and is read backwards to ascend.
        some = some.where(column.is_not(None))
        as_indexed = as_indexed.nulls_first() if order.ascending else as_indexed.nulls_last()
    last = select(func.max(column) if order.ascending else func.min(column)).correlate(None)
    return func.coalesce(some.order_by(as_indexed).scalar_subquery(), last.scalar_subquery())


def _in_order(first: Any, second: ColumnElement[Any], order: RunOrder) -> Condition:
    """Return the condition that the second of two values does not come before the first."""
    in_order: Condition = second >= first if order.ascending else second <= first
    return in_order


def _gathered(where: RunFilter, order: RunOrder) -> Select[Any]:
    """Return the query for the runs that have metrics, in no order."""
    if not needs_run(where):
        return _successful(where, order)
    # All conditions on one table, so that its indexes can be used together.
    columns = metrics_table.c
    found: Select[Any] = select(runs_table.c.id, columns[order.by].label("order_value"))
    return found.join_from(
        runs_table, metrics_table, columns.backtest_run_id == runs_table.c.id
    ).where(*conditions(where, JOINED))


def _gathered_parts(
    where: RunFilter, order: RunOrder, limit: int, after: Cursor | None
) -> Iterator[Select[Any]]:
    """Give the parts of a list, each found whole and then sorted."""
    if where.status is RunStatus.FAILED:
        yield _sorted(_failed(where, order), order, after)
        return
    successful = _sorted(_gathered(where, order), order, after)
    if where.status is RunStatus.SUCCESS:
        yield successful
        return
    first = successful.limit(limit).cte("first")
    yield select(first.c.id, first.c.order_value)
    failed = _sorted(_failed(where, order), order, after)
    if order.by != CREATED_AT:
        # They are among the undefined: none is looked for where defined values fill the page.
        defined = select(func.count(first.c.order_value)).scalar_subquery()
        failed = failed.where(defined < limit)
    yield failed


def _sorted(part: Select[Any], order: RunOrder, after: Cursor | None) -> Select[Any]:
    """Return the query for what comes after the cursor of a part, found whole and then sorted."""
    value, run = part.selected_columns["order_value"], part.selected_columns["id"]
    if after is not None and after.value is None:
        part = part.where(value.is_(None), run < after.id)
    elif after is not None:
        part = part.where(or_(_beyond(value, run, order, after), value.is_(None)))
    # Answered by itself, whatever order and limit are wanted of it.
    found = part.cte().prefix_with("MATERIALIZED").c
    return select(found.id, found.order_value).order_by(
        _directed(found.order_value, order).nulls_last(), found.id.desc()
    )


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
        return order_value(after.value or "", column.type)
    except (ValueError, ArithmeticError):
        raise CursorMismatchError("The cursor is damaged.") from None


def _directed(column: ColumnElement[Any], order: RunOrder) -> UnaryExpression[Any]:
    return column.asc() if order.ascending else column.desc()
