"""Datasets: market data with an identity."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from ntrader.domain.timeframes import Timeframe


class InstrumentKind(StrEnum):
    """What is traded; it decides units and how a year is counted."""

    EQUITY = "equity"
    FX = "fx"
    CRYPTO = "crypto"

    @property
    def trading_days(self) -> int:
        """Days of a year on which the market is open: crypto never closes."""
        return 365 if self is InstrumentKind.CRYPTO else 252


@dataclass(frozen=True, kw_only=True, slots=True)
class Instrument:
    """What is traded, where, and in which units.

    `currency` is the currency that prices are in; `base_currency` is what one unit is made of
    (`EUR` of `EUR/USD`), and None for an equity. Precisions are numbers of decimals.
    """

    symbol: str
    venue: str
    kind: InstrumentKind
    currency: str
    base_currency: str | None
    price_precision: int
    size_precision: int

    @property
    def id(self) -> str:
        """Symbol and venue, as NautilusTrader writes it: `IBM.NYSE`."""
        return f"{self.symbol}.{self.venue}"

    def to_dict(self) -> dict[str, Any]:
        """Return the instrument as JSON values."""
        return {
            "symbol": self.symbol,
            "venue": self.venue,
            "kind": self.kind.value,
            "currency": self.currency,
            "base_currency": self.base_currency,
            "price_precision": self.price_precision,
            "size_precision": self.size_precision,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{**values, "kind": InstrumentKind(values["kind"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A stored series of bars.

    `start` is the label of the first bar and `end` the close of the last, both UTC.
    `content_hash` covers the instrument, the timeframe and every value of every bar.
    """

    id: UUID
    name: str
    description: str
    content_hash: str
    instrument: Instrument
    timeframe: Timeframe
    start: datetime
    end: datetime
    rows: int
    source: str
    created_at: datetime

    @property
    def last_moment(self) -> datetime:
        """The last moment of the period, to show: `end` itself belongs to the next bar."""
        return self.end - timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFilter:
    """Which datasets are meant; every part that is not None must hold, and compares exactly."""

    name: str | None = None
    symbol: str | None = None
    venue: str | None = None
    kind: InstrumentKind | None = None
    timeframe: Timeframe | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without bars: the labels of the bars around it, and how many are missing."""

    after: datetime
    before: datetime
    missing: int


@dataclass(frozen=True, slots=True)
class Gaps:
    """How many gaps a series has, how many bars they miss, and the largest, longest first."""

    count: int
    missing: int
    largest: tuple[Gap, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedDataset:
    """The dataset that an import gave; `is_new` is False where its content was stored before."""

    dataset: Dataset
    is_new: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetDetails:
    """A dataset with what a closer look at its bars and its use gives; `path` is where it lies."""

    dataset: Dataset
    gaps: Gaps
    runs: int
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """Whether the stored bars still are what was imported."""

    dataset: Dataset
    computed_hash: str

    @property
    def is_intact(self) -> bool:
        """Whether the recomputed hash is the recorded one."""
        return self.computed_hash == self.dataset.content_hash
