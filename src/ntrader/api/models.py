"""What comes in: the bodies of requests, checked at the edge."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from ntrader.domain.runs import RunMode, RunStatus
from ntrader.domain.snapshot import FillMode
from ntrader.services.requests import end_instant, start_instant

_YEARS = range(1900, 2200)
"""Beyond, PostgreSQL and Python do not agree on what an instant is."""


def _is_of_our_time(value: datetime) -> datetime:
    if value.year not in _YEARS:
        raise ValueError(f"the year must lie within {_YEARS[0]} to {_YEARS[-1]}")
    return value


type ParameterValue = Annotated[int, Field(ge=-(2**63), lt=2**63)] | float | bool | str
type Parameters = dict[Annotated[str, Field(max_length=255)], ParameterValue]
type Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=4)]
type Start = Annotated[datetime, BeforeValidator(start_instant)]
type End = Annotated[datetime, BeforeValidator(end_instant)]
type Instant = Annotated[AwareDatetime, AfterValidator(_is_of_our_time)]
type Semver = Annotated[
    str,
    Field(
        max_length=255,
        pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
        r"(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$",
        examples=["1.0.0"],
    ),
]

EXAMPLE_ID = "7f1f0c3e-0f4b-4b3d-9d7b-0a3a5f6f2b11"


class RequestBody(BaseModel):
    """A body: unknown names are refused, and so is text that no database keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, values: Any) -> Any:
        _refuse_odd_text(values)
        return values


def _refuse_odd_text(value: Any) -> None:
    match value:
        case str():
            if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
                raise ValueError("text must not hold NUL or half of a surrogate pair")
        case dict():
            for key, item in value.items():
                _refuse_odd_text(key)
                _refuse_odd_text(item)
        case list():
            for item in value:
                _refuse_odd_text(item)


class NewRun(RequestBody):
    """A backtest to be run. What is left out is as `ntrader run` has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "dataset_id": EXAMPLE_ID,
                "strategy_id": EXAMPLE_ID,
                "initial_capital": 10000,
                "parameters": {"fast_period": 10},
            }
        }
    )

    dataset_id: UUID
    strategy_id: UUID
    initial_capital: Money
    parameters: Parameters = Field(
        default_factory=dict, description="Override those of the strategy."
    )
    start: Start | None = Field(default=None, description="The first bar's label; naive is UTC.")
    end: End | None = Field(default=None, description="Exclusive; a bare date is included.")
    equity_fraction: Annotated[Decimal, Field(gt=0, le=1, decimal_places=8)] | None = None
    fee: Annotated[Decimal, Field(ge=0, lt=1, decimal_places=8)] | None = None
    fill: FillMode | None = None
    slippage: Annotated[Decimal, Field(ge=0, lt=1, decimal_places=8)] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    tags: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=20)
    note: str | None = Field(default=None, max_length=10_000)

    @model_validator(mode="after")
    def _period_runs_forward(self) -> NewRun:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("the end of the period lies before its start")
        return self

    def options(self) -> dict[str, Any]:
        """Return what was said, by the names of `RunRequest`."""
        names = ("start", "end", "equity_fraction", "fee", "fill", "slippage", "seed")
        said = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {**said, "capital": self.initial_capital}


class NewStrategy(RequestBody):
    """A named and versioned configuration of a registered strategy."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "fast-crossover",
                "version": "1.0.0",
                "implementation": "sma",
                "parameters": {"fast_period": 5, "slow_period": 15},
            }
        }
    )

    name: str = Field(min_length=1, max_length=255, pattern=r"^\S(.*\S)?$")
    version: Semver
    implementation: str = Field(
        min_length=1, max_length=255, description="The name of a registered strategy."
    )
    parameters: Parameters = Field(default_factory=dict)
    description: str = Field(default="", max_length=10_000)


class RecordedMetrics(RequestBody):
    """The numbers of a run that was made elsewhere; fractions, not percent. Unknown is null."""

    total_trades: int = Field(ge=0, lt=2**31)
    winning_trades: int = Field(ge=0, lt=2**31)
    losing_trades: int = Field(ge=0, lt=2**31)
    break_even_trades: int = Field(default=0, ge=0, lt=2**31)
    total_return: float | None = Field(default=None, ge=-1, lt=1e9)
    final_balance: Annotated[Decimal, Field(max_digits=18, decimal_places=4)] | None = None
    cagr: float | None = Field(default=None, ge=-1, lt=1e9)
    sharpe_ratio: float | None = Field(default=None, gt=-1e9, lt=1e9)
    sortino_ratio: float | None = Field(default=None, gt=-1e9, lt=1e9)
    max_drawdown: float | None = Field(default=None, ge=-1, le=0)
    max_drawdown_at: Instant | None = None
    calmar_ratio: float | None = Field(default=None, gt=-1e9, lt=1e9)
    volatility: float | None = Field(default=None, ge=0, lt=1e9)
    win_rate: float | None = Field(default=None, ge=0, le=1)
    profit_factor: float | None = Field(default=None, ge=0, lt=1e9)
    expectancy: Annotated[Decimal, Field(max_digits=18, decimal_places=4)] | None = None
    avg_win: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=4)] | None = None
    avg_loss: Annotated[Decimal, Field(le=0, max_digits=18, decimal_places=4)] | None = None
    total_fees: Annotated[Decimal, Field(max_digits=18, decimal_places=4)] | None = None
    exposure: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _trades_add_up(self) -> RecordedMetrics:
        if self.total_trades != self.winning_trades + self.losing_trades + self.break_even_trades:
            raise ValueError("total_trades must be the sum of winning, losing and break-even ones")
        return self


class RecordedRun(RequestBody):
    """A paper or live run that was made elsewhere."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "mode": "paper",
                "dataset_id": EXAMPLE_ID,
                "strategy_id": EXAMPLE_ID,
                "status": "success",
                "start": "2024-01-01T00:00:00Z",
                "end": "2024-06-01T00:00:00Z",
                "initial_capital": 10000,
                "metrics": {
                    "total_trades": 3,
                    "winning_trades": 2,
                    "losing_trades": 1,
                    "total_return": 0.1,
                },
            }
        }
    )

    mode: RunMode = Field(description="paper or live.")
    dataset_id: UUID
    strategy_id: UUID
    status: RunStatus
    start: Instant
    end: Instant
    initial_capital: Money
    parameters: Parameters = Field(default_factory=dict)
    executed_at: Instant | None = Field(default=None, description="Now, if left out.")
    duration_seconds: float = Field(default=0, ge=0, lt=1e8)
    fee: Annotated[Decimal, Field(ge=0, lt=1, decimal_places=8)] = Decimal(0)
    metrics: RecordedMetrics | None = None
    error_message: str | None = Field(default=None, min_length=1, max_length=10_000)
    tags: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=20)
    note: str | None = Field(default=None, max_length=10_000)

    @model_validator(mode="after")
    def _is_consistent(self) -> RecordedRun:
        if self.mode is RunMode.BACKTEST:
            raise ValueError("a backtest is not recorded but run: POST it to /runs")
        if self.start >= self.end:
            raise ValueError("the end of the period lies before its start")
        if (self.status is RunStatus.SUCCESS) != (self.metrics is not None):
            raise ValueError("a successful run has metrics, a failed one has none")
        if (self.status is RunStatus.FAILED) != (self.error_message is not None):
            raise ValueError("a failed run has an error_message, a successful one has none")
        return self
