"""Which runs a list has and in which order, by plain Python over the values that were saved.

Nothing of the product is used: what an expression means is written down here once more, with SQL's
three values of truth (`None` is neither true nor false).
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from statistics import fmean, median
from typing import Any
from uuid import UUID

from support.listed_runs import METRIC_NAMES, ListedRun

NUMBERS = {*METRIC_NAMES, "initial_capital", "duration_seconds"} - {"max_drawdown_at"}
INSTANTS = {"max_drawdown_at", "created_at", "start", "end"}
CHOICES = {"status": ("success", "failed"), "mode": ("backtest", "paper", "live")}
RUN = "reproduced_from"
TAG = "tag"
PARAMETERS = ("strategy", "parameters")
"""Where the parameters are in a configuration."""
TEXTS = {
    *("strategy", "type", "symbol", "timeframe", "data_source"),
    *("fingerprint", "result_digest", "error", "note"),
}


@dataclass(frozen=True)
class Name:
    """A field: a column, `tag`, or with a path a value in `config` or `metadata`."""

    name: str
    path: tuple[str, ...] = ()

    @property
    def is_parameter(self) -> bool:
        return self.name == "config" and self.path[:-1] == PARAMETERS


@dataclass(frozen=True)
class Compare:
    field: Name
    operator: str
    value: Any


@dataclass(frozen=True)
class OneOf:
    field: Name
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Absent:
    field: Name


@dataclass(frozen=True)
class No:
    operand: "Asked"


@dataclass(frozen=True)
class Every:
    operands: "tuple[Asked, ...]"


@dataclass(frozen=True)
class Some:
    operands: "tuple[Asked, ...]"


type Asked = Compare | OneOf | Absent | No | Every | Some
type Truth = bool | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A filter: what each given column or property is equal to, and all else that must hold."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    strategy_id: UUID | None = None
    strategy_path: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    tag: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    asked: Asked | None = None

    def holds(self, run: ListedRun) -> bool:
        created_at = run.columns["created_at"]
        parameters = run.config["strategy"]["parameters"]
        return all(
            (
                all(run.columns[name] == value for name, value in self.columns.items()),
                self.strategy_id in (None, run.strategy_id),
                self.strategy_path in (None, run.strategy_path),
                self.since is None or created_at >= self.since,
                self.until is None or created_at < self.until,
                self.tag is None or self.tag in run.tags,
                all(
                    name in parameters and _same_json(parameters[name], value)
                    for name, value in self.parameters.items()
                ),
                self.asked is None or truth(self.asked, run) is True,
            )
        )


def _same_json(one: Any, other: Any) -> bool:
    """Whether two scalars are one JSON value: 1 is 1.0, and neither is true or '1'."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        is_truth = isinstance(one, bool), isinstance(other, bool)
        return is_truth[0] == is_truth[1] and _exactly(one) == _exactly(other)
    return type(one) is type(other) and bool(one == other)


def listed(
    runs: Iterable[ListedRun], wanted: Wanted, by: str, *, ascending: bool
) -> list[ListedRun]:
    """Return the whole list: undefined values last, of equals the later saved one first."""
    found = sorted(filter(wanted.holds, runs), key=lambda run: run.number, reverse=True)
    defined = [run for run in found if run.columns.get(by) is not None]
    undefined = [run for run in found if run.columns.get(by) is None]
    if ascending:
        return [*sorted(defined, key=lambda run: run.columns[by]), *undefined]
    return [*sorted(defined, key=lambda run: -_ordinal(run.columns[by])), *undefined]


def _ordinal(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    passed = value - datetime(2000, 1, 1, tzinfo=UTC)
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def summed_up(runs: Iterable[ListedRun]) -> dict[str, dict[str, Any]]:
    """Return for each strategy: runs, failed ones, the newest, best, median and mean."""
    by_strategy: dict[str, list[ListedRun]] = {}
    for run in runs:
        by_strategy.setdefault(run.columns["strategy"], []).append(run)
    return {
        strategy: {
            "runs": len(mine),
            "failed": sum(run.columns["status"] == "failed" for run in mine),
            "newest_at": max(run.columns["created_at"] for run in mine),
            "sharpe_ratio": _figures(run.columns.get("sharpe_ratio") for run in mine),
            "total_return": _figures(run.columns.get("total_return") for run in mine),
        }
        for strategy, mine in by_strategy.items()
    }


def _figures(values: Iterable[Decimal | None]) -> list[float | None]:
    known = [float(value) for value in values if value is not None]
    return [max(known), median(known), fmean(known)] if known else [None, None, None]


def truth(asked: Asked, run: ListedRun) -> Truth:
    """Return whether an expression holds of a run."""
    match asked:
        case No(operand):
            found = truth(operand, run)
            return None if found is None else not found
        case Every(operands):
            return _every([truth(each, run) for each in operands])
        case Some(operands):
            return _some([truth(each, run) for each in operands])
        case Absent(name):
            return not run.tags if name.name == TAG else _value(name, run) is None
        case OneOf(name, values):
            return _some([_compared(name, "=", value, run) for value in values])
        case Compare(name, sign, value):
            return _compared(name, sign, value, run)


def _every(found: Sequence[Truth]) -> Truth:
    if any(each is False for each in found):
        return False
    return None if None in found else True


def _some(found: Sequence[Truth]) -> Truth:
    if any(each is True for each in found):
        return True
    return None if None in found else False


_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _compared(name: Name, sign: str, value: Any, run: ListedRun) -> Truth:
    if name.name == TAG:
        return (value in run.tags) == (sign == "=")
    found = _value(name, run)
    if name.path:
        if name.is_parameter and sign in ("=", "!=") and isinstance(value, Decimal):
            # A parameter keeps its type: the text '10' is not the number.
            found = None if isinstance(found, str) else found
        found = _as_type_of(value, found)
    return None if found is None else _SIGNS[sign](found, value)


def _value(name: Name, run: ListedRun) -> Any:
    """Return what a run has in a field; a JSON null is nothing."""
    if not name.path:
        return run.columns.get(name.name)
    found: Any = run.config if name.name == "config" else run.metadata
    for key in name.path:
        found = _member(found, key)
    return found


def _member(found: Any, key: str) -> Any:
    if isinstance(found, Mapping):
        return found.get(key)
    if isinstance(found, list) and re.fullmatch(r"-?[0-9]+", key):
        return found[int(key)] if -len(found) <= int(key) < len(found) else None
    return None


def _as_type_of(value: Any, found: Any) -> Any:
    """Return a JSON value as it is compared with `value`, None where it cannot be."""
    match value:
        case bool():
            return found if isinstance(found, bool) else None
        case Decimal():
            return _as_number(found)
        case datetime():
            return _as_instant(found)
    return found if isinstance(found, str) else None


def _exactly(number: float) -> Decimal:
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


_HEX = {"0x1F": Decimal(31)}
_NUMBER = re.compile(r"[-+]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+)(e[-+]?\d{1,3})?\s*", re.IGNORECASE)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[-+]\d\d:\d\d)?)?")


def _as_number(found: Any) -> Decimal | None:
    match found:
        case bool():
            return None
        case int() | float():
            return _exactly(found)
        case str():
            return Decimal(found.strip()) if _NUMBER.fullmatch(found) else _HEX.get(found)
    return None


def _as_instant(found: Any) -> datetime | None:
    if not isinstance(found, str) or not _INSTANT.fullmatch(found):
        return None
    try:
        instant = datetime.fromisoformat(found)
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
