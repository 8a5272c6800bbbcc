"""Questions to the store: filters, orders, cursors and pages."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from ntrader.domain.expressions import Expression
from ntrader.domain.identity import canonical_json, instant_text, sha256_text
from ntrader.domain.pins import Pin
from ntrader.domain.results import METRICS
from ntrader.domain.runs import BacktestRun, RunStatus
from ntrader.errors import CursorMismatchError, UsageError

CREATED_AT = "created_at"
ORDERS = (CREATED_AT, *METRICS)
MAX_LIMIT = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFilter:
    """Which runs are meant; every part that is not None must hold.

    `strategy_id` is the stored strategy, or the named configuration of one, that a run belongs to.
    `strategy`, `strategy_path`, `strategy_type`, `symbol`, `timeframe` and `tag` compare exactly;
    `since` is inclusive and `until` exclusive, both on the run's creation; `parameters` must all be
    equal. `strategy_path` is a class in a file: `/path/to/file.py:Class`. `expression` is whatever
    else must hold.
    """

    strategy: str | None = None
    strategy_id: UUID | None = None
    strategy_path: str | None = None
    strategy_type: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    status: RunStatus | None = None
    since: datetime | None = None
    until: datetime | None = None
    fingerprint: str | None = None
    tag: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    expression: Expression | None = None

    def parts(self) -> frozenset[str]:
        """Return the names of the parts that are given."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) not in (None, {}))

    def canonical(self) -> str:
        """Return the one text for this filter."""
        return canonical_json({name: _plain(getattr(self, name)) for name in self.parts()})


def _plain(value: Any) -> Any:
    """Return a part of a filter as a JSON value."""
    match value:
        case datetime():
            return instant_text(value)
        case str() | Mapping():
            return value
    return str(value)


@dataclass(frozen=True, slots=True)
class RunOrder:
    """An order of runs: by one column, undefined values last, newer runs first among equals."""

    by: str = CREATED_AT
    ascending: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `METRIC`, `METRIC:asc` or `METRIC:desc`.

        Raises:
            UsageError: there is no such metric or direction.
        """
        name, _, direction = text.partition(":")
        if name not in ORDERS:
            raise UsageError(
                f"Runs cannot be sorted by {name!r}.", hint=f"One of {', '.join(ORDERS)}."
            )
        if direction not in ("", "asc", "desc"):
            raise UsageError(f"{direction!r} is not a direction.", hint="Use :asc or :desc.")
        return cls(name, direction == "asc")

    def __str__(self) -> str:
        return f"{self.by}:{'asc' if self.ascending else 'desc'}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an ordered list: right after the run with this `value` and `id`.

    `scope` is a digest of the filter and the order, so that a cursor is not taken for another list.
    """

    scope: str
    value: str | None
    id: int

    @staticmethod
    def scope_of(where: RunFilter, order: RunOrder) -> str:
        """Return the scope of a list."""
        return sha256_text(f"{where.canonical()} {order}")[:16]

    def encode(self) -> str:
        """Return the cursor as the opaque text that a user passes back."""
        text = json.dumps([self.scope, self.value, self.id], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what `encode` wrote.

        Raises:
            CursorMismatchError: `text` is not a cursor.
        """
        try:
            decoded = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
            scope, value, run = json.loads(decoded)
        except (binascii.Error, UnicodeError, ValueError, TypeError):
            raise _not_a_cursor(text) from None
        if (
            not isinstance(scope, str)
            or not isinstance(value, str | None)
            or type(run) is not int
            or not 0 <= run < 2**63
        ):
            raise _not_a_cursor(text)
        return cls(scope, value, run)


def _not_a_cursor(text: str) -> CursorMismatchError:
    return CursorMismatchError(
        f"{text[:40]!r} is not a cursor.", hint="Pass the `next` value of the page before."
    )


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A part of a list, and where the next part starts (None at the end)."""

    items: tuple[T, ...]
    next: Cursor | None


@dataclass(frozen=True, slots=True)
class RunList:
    """A page of runs; `stale` names, by run, what a run rests on and has changed since."""

    page: Page[BacktestRun]
    stale: Mapping[UUID, tuple[Pin, ...]]


@dataclass(frozen=True, slots=True)
class Count:
    """How many runs match; `capped` says that counting stopped there."""

    value: int
    capped: bool
