"""What a backtest gave: fills, trades, the equity curve and the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader.domain.identity import decimal_text, instant_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ntrader.domain.snapshot import ConfigSnapshot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "BUY"
    SELL = "SELL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """An executed order, or a part of one.

    `time` is the label of the bar on which it happened (UTC). `price` and `fee` are in the
    instrument's currency, `quantity` in its units. `at_close` says that it happened at the bar's
    close, on the decision made there: the equity of that bar's close is the one before it.
    """

    time: datetime
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at_close: bool = False

    def canonical(self) -> str:
        """Return the line that stands for the fill in a result digest."""
        numbers = map(decimal_text, (self.quantity, self.price, self.fee))
        return "|".join(("fill", instant_text(self.time), self.side, *numbers))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trade:
    """A round trip: from flat to flat.

    Prices are averages over the fills, `quantity` is the sum of the entries, `profit` is net of
    `fees`, `return_` is profit over what the entries cost before fees.
    """

    opened_at: datetime
    closed_at: datetime
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    fees: Decimal
    profit: Decimal
    return_: float

    def canonical(self) -> str:
        """Return the line that stands for the trade in a result digest."""
        times = (instant_text(self.opened_at), instant_text(self.closed_at))
        numbers = map(
            decimal_text,
            (self.quantity, self.entry_price, self.exit_price, self.fees, self.profit),
        )
        return "|".join(("trade", *times, *numbers))


@dataclass(frozen=True, slots=True, eq=False)
class EquityCurve:
    """Mark-to-market equity at the close of every bar.

    `times` are the bars' labels in nanoseconds (int64, UTC), `values` the equity in the
    instrument's currency (float64); both have one entry a bar.
    """

    times: "NDArray[np.int64]"
    values: "NDArray[np.float64]"

    def __len__(self) -> int:
        return len(self.times)

    def time_at(self, index: int) -> datetime:
        """Return the label of a bar as an instant."""
        return _EPOCH + timedelta(microseconds=int(self.times[index]) // 1_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class PerformanceMetrics:
    """The numbers of a run; None where a number is undefined, with the reason in `undefined`.

    Fractions, not percent. Money in the instrument's currency. Formulas: `ntrader.engine.metrics`.
    """

    total_return: float | None
    final_balance: Decimal | None
    cagr: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    max_drawdown: float | None
    max_drawdown_at: datetime | None
    calmar_ratio: float | None
    volatility: float | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    break_even_trades: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: Decimal | None
    avg_win: Decimal | None
    avg_loss: Decimal | None
    total_fees: Decimal | None
    exposure: float | None
    undefined: Mapping[str, str] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Return every metric by its name, without the reasons."""
        return {name: getattr(self, name) for name in METRICS}


METRICS = tuple(f.name for f in fields(PerformanceMetrics) if f.name != "undefined")


@dataclass(frozen=True, kw_only=True, slots=True)
class BacktestMetadata:
    """Which run it is, what was asked, and where it ran.

    `environment` holds versions, platform and the state of the code. `started_at` is UTC.
    `imported` says of a run from another machine when and whence it came.
    """

    run_id: UUID
    snapshot: "ConfigSnapshot"
    fingerprint: str
    started_at: datetime
    environment: dict[str, Any]
    imported: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EnhancedBacktestResult:
    """The whole answer of a backtest that ran to its end."""

    metadata: BacktestMetadata
    metrics: PerformanceMetrics
    equity: EquityCurve
    fills: tuple[Fill, ...]
    trades: tuple[Trade, ...]
    warnings: tuple[str, ...]
    result_digest: str
    finished_at: datetime
    duration_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BacktestFailure:
    """A backtest that did not run to its end, and why.

    `interrupted` says that it was a signal that ended it, and nothing of its own.
    """

    metadata: BacktestMetadata
    message: str
    traceback: str
    finished_at: datetime
    duration_seconds: float
    bars_done: int
    interrupted: bool = False


type Outcome = EnhancedBacktestResult | BacktestFailure
