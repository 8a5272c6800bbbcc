"""Questions about runs, made up with a seed: filters, expressions, orders and pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from support.list_oracle import (
    CHOICES,
    INSTANTS,
    NUMBERS,
    PARAMETERS,
    RUN,
    TAG,
    TEXTS,
    Absent,
    Asked,
    Compare,
    Every,
    Name,
    No,
    OneOf,
    Some,
    Wanted,
)
from support.list_spelling import Speller
from support.listed_runs import KEYS, METRIC_NAMES, TAGS, VALUES, ListedRun

_EQUALITY = ("=", "!=")
_SIGNS = (*_EQUALITY, "<", "<=", ">", ">=")
_PATHS = (
    *((name, path) for name in ("config", "metadata") for path in (("no",), ("no", "such"))),
    *(("config", (name,)) for name in ("fee", "seed", "fill", "start", "end", "initial_capital")),
    *(("config", ("instrument", name)) for name in ("symbol", "venue", "base_currency")),
    *(("config", path) for path in (("instrument",), ("extra",), ("extra", "deep", "x"))),
    *(("config", ("extra", key)) for key in ("0", "-1", "7", "list", "deep")),
    ("config", ("extra", "list", "3", "0")),
    ("config", ("strategy", "name")),
    *(("metadata", ("environment", name)) for name in ("host", "cpus")),
    *(("metadata", ("environment", "host", key)) for key in ("0", "-1", "deep")),
    *(("metadata", path) for path in (("bars_done",), ("undefined_metrics",))),
    *(("metadata", ("imported", name)) for name in ("at", "from")),
)


@dataclass(frozen=True)
class Question:
    """A list that is asked for, as the oracle and as the product take it."""

    wanted: Wanted
    by: str
    ascending: bool
    limit: int
    text: str | None

    def __str__(self) -> str:
        of = self.wanted
        parts = (of.strategy_id, of.strategy_path, of.since, of.until, of.tag, of.parameters)
        order = f"{self.by}:{'asc' if self.ascending else 'desc'}"
        return f"{self.text!r} with {of.columns} {parts} by {order}, {self.limit} a page"

    @property
    def where(self) -> RunFilter:
        of = self.wanted
        status = of.columns.get("status")
        return RunFilter(
            **{
                {"type": "strategy_type"}.get(name, name): value
                for name, value in of.columns.items()
                if name != "status"
            },
            status=None if status is None else RunStatus(status),
            strategy_id=of.strategy_id,
            strategy_path=of.strategy_path,
            since=of.since,
            until=of.until,
            tag=of.tag,
            parameters=of.parameters,
            expression=None if self.text is None else parse_expression(self.text),
        )

    @property
    def order(self) -> RunOrder:
        return RunOrder(self.by, self.ascending)


class Questions:
    """Makes questions up about `runs`.

    Args:
        chance: what decides.
        runs: where values come from that are there.
        texts_have_order: whether the server orders texts by code points, as Python does.
    """

    def __init__(
        self, chance: Random, runs: Sequence[ListedRun], *, texts_have_order: bool = True
    ) -> None:
        self._chance = chance
        self._runs = runs
        self._texts_have_order = texts_have_order

    def question(self) -> Question:
        chance = self._chance
        depth = chance.choice((0, 0, 1, 1, 2, 2, 3, 3, 6))
        asked = self._expression(depth) if chance.random() < 0.7 else None
        return Question(
            wanted=self._filter(asked),
            by="created_at" if chance.random() < 0.25 else chance.choice(METRIC_NAMES),
            ascending=chance.random() < 0.5,
            limit=chance.randint(1, 50),
            text=None if asked is None else self._spelt(asked),
        )

    def _filter(self, asked: Asked | None) -> Wanted:
        like = self._chance.choice(self._runs)
        names = ("strategy", "type", "symbol", "timeframe", "status", "fingerprint")
        parameters = {
            name: value
            for name, value in like.config["strategy"]["parameters"].items()
            if isinstance(value, int | float | str)
        }
        moments = sorted(self._chance.choice(self._runs).columns["created_at"] for _ in range(2))
        return Wanted(
            columns={name: like.columns[name] for name in names if self._seldom()},
            strategy_id=like.strategy_id if self._seldom() else None,
            strategy_path=like.strategy_path if self._seldom() else None,
            since=moments[0] if self._seldom() else None,
            until=moments[1] + timedelta(microseconds=1) if self._seldom() else None,
            tag=self._chance.choice(TAGS) if self._seldom() else None,
            parameters={name: value for name, value in parameters.items() if self._seldom()}
            if self._seldom()
            else {},
            asked=asked,
        )

    def _seldom(self) -> bool:
        return self._chance.random() < 0.1

    def _expression(self, depth: int) -> Asked:
        kind = self._chance.random()
        if depth == 0 or kind < 0.2:
            return self._test()
        if kind < 0.4:
            return No(self._expression(depth - 1))
        operands = tuple(
            self._expression(depth - 1) for _ in range(self._chance.choice((2, 2, 2, 3)))
        )
        return Every(operands) if kind < 0.65 else Some(operands)

    def _test(self) -> Asked:
        name = self._field()
        kind = self._chance.random()
        if kind < 0.15:
            return Absent(name)
        if kind < 0.35:
            return OneOf(name, tuple(self._value(name) for _ in range(self._chance.randint(1, 4))))
        value = self._value(name)
        return Compare(name, self._chance.choice(self._signs(name, value)), value)

    def _signs(self, name: Name, value: Any) -> Sequence[str]:
        if name.name == TAG or name.name in CHOICES or isinstance(value, bool):
            return _EQUALITY
        unordered = isinstance(value, str) and not self._texts_have_order
        return _EQUALITY if unordered else _SIGNS

    def _field(self) -> Name:
        kind = self._chance.random()
        if kind < 0.3:
            return Name("config", (*PARAMETERS, self._chance.choice(KEYS)))
        if kind < 0.45:
            return Name(*self._chance.choice(_PATHS))
        if kind < 0.5:
            deep = self._chance.choice(
                (("0",), ("-1",), ("deep", "x"), ("deep", "when"), ("list",))
            )
            return Name("config", (*PARAMETERS, self._chance.choice(KEYS), *deep))
        groups = (
            METRIC_NAMES,
            METRIC_NAMES,
            tuple(sorted(TEXTS)),
            ("created_at", "start", "end", "initial_capital", "duration_seconds"),
            (TAG, TAG, RUN, *CHOICES),
            (TAG,),
        )
        return Name(self._chance.choice(self._chance.choice(groups)))

    def _value(self, name: Name) -> Any:
        """Return a value that the field may be compared with; most are some run's."""
        chance = self._chance
        if name.path:
            return self._json_value()
        if name.name == TAG:
            return chance.choice((*TAGS, "none"))
        if name.name in CHOICES:
            return chance.choice(CHOICES[name.name])
        found = chance.choice(self._runs).columns.get(name.name)
        if name.name in TEXTS:
            return chance.choice(("", "zz", "it's")) if found is None else found
        if name.name in INSTANTS:
            return self._near_instant(found)
        if name.name in NUMBERS:
            return self._near_number(found)
        return UUID(int=chance.getrandbits(128)) if found is None else found

    def _near_number(self, found: Any) -> Decimal:
        value = Decimal(self._chance.choice(("0", "1", "0.5", "-1")) if found is None else found)
        if self._chance.random() < 0.7:
            return value
        return value + Decimal(self._chance.choice(("0.00000001", "-0.5", "1e-9", "-1")))

    def _near_instant(self, found: datetime | None) -> datetime:
        value = datetime(2026, 3, 2, tzinfo=UTC) if found is None else found
        if self._chance.random() < 0.7:
            return value
        return value + self._chance.choice(
            (timedelta(microseconds=1), timedelta(minutes=-1), timedelta(days=1))
        )

    def _json_value(self) -> Any:
        """Return a value of the language: what is JSON's, and dates."""
        value = self._chance.choice(VALUES)
        match value:
            case bool():
                return value
            case int():
                return Decimal(value)
            case float():
                return Decimal(repr(value))
            case str() if len(value) < 100:
                return value
        return self._chance.choice(
            (
                datetime(2020, 2, 3, tzinfo=UTC),
                datetime(2020, 2, 3, 0, 0, 0, 1, tzinfo=UTC),
                Decimal("0.1234567890123456789"),
                Decimal(31),
                Decimal(99),
                Decimal("0.001"),
                Decimal(100_000),
                Decimal(1000),
                "NYSE",
                "next-open",
            )
        )

    def _spelt(self, asked: Asked) -> str:
        return Speller(self._chance).expression(asked)


def as_options(question: Question) -> list[str] | None:
    """Return the options of `ntrader history` that ask the question, None where there are none."""
    of = question.wanted
    if of.strategy_path is not None or "fingerprint" in of.columns:
        return None
    if not all(name and _is_typed_as_it_is(value) for name, value in of.parameters.items()):
        return None
    given: Mapping[str, Any] = {
        **of.columns,
        "strategy-id": of.strategy_id,
        "tag": of.tag,
        "since": None if of.since is None else of.since.isoformat(),
        "until": None if of.until is None else of.until.isoformat(),
        "where": question.text,
        "sort": f"{question.by}:{'asc' if question.ascending else 'desc'}",
        "limit": question.limit,
    }
    return [
        *(f"--{name}={value}" for name, value in given.items() if value is not None),
        *(f"--param={name}={value}" for name, value in of.parameters.items()),
    ]


def _is_typed_as_it_is(value: Any) -> bool:
    """Whether a parameter's value is read as itself: a text must not look like something else."""
    return not isinstance(value, str) or value in ("ten", "Ten", "it's", "50%", "a\\b", "ü☃")
