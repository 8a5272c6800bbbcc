"""Which runs a list is of: the options of `ntrader history`, as parameters of a query."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BeforeValidator

from ntrader.api.context import TheService
from ntrader.api.positions import DEFAULT_LIMIT
from ntrader.api.problems import ProblemError
from ntrader.domain.annotations import checked_tag
from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import MAX_LIMIT, Cursor, RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.domain.strategies import normal_name
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import NtraderError, UsageError
from ntrader.services.history import parameter_value
from ntrader.services.requests import start_instant
from ntrader.services.strategies import registered_name

type Word = Annotated[str | None, Query(min_length=1, max_length=255)]
type Instant = Annotated[datetime | None, BeforeValidator(start_instant), Query()]


@dataclass(frozen=True, slots=True)
class RunList:
    """A page of runs as it is asked for."""

    where: RunFilter
    order: RunOrder
    limit: int
    after: Cursor | None


async def run_list(
    service: TheService,
    strategy: Annotated[
        str | None, Query(min_length=1, max_length=255, description="A name or alias.")
    ] = None,
    strategy_id: Annotated[
        UUID | None, Query(description="A stored strategy, or a named configuration of one.")
    ] = None,
    type_: Annotated[str | None, Query(alias="type", min_length=1, max_length=64)] = None,
    symbol: Word = None,
    timeframe: Annotated[str | None, Query(max_length=16, examples=["1d"])] = None,
    status: RunStatus | None = None,
    since: Annotated[
        datetime | None, BeforeValidator(start_instant), Query(description="Inclusive.")
    ] = None,
    until: Annotated[
        datetime | None, BeforeValidator(start_instant), Query(description="Exclusive.")
    ] = None,
    tag: Word = None,
    param: Annotated[
        list[str] | None,
        Query(max_length=20, description="NAME=VALUE; may be repeated, all must hold."),
    ] = None,
    where: Annotated[
        str | None,
        Query(max_length=2_000, description="An expression, as `ntrader history --where` has it."),
    ] = None,
    sort: Annotated[
        str, Query(max_length=64, description="METRIC, METRIC:asc or METRIC:desc.")
    ] = "created_at",
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    after: Annotated[
        str | None, Query(max_length=2_000, description="The `next` of the page before.")
    ] = None,
) -> RunList:
    """Read the parameters.

    Raises:
        ProblemError: one of them is not valid (422); the problem names it.
    """
    if since is not None and until is not None and since >= until:
        raise _wrong("until", "lies before since")
    with parameter("timeframe"):
        bars = None if timeframe is None else str(Timeframe.parse(timeframe))
    with parameter("tag"):
        word = None if tag is None else checked_tag(tag)
    with parameter("where"):
        expression = None if where is None else parse_expression(where)
    with parameter("sort"):
        order = RunOrder.parse(sort)
    with parameter("after"):
        cursor = None if after is None else Cursor.decode(after)
    with parameter("param"):
        parameters = dict(map(_pair, param or ()))
    return RunList(
        RunFilter(
            strategy=None if strategy is None else registered_name(strategy) or strategy,
            strategy_id=strategy_id,
            strategy_type=None if type_ is None else normal_name(type_),
            symbol=symbol,
            timeframe=bars,
            status=status,
            since=since,
            until=until,
            tag=word,
            parameters=parameters,
            expression=expression,
        ),
        order,
        min(limit, service.limits.page),
        cursor,
    )


type RunListQuery = Annotated[RunList, Depends(run_list)]


def _pair(text: str) -> tuple[str, int | float | bool | str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"{text!r} is not NAME=VALUE.", hint="Write param=fast_period=10.")
    try:
        return name.strip(), parameter_value(value.strip())
    except OverflowError as error:
        raise UsageError(f"The value of {name.strip()} is too large.") from error


@contextmanager
def parameter(name: str) -> Iterator[None]:
    """Have what is refused within the block told of this parameter."""
    try:
        yield
    except NtraderError as error:
        raise _wrong(name, error.message, code=error.code, hint=error.hint) from error


def _wrong(
    name: str, detail: str, *, code: str = "invalid_request", hint: str | None = None
) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"The parameter {name} is not valid: {detail}",
        code=code,
        hint=hint,
        errors=[{"parameter": name, "detail": detail}],
    )
