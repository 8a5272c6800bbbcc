"""The configuration snapshot: everything that a re-run needs, and nothing that it must guess."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from ntrader.domain.datasets import Instrument, InstrumentKind
from ntrader.domain.identity import decimal_text, fingerprint, instant_text

SNAPSHOT_VERSION: Literal["1.0"] = "1.0"
"""The version of the snapshot's schema; a reader refuses one that it does not know."""

type Money = Annotated[
    Decimal,
    Field(gt=0, max_digits=18, decimal_places=4, allow_inf_nan=False),
    PlainSerializer(decimal_text),
]
type Rate = Annotated[
    Decimal,
    Field(ge=0, lt=1, decimal_places=8, allow_inf_nan=False),
    PlainSerializer(decimal_text),
]
type Instant = Annotated[AwareDatetime, PlainSerializer(instant_text)]
type Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
type Semver = Annotated[
    str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$")
]


class FillMode(StrEnum):
    """When an order that is decided on a bar's close is filled."""

    CLOSE = "close"
    NEXT_OPEN = "next-open"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StrategyConfig(_Frozen):
    """Which strategy, which code, which parameters."""

    name: str = Field(min_length=1, max_length=255)
    version: Semver
    type: str = Field(min_length=1, max_length=64)
    source_hash: Sha256
    parameters: dict[str, int | float | bool | str]


class InstrumentConfig(_Frozen):
    """What is traded; see `ntrader.domain.datasets.Instrument`."""

    symbol: str = Field(min_length=1, max_length=64)
    venue: str = Field(min_length=1, max_length=64)
    kind: InstrumentKind
    currency: str
    base_currency: str | None
    price_precision: int = Field(ge=0, le=9)
    size_precision: int = Field(ge=0, le=9)

    def to_instrument(self) -> Instrument:
        """Return the domain's value."""
        return Instrument.from_dict(self.model_dump())


def _above_zero(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError("must be above 0")
    return value


class RunConfig(_Frozen):
    """A backtest as the engine gets it: strategy, instrument, data, period, money, costs, seed.

    `start` is the label of the first bar and `end` the close of the last. `equity_fraction` is the
    part of the equity that an entry may use, `fee` the fraction of the traded value that each fill
    pays, `slippage` the fraction of the price that each market order loses.
    """

    strategy: StrategyConfig
    instrument: InstrumentConfig
    bar_type: str
    timeframe: str
    start: Instant
    end: Instant
    initial_capital: Money
    equity_fraction: Annotated[
        Decimal,
        Field(le=1, decimal_places=8),
        AfterValidator(_above_zero),
        PlainSerializer(decimal_text),
    ]
    fee: Rate
    fill: FillMode
    slippage: Rate
    seed: int = Field(ge=0, lt=2**32)
    dataset_hash: Sha256

    @model_validator(mode="after")
    def _period_runs_forward(self) -> Self:
        if self.start >= self.end:
            raise ValueError("the period's start must lie before its end")
        return self


class ConfigSnapshot(_Frozen):
    """What is stored with a run: its configuration, and where that came from.

    `strategy_path` names the implementation, `config_path` the YAML file or `command line`.
    """

    strategy_path: str = Field(min_length=1)
    config_path: str = Field(min_length=1)
    config: RunConfig
    version: Literal["1.0"] = SNAPSHOT_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as JSON values."""
        return self.model_dump(mode="json")

    def fingerprint(self, *, engine: str, engine_version: str) -> str:
        """Return the identity of the question; see `ntrader.domain.identity.fingerprint`."""
        return fingerprint(
            self.config.model_dump(mode="json"), engine=engine, engine_version=engine_version
        )
