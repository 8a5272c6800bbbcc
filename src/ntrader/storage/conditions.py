"""What must hold of a run, as SQL: filters and expressions, with bound values only.

A value within a JSON document is of any type. It is cast only after a look at its type, so that no
run makes a query fail; what cannot be compared is NULL.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Numeric,
    Text,
    and_,
    any_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, array

from ntrader.domain.documents import number
from ntrader.domain.expressions import (
    And,
    Comparison,
    Expression,
    Field,
    IsNull,
    Kind,
    Membership,
    Not,
    Or,
    Value,
    fields_of,
)
from ntrader.domain.queries import RunFilter
from ntrader.domain.results import METRICS
from ntrader.domain.runs import RunMode, RunStatus
from ntrader.storage.tables import (
    PARAMETERS_PATH,
    metrics_table,
    notes_table,
    runs_table,
    tags_table,
)

type Condition = ColumnElement[bool]

PARAMETERS: ColumnElement[Any] = literal_column(
    f"(backtest_runs.config_snapshot #> {PARAMETERS_PATH})", JSONB
)
"""A run's parameters, written as their index has them."""

_COPIED = {
    "strategy": "strategy_name",
    "symbol": "instrument_symbol",
    "created_at": "created_at",
}
_OF_RUN = {
    "type": "strategy_type",
    "timeframe": "timeframe",
    "data_source": "data_source",
    "fingerprint": "fingerprint",
    "result_digest": "result_digest",
    "error": "error_message",
    "status": "execution_status",
    "mode": "run_mode",
    "reproduced_from": "reproduced_from_run_id",
    "start": "start_date",
    "end": "end_date",
    "initial_capital": "initial_capital",
    "duration_seconds": "execution_duration_seconds",
}
_NUMERIC = Numeric()
_INSTANT = DateTime(timezone=True)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that conditions are asked of.

    `shared` is the table whose copies of strategy, symbol and creation are asked; `metrics` says
    whether a run's metrics are at hand: without them each is NULL. All rows may be known to be of
    one `status`: the planner, which does not know, would walk a whole ranking for failed runs.
    """

    shared: FromClause
    metrics: bool
    status: RunStatus | None = None

    def column(self, name: str) -> ColumnElement[Any]:
        """Return the column for a field that is one."""
        if name in _COPIED:
            return self.shared.c[_COPIED[name]]
        if name in METRICS:
            column: ColumnElement[Any] = metrics_table.c[name]
            return column if self.metrics else null().cast(column.type)
        if name == "status" and self.status is not None:
            return literal(self.status, runs_table.c.execution_status.type)
        if name == "error" and self.status is RunStatus.SUCCESS:
            return null().cast(Text)
        if name == "note":
            return (
                select(notes_table.c.note)
                .where(notes_table.c.run_id == runs_table.c.run_id)
                .scalar_subquery()
            )
        return runs_table.c[_OF_RUN[name]]


WHOLE_RUNS = Rows(runs_table, metrics=True)
"""Runs joined with their metrics."""
SUCCESSFUL = Rows(metrics_table, metrics=True, status=RunStatus.SUCCESS)
"""Metrics, joined with their runs where `needs_run` says so."""
JOINED = Rows(runs_table, metrics=True, status=RunStatus.SUCCESS)
"""Metrics, joined with their runs, of which all is asked that both have."""
FAILED = Rows(runs_table, metrics=False, status=RunStatus.FAILED)
"""Runs without metrics."""


def conditions(where: RunFilter, rows: Rows) -> list[Condition]:
    """Return all that must hold, but for the status."""
    found = [*_shared_conditions(where, rows.shared), *_run_conditions(where)]
    if where.expression is not None:
        found.append(_Compiler(rows).condition(where.expression))
    return found


def needs_run(where: RunFilter) -> bool:
    """Whether metrics and their copies do not answer the filter alone."""
    asked = () if where.expression is None else fields_of(where.expression)
    return bool(_run_conditions(where)) or any(
        field.path or field.name not in (*_COPIED, *METRICS) for field in asked
    )


def needs_metrics(where: RunFilter) -> bool:
    """Whether the filter asks for a metric."""
    asked = () if where.expression is None else fields_of(where.expression)
    return any(field.name in METRICS for field in asked)


def _shared_conditions(where: RunFilter, table: FromClause) -> list[Condition]:
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
    if where.strategy_id is not None:
        found.append(runs_table.c.strategy_id == where.strategy_id)
    if where.strategy_type is not None:
        found.append(runs_table.c.strategy_type == where.strategy_type)
    if where.timeframe is not None:
        found.append(runs_table.c.timeframe == where.timeframe)
    if where.fingerprint is not None:
        found.append(runs_table.c.fingerprint == where.fingerprint)
    if where.tag is not None:
        found.append(_tagged([where.tag]))
    if where.strategy_path is not None:
        found.append(_strategy_path() == where.strategy_path)
    if where.parameters:
        found.append(_has_parameters(where.parameters))
    return found


def _strategy_path() -> ColumnElement[str]:
    """Return the path of a run's strategy, written as its index has it."""
    return literal_column("(backtest_runs.config_snapshot ->> 'strategy_path')", Text)


def _has_parameters(wanted: Mapping[str, Any]) -> Condition:
    """Return the condition that is answered from the parameters' index."""
    return PARAMETERS.op("@>", is_comparison=True)(literal(dict(wanted), JSONB))


def _tagged(tags: Iterable[str]) -> Condition:
    wanted = literal(list(tags), ARRAY(Text))
    tagged = select(tags_table.c.run_id).where(tags_table.c.tag == any_(wanted))
    return runs_table.c.run_id.in_(tagged)


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Turns an expression into a condition on `rows`.

    Within a `not`, an equality is not answered from an index that knows no NULL.
    """

    rows: Rows
    negated: bool = False

    def condition(self, expression: Expression) -> Condition:
        match expression:
            case Not():
                return not_(self._within_not().condition(expression.operand))
            case And():
                return and_(*map(self.condition, expression.operands))
            case Or():
                return or_(*map(self.condition, expression.operands))
            case IsNull():
                return self._is_null(expression.field)
            case Membership():
                return self._is_one_of(expression.field, expression.values)
            case Comparison():
                return self._compared(expression.field, expression.operator, expression.value)

    def _within_not(self) -> Self:
        return type(self)(self.rows, negated=True)

    def _is_null(self, field: Field) -> Condition:
        if field.kind is Kind.TAG:
            return not_(exists().where(tags_table.c.run_id == runs_table.c.run_id))
        if field.kind is Kind.JSON:
            # A JSON null is nothing too.
            return _json_text(field).is_(None)
        return self.rows.column(field.name).is_(None)

    def _is_one_of(self, field: Field, values: tuple[Value, ...]) -> Condition:
        match field.kind:
            case Kind.TAG:
                return _tagged(map(str, values))
            case Kind.JSON:
                return or_(*(self._compared(field, "=", value) for value in values))
        return self.rows.column(field.name) == any_(array([_bound(field, each) for each in values]))

    def _compared(self, field: Field, operator: str, value: Value) -> Condition:
        if field.kind is Kind.TAG:
            tagged = _tagged([str(value)])
            return tagged if operator == "=" else not_(tagged)
        if field.kind is not Kind.JSON:
            return _operated(self.rows.column(field.name), operator, _bound(field, value))
        typed = _is_parameter(field) and operator in ("=", "!=")
        if typed and operator == "=" and not self.negated:
            plain = _as_json(value)
            if plain is not None:
                # Nothing beside it: the planner would take the two for independent, and expect a
                # hundredth of the runs.
                return _has_parameters({field.path[-1]: plain})
        return _operated(_json_value(field, value, typed=typed), operator, _literal(value))


def _operated(left: ColumnElement[Any], operator: str, right: Any) -> Condition:
    return left.op({"!=": "<>"}.get(operator, operator), is_comparison=True, return_type=Boolean())(
        right
    )


def _bound(field: Field, value: Value) -> Any:
    """Return a value as the field's column is compared with."""
    match field.kind:
        case Kind.STATUS:
            return literal(RunStatus(str(value)), runs_table.c.execution_status.type)
        case Kind.MODE:
            return literal(RunMode(str(value)), runs_table.c.run_mode.type)
        case Kind.RUN:
            return literal(UUID(str(value)))
    return _literal(value)


def _literal(value: Value) -> ColumnElement[Any]:
    match value:
        case bool():
            return literal(value, JSONB)
        case Decimal():
            return literal(value, _NUMERIC)
        case datetime():
            return literal(value, _INSTANT)
    return literal(value, Text)


def _json(field: Field) -> ColumnElement[Any]:
    document = runs_table.c.config_snapshot if field.name == "config" else runs_table.c["metadata"]
    path = ("config", *field.path) if field.name == "config" else field.path
    found: ColumnElement[Any] = document[path]
    return found


def _json_text(field: Field) -> ColumnElement[Any]:
    return _json(field).astext  # type: ignore[no-any-return]


def _json_value(field: Field, value: Value, *, typed: bool) -> ColumnElement[Any]:
    """Return the value at a path as the type of `value`; NULL where it has another.

    Money is a text within a snapshot, so a text that is a number counts as one, unless `typed`.
    """
    text = _json_text(field)
    match value:
        case bool():
            return case((func.jsonb_typeof(_json(field)) == "boolean", _json(field)))
        case Decimal() if typed:
            return case((func.jsonb_typeof(_json(field)) == "number", cast(text, _NUMERIC)))
        case Decimal():
            return _checked_cast(text, "numeric", r"^[-+]?[0-9.]", _NUMERIC)
        case datetime():
            return _checked_cast(text, "timestamptz", r"^[0-9]{4}-", _INSTANT)
    return case((func.jsonb_typeof(_json(field)) == "string", text))


def _checked_cast(
    text: ColumnElement[Any], name: str, beginning: str, kind: Any
) -> ColumnElement[Any]:
    # `infinity`, `NaN` and `now` would be valid too.
    begins = text.op("~", is_comparison=True)(beginning)
    valid = func.pg_input_is_valid(text, name, type_=Boolean())
    return case((and_(begins, valid), cast(text, kind)))


def _is_parameter(field: Field) -> bool:
    return field.path[:-1] == ("strategy", "parameters") and field.name == "config"


def _as_json(value: Value) -> Any:
    """Return `value` as JSON has it, None where it cannot."""
    match value:
        case datetime():
            return None
        case Decimal():
            plain = number(value)
            # JSON numbers are written from floats: one that is only near is another value.
            return plain if isinstance(plain, int) or Decimal(repr(plain)) == value else None
    return value
