"""The numbers of a run, from its equity curve and its closed trades.

Every definition is a small function with its formula and source; `specs/metrics.md` is the table of
them. A number that does not exist is `Undefined`, with the reason: never 0, never an exception.

Return statistics rest on the daily returns of the curve (`daily_returns`). A divisor that is zero
at the eight decimals that are kept counts as zero: float noise in a flat curve (about 1e-16) is no
volatility, and what is shown as 0 divides nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntrader.domain.results import EquityCurve, PerformanceMetrics, Trade
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.accounting import EXACT

METRICS_VERSION = "1"
"""The version of the definitions; it changes when any number would."""

RATIO_DECIMALS = 8
RATIO_LIMIT = 1e10
MONEY_STEP = Decimal("0.0001")
# The first value that would round to fifteen digits before the point.
MONEY_LIMIT = Decimal("99999999999999.99995")

YEAR = timedelta(days=365.25)
WEEKS_PER_YEAR = 52
NANOSECONDS_PER_DAY = 86_400_000_000_000

NO_TRADES = "no closed trades"
NO_WINS = "no winning trades"
NO_LOSSES = "no losing trades"
NO_DRAWDOWN = "no drawdown"
TOO_FEW_RETURNS = "fewer than two daily returns"
NO_VARIATION = "returns do not vary"
NO_NEGATIVE_RETURNS = "no daily return below zero"
RUINED = "equity fell to zero or below"
NO_PERIOD = "the period has no length"
TOO_LARGE = "too large to store"


@dataclass(frozen=True, slots=True)
class Undefined:
    """A number that does not exist, and why."""

    reason: str


type Ratio = float | Undefined
type Money = Decimal | Undefined
type Value = Ratio | Money | int | datetime


def compute_metrics(
    equity: EquityCurve,
    trades: Sequence[Trade],
    fees: Decimal,
    position: NDArray[np.float64],
    initial_capital: Decimal,
    *,
    start: datetime,
    end: datetime,
    trading_days: int,
    timeframe: Timeframe,
) -> PerformanceMetrics:
    """Return every metric of a run, rounded as it is stored.

    Ratios are rounded to 8 decimals and money to 4, half to even, here and nowhere else. A value
    beyond NUMERIC(18,8) or NUMERIC(18,4) is undefined.

    Args:
        equity: Equity at the close of every bar, at least one bar.
        trades: The closed trades.
        fees: All fees paid, those of a position that is still open included.
        position: Units held at the close of every bar, shape (n,).
        initial_capital: Cash before the first bar, above zero.
        start: Label of the first bar.
        end: Close of the last bar.
        trading_days: Days of a year on which the market is open.
        timeframe: The length of a bar; see `returns_per_year`.

    Raises:
        ValueError: there is no bar, equity and position differ in length, equity is not finite, or
            the initial capital is not above zero.
    """
    _refuse_unusable(equity, position, initial_capital)
    initial = float(initial_capital)
    outcomes = TradeOutcomes.of(trades)
    values = {
        **_of_the_curve(equity, initial, start, end, returns_per_year(trading_days, timeframe)),
        **_of_the_trades(outcomes),
        "total_fees": fees,
        "exposure": exposure(position),
    }
    return _stored_metrics(values)


def _of_the_curve(
    equity: EquityCurve, initial: float, start: datetime, end: datetime, per_year: int
) -> dict[str, Value]:
    returns = daily_returns(equity, initial)
    drawdowns = drawdown_series(equity, initial)
    growth = cagr(equity, initial, start, end)
    deepest = max_drawdown(drawdowns)
    return {
        "total_return": total_return(equity, initial),
        "final_balance": Decimal(float(equity.values[-1])),
        "cagr": growth,
        "sharpe_ratio": sharpe_ratio(returns, per_year),
        "sortino_ratio": sortino_ratio(returns, per_year),
        "max_drawdown": deepest,
        "max_drawdown_at": max_drawdown_at(equity, drawdowns),
        "calmar_ratio": calmar_ratio(growth, deepest),
        "volatility": volatility(returns, per_year),
    }


def _of_the_trades(outcomes: "TradeOutcomes") -> dict[str, Value]:
    return {
        "total_trades": outcomes.total,
        "winning_trades": len(outcomes.wins),
        "losing_trades": len(outcomes.losses),
        "break_even_trades": outcomes.break_even,
        "win_rate": win_rate(outcomes),
        "profit_factor": profit_factor(outcomes),
        "expectancy": expectancy(outcomes),
        "avg_win": avg_win(outcomes),
        "avg_loss": avg_loss(outcomes),
    }


def _stored_metrics(values: Mapping[str, Value]) -> PerformanceMetrics:
    """Round the values as they are stored, and keep of an undefined one why it is."""
    stored = {name: _stored(value) for name, value in values.items()}
    undefined = {name: each.reason for name, each in stored.items() if isinstance(each, Undefined)}
    defined: dict[str, Any] = {
        name: None if isinstance(each, Undefined) else each for name, each in stored.items()
    }
    return PerformanceMetrics(**defined, undefined=undefined)


def _stored(value: Value) -> Value:
    match value:
        case float():
            return stored_ratio(value)
        case Decimal():
            return stored_money(value)
    return value


def returns_per_year(trading_days: int, timeframe: Timeframe) -> int:
    """Return how many of `daily_returns` make a year: the market's days, or 52 weekly bars."""
    return WEEKS_PER_YEAR if timeframe.unit == "w" else trading_days


def daily_returns(equity: EquityCurve, initial_capital: float) -> NDArray[np.float64] | Undefined:
    """Return the simple returns from one UTC day's last equity to the next.

    Days are those of the bars' labels; a day without a bar is no sample. The first sample is the
    initial capital, placed at the first bar. Where the first day has that bar only (daily data),
    the initial capital stands for the day, so that n bars give n - 1 returns and the first is
    E_2 / initial - 1. Where it has more (intraday data), the day's own return counts: its last
    equity / initial - 1.

    Undefined if equity was ever zero or below (a return on nothing has no meaning), or if there are
    fewer than two returns, which every statistic of them needs.
    """
    if (equity.values <= 0).any():
        return Undefined(RUINED)
    days = equity.times // NANOSECONDS_PER_DAY
    last_bars = np.append(np.flatnonzero(days[1:] != days[:-1]), len(equity) - 1)
    if last_bars[0] == 0:
        last_bars = last_bars[1:]
    samples = np.concatenate(([initial_capital], equity.values[last_bars]))
    if samples.size < 3:
        return Undefined(TOO_FEW_RETURNS)
    with np.errstate(over="ignore"):
        returns: NDArray[np.float64] = samples[1:] / samples[:-1] - 1
    return returns if (returns < RATIO_LIMIT).all() else Undefined(TOO_LARGE)


def total_return(equity: EquityCurve, initial_capital: float) -> Ratio:
    """Return E_n / initial capital - 1: the simple return of the whole period."""
    return float(equity.values[-1]) / initial_capital - 1


def cagr(equity: EquityCurve, initial_capital: float, start: datetime, end: datetime) -> Ratio:
    """Return the compound annual growth rate: (E_n / initial capital)^(1 / years) - 1.

    A year has 365.25 days; the period runs from the first bar's label to the last bar's close.
    Undefined if equity was ever zero or below.
    """
    if (equity.values <= 0).any():
        return Undefined(RUINED)
    years = (end - start) / YEAR
    if years <= 0:
        return Undefined(NO_PERIOD)
    try:
        return float((float(equity.values[-1]) / initial_capital) ** (1 / years)) - 1
    except OverflowError:
        return Undefined(TOO_LARGE)


def volatility(returns: NDArray[np.float64] | Undefined, per_year: int) -> Ratio:
    """Return the annualised volatility: s x sqrt(per_year).

    s is the sample standard deviation (n - 1) of the daily returns; the square root of time holds
    for independent returns (J. Hull, Options, Futures, and Other Derivatives).
    """
    if isinstance(returns, Undefined):
        return returns
    return float(returns.std(ddof=1)) * math.sqrt(per_year)


def sharpe_ratio(returns: NDArray[np.float64] | Undefined, per_year: int) -> Ratio:
    """Return the annualised Sharpe ratio: mean / s x sqrt(per_year), risk-free rate 0.

    s is the sample standard deviation (n - 1) of the daily returns.
    Source: W. F. Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21(1), 1994.
    """
    return _quotient(_annual_mean(returns, per_year), volatility(returns, per_year), NO_VARIATION)


def sortino_ratio(returns: NDArray[np.float64] | Undefined, per_year: int) -> Ratio:
    """Return the annualised Sortino ratio: mean / d x sqrt(per_year), target 0.

    d = sqrt(mean(min(r, 0)^2)) over all n daily returns, not over the negative ones alone.
    Source: F. A. Sortino and L. N. Price, Performance Measurement in a Downside Risk Framework,
    Journal of Investing 3(3), 1994.
    """
    deviation = downside_deviation(returns, per_year)
    return _quotient(_annual_mean(returns, per_year), deviation, NO_NEGATIVE_RETURNS)


def downside_deviation(returns: NDArray[np.float64] | Undefined, per_year: int) -> Ratio:
    """Return the annualised downside deviation: sqrt(mean(min(r, 0)^2)) x sqrt(per_year)."""
    if isinstance(returns, Undefined):
        return returns
    return math.sqrt(float(np.square(np.minimum(returns, 0)).mean()) * per_year)


def drawdown_series(equity: EquityCurve, initial_capital: float) -> NDArray[np.float64]:
    """Return the drawdown at every bar: E_i / max(initial capital, E_1 .. E_i) - 1, shape (n,).

    Kept within -1 and 0: whoever owes money has lost all of the peak, and no more is counted.
    """
    peaks = np.maximum.accumulate(equity.values)
    np.maximum(peaks, initial_capital, out=peaks)
    # In place: the curve may have millions of points.
    with np.errstate(over="ignore"):
        np.divide(equity.values, peaks, out=peaks)
    peaks -= 1
    return np.clip(peaks, -1, 0, out=peaks)


def max_drawdown(drawdowns: NDArray[np.float64]) -> float:
    """Return the deepest drawdown over every bar, within -1 and 0; 0 if there was none.

    Source: M. Magdon-Ismail and A. Atiya, Maximum Drawdown, Risk 17(10), 2004; as a fraction of the
    peak and with a negative sign.
    """
    return float(drawdowns.min())


def max_drawdown_at(equity: EquityCurve, drawdowns: NDArray[np.float64]) -> datetime | Undefined:
    """Return the label of the bar at the bottom of the deepest drawdown, the first if several."""
    bottom = int(drawdowns.argmin())
    if _is_zero(float(drawdowns[bottom])):
        return Undefined(NO_DRAWDOWN)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=int(equity.times[bottom]) // 1_000
    )


def calmar_ratio(growth: Ratio, deepest: float) -> Ratio:
    """Return CAGR / |maximum drawdown|, both over the whole period.

    Source: T. W. Young, Calmar Ratio: A Smoother Tool, Futures 20(1), 1991, which looks at the last
    36 months; a backtest has one period.
    """
    return _quotient(growth, -deepest, NO_DRAWDOWN)


def exposure(position: NDArray[np.float64]) -> float:
    """Return the fraction of bars at whose close a position is held."""
    return float(np.count_nonzero(position) / position.size)


@dataclass(frozen=True, slots=True)
class TradeOutcomes:
    """Net profits of the closed trades, split. A profit of exactly 0 is break-even."""

    wins: tuple[Decimal, ...]
    losses: tuple[Decimal, ...]
    break_even: int

    @classmethod
    def of(cls, trades: Sequence[Trade]) -> "TradeOutcomes":
        """Split the trades by the sign of their net profit."""
        wins = tuple(trade.profit for trade in trades if trade.profit > 0)
        losses = tuple(trade.profit for trade in trades if trade.profit < 0)
        return cls(wins, losses, len(trades) - len(wins) - len(losses))

    @property
    def total(self) -> int:
        """The number of closed trades."""
        return len(self.wins) + len(self.losses) + self.break_even


def win_rate(outcomes: TradeOutcomes) -> Ratio:
    """Return winning trades / closed trades; a break-even trade counts below the line only."""
    return len(outcomes.wins) / outcomes.total if outcomes.total else Undefined(NO_TRADES)


def profit_factor(outcomes: TradeOutcomes) -> Ratio:
    """Return the sum of net profits of winners / |the sum of net losses of losers|."""
    if not outcomes.total:
        return Undefined(NO_TRADES)
    if not outcomes.losses:
        return Undefined(NO_LOSSES)
    with localcontext(EXACT):
        return float(sum(outcomes.wins) / -sum(outcomes.losses))


def expectancy(outcomes: TradeOutcomes) -> Money:
    """Return the mean net profit of a closed trade."""
    return _mean(outcomes.wins + outcomes.losses, outcomes.total, NO_TRADES)


def avg_win(outcomes: TradeOutcomes) -> Money:
    """Return the mean net profit of a winning trade, above 0 before rounding."""
    return _mean(outcomes.wins, len(outcomes.wins), NO_WINS if outcomes.total else NO_TRADES)


def avg_loss(outcomes: TradeOutcomes) -> Money:
    """Return the mean net profit of a losing trade, below 0 before rounding."""
    return _mean(outcomes.losses, len(outcomes.losses), NO_LOSSES if outcomes.total else NO_TRADES)


def stored_ratio(value: Ratio) -> Ratio:
    """Return a ratio as NUMERIC(18,8) keeps it, without a minus zero."""
    if isinstance(value, Undefined):
        return value
    rounded = round(value, RATIO_DECIMALS) + 0.0
    return rounded if abs(rounded) < RATIO_LIMIT else Undefined(TOO_LARGE)


def stored_money(value: Money) -> Money:
    """Return an amount as NUMERIC(18,4) keeps it, without a minus zero."""
    if isinstance(value, Undefined):
        return value
    if value.copy_abs() >= MONEY_LIMIT:
        return Undefined(TOO_LARGE)
    with localcontext(EXACT):
        return value.quantize(MONEY_STEP, ROUND_HALF_EVEN) + 0


def _quotient(numerator: Ratio, divisor: Ratio, without: str) -> Ratio:
    """Divide; `without` is the reason if the divisor is zero at the decimals that are kept."""
    if isinstance(divisor, Undefined):
        return divisor
    if _is_zero(divisor):
        return Undefined(without)
    return numerator if isinstance(numerator, Undefined) else numerator / divisor


def _is_zero(value: float) -> bool:
    return round(value, RATIO_DECIMALS) == 0


def _annual_mean(returns: NDArray[np.float64] | Undefined, per_year: int) -> Ratio:
    return returns if isinstance(returns, Undefined) else float(returns.mean()) * per_year


def _mean(amounts: Sequence[Decimal], count: int, without: str) -> Money:
    """Return the sum of the amounts over `count`; `without` is the reason if that is 0."""
    with localcontext(EXACT):
        return sum(amounts, Decimal(0)) / count if count else Undefined(without)


def _refuse_unusable(
    equity: EquityCurve, position: NDArray[np.float64], initial_capital: Decimal
) -> None:
    if not len(equity):
        raise ValueError("a run without bars has no metrics")
    if equity.times.shape != equity.values.shape or equity.times.shape != position.shape:
        raise ValueError("times, equity and position differ in length")
    if not np.isfinite(equity.values).all():
        raise ValueError("equity is not finite")
    if initial_capital <= 0:
        raise ValueError("the initial capital is not above zero")
