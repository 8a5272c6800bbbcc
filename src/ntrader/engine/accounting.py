"""From fills to the account: the equity curve, the round trips and the digest of an answer.

NautilusTrader's own balance snapshots are taken at fills only, so a position that is still open
distorts everything computed from them. Here the account is marked at the close of every bar.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from ntrader.domain.identity import result_digest
from ntrader.domain.results import EquityCurve, Fill, Side, Trade

EXACT = Context(prec=120)
"""Wide enough that every sum and product of prices, quantities and fees is exact."""

AVERAGE_PRICE_STEP = Decimal("1e-10")
"""Average prices are kept to ten decimals, half to even; profits are never computed from them."""

POINTS_PER_UNIT = 10_000
"""A digest sees equity in ten-thousandths of the currency."""

_POINTS_AT_A_TIME = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def equity_curve(
    times: NDArray[np.int64],
    closes: NDArray[np.float64],
    fills: Sequence[Fill],
    initial_capital: Decimal,
) -> EquityCurve:
    """Mark the account to market at the close of every bar.

    Equity at a bar is cash plus position times its close, at the instant of the close: fills on the
    bar count, but one that is made at the close itself, on the decision taken there (`at_close`),
    counts from the next bar on. Such a fill costs its fee, and other engines too see that cost at
    the next close. On the last bar every fill counts. Cash and position are exact decimals at every
    fill, floats only from there on.

    Args:
        times: The bars' labels, nanoseconds since the epoch, strictly increasing, shape (n,).
        closes: The bars' closes in the instrument's currency, shape (n,).
        fills: Ordered by time; the time of each is the label of its bar.
        initial_capital: Cash before the first bar.

    Raises:
        ValueError: the arrays do not fit each other, a close is not finite, or the fills are out of
            order or not on a bar.
    """
    if times.shape != closes.shape:
        raise ValueError(f"{times.size} times do not fit {closes.size} closes")
    if not np.isfinite(closes).all():
        raise ValueError("a close is not a finite number")
    bars = _bars_counted_from(times, fills)
    values = _hold(_position_steps(fills), bars, times.size)
    values *= closes
    values += _hold(_cash_steps(fills, initial_capital), bars, times.size)
    return EquityCurve(times, values)


def position_series(times: NDArray[np.int64], fills: Sequence[Fill]) -> NDArray[np.float64]:
    """Return the units held at the close of every bar, exactly 0.0 where flat, shape (n,).

    As in `equity_curve`, a fill that is made at a close counts from the next bar on.

    Raises:
        ValueError: the fills are out of order or not on a bar.
    """
    return _hold(_position_steps(fills), _bars_counted_from(times, fills), times.size)


def fees_paid(fills: Sequence[Fill]) -> Decimal:
    """Return what all fills cost in fees, those of a position that is still open included."""
    with localcontext(EXACT):
        return sum((fill.fee for fill in fills), Decimal(0))


def round_trips(fills: Sequence[Fill]) -> tuple[Trade, ...]:
    """Return the closed trades: each from flat to flat, whatever was added or taken in between.

    A trade's profit is exactly its sells minus its buys minus its fees. A position that is open
    after the last fill is not a trade.

    Raises:
        ValueError: the fills are out of order, a quantity or a price is not above zero, or a fill
            sells more than is held.
    """
    _refuse_disorder(fills)
    trades = []
    held = Decimal(0)
    first = 0
    with localcontext(EXACT):
        for index, fill in enumerate(fills):
            if fill.quantity <= 0 or fill.price <= 0:
                raise ValueError(f"a fill needs a quantity and a price above zero: {fill}")
            held += _signed_quantity(fill)
            if held < 0:
                raise ValueError(f"a fill sells more than is held: {fill}")
            if held == 0:
                trades.append(_trade(fills[first : index + 1]))
                first = index + 1
    return tuple(trades)


def result_digest_of(fills: Sequence[Fill], trades: Sequence[Trade], equity: EquityCurve) -> str:
    """Return the identity of an answer: the sha256 of its fills, trades and equity points, in hex.

    A point is the pair (nanoseconds, equity in ten-thousandths of the currency, rounded half to
    even), two little-endian int64. So the digest is the same for two curves exactly when every pair
    of values rounds to one ten-thousandth: float noise does not move it, unless a value lies on the
    border between two ten-thousandths, closer to it than the noise. Fills and trades count with
    every digit of their decimals, but not with trailing zeros.

    Raises:
        ValueError: an equity value is not finite or does not fit 64 bits.
    """
    lines = chain((fill.canonical() for fill in fills), (trade.canonical() for trade in trades))
    return result_digest(lines, _points(equity))


def _points(equity: EquityCurve) -> Iterator[bytes]:
    """Yield the bytes of the points that a digest sees, some at a time."""
    for first in range(0, len(equity), _POINTS_AT_A_TIME):
        part = slice(first, first + _POINTS_AT_A_TIME)
        pairs = (equity.times[part], _ten_thousandths(equity.values[part]))
        yield np.stack(pairs, axis=1).astype("<i8").tobytes()


def _ten_thousandths(values: NDArray[np.float64]) -> NDArray[np.int64]:
    with np.errstate(over="ignore"):
        scaled = np.rint(values * POINTS_PER_UNIT)
    # Written so that NaN is refused too; a cast would make a number of it without a word.
    if not (np.abs(scaled) < 2.0**63).all():
        raise ValueError("equity does not fit 64 bits of ten-thousandths")
    return scaled.astype(np.int64)


def _trade(fills: Sequence[Fill]) -> Trade:
    bought, cost = _totals(fills, Side.BUY)
    sold, proceeds = _totals(fills, Side.SELL)
    fees = sum((fill.fee for fill in fills), Decimal(0))
    profit = proceeds - cost - fees
    return Trade(
        opened_at=fills[0].time,
        closed_at=fills[-1].time,
        quantity=bought,
        entry_price=(cost / bought).quantize(AVERAGE_PRICE_STEP),
        exit_price=(proceeds / sold).quantize(AVERAGE_PRICE_STEP),
        fees=fees,
        profit=profit,
        return_=float(profit / cost),
    )


def _totals(fills: Sequence[Fill], side: Side) -> tuple[Decimal, Decimal]:
    """Return the quantity and the value, before fees, of what was traded on one side."""
    chosen = [fill for fill in fills if fill.side is side]
    quantity = sum((fill.quantity for fill in chosen), Decimal(0))
    value = sum((fill.quantity * fill.price for fill in chosen), Decimal(0))
    return quantity, value


def _signed_quantity(fill: Fill) -> Decimal:
    return fill.quantity if fill.side is Side.BUY else -fill.quantity


def _cash_steps(fills: Sequence[Fill], initial_capital: Decimal) -> NDArray[np.float64]:
    """Return the cash before the first fill and after each, shape (fills + 1,)."""
    cash = initial_capital
    steps = [float(cash)]
    with localcontext(EXACT):
        for fill in fills:
            cash -= _signed_quantity(fill) * fill.price + fill.fee
            steps.append(float(cash))
    return np.array(steps)


def _position_steps(fills: Sequence[Fill]) -> NDArray[np.float64]:
    """Return the units held before the first fill and after each, shape (fills + 1,)."""
    held = Decimal(0)
    steps = [0.0]
    with localcontext(EXACT):
        for fill in fills:
            held += _signed_quantity(fill)
            steps.append(float(held))
    return np.array(steps)


def _hold(steps: NDArray[np.float64], bars: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """Spread the steps over the bars: each holds from the bar of its fill until the next fill."""
    borders = np.concatenate(([0], bars, [length]))
    return np.repeat(steps, np.diff(borders))


def _bars_counted_from(times: NDArray[np.int64], fills: Sequence[Fill]) -> NDArray[np.int64]:
    """Return the index of the first bar at whose close each fill counts, shape (fills,)."""
    after_close = np.array([fill.at_close for fill in fills], dtype=np.int64)
    bars: NDArray[np.int64] = np.minimum(_bars_of(times, fills) + after_close, times.size - 1)
    return bars


def _bars_of(times: NDArray[np.int64], fills: Sequence[Fill]) -> NDArray[np.int64]:
    """Return the index of the bar on which each fill happened, shape (fills,)."""
    if (times[1:] <= times[:-1]).any():
        raise ValueError("the bars' times do not increase")
    _refuse_disorder(fills)
    instants = np.array([_nanoseconds(fill.time) for fill in fills], dtype=np.int64)
    bars = np.searchsorted(times, instants).astype(np.int64)
    for fill, instant, bar in zip(fills, instants, bars, strict=True):
        if bar == times.size or times[bar] != instant:
            raise ValueError(f"a fill is on no bar: {fill}")
    return bars


def _refuse_disorder(fills: Sequence[Fill]) -> None:
    for fill in fills:
        if fill.time.tzinfo is None:
            raise ValueError(f"a naive datetime is not an instant: {fill}")
    for earlier, later in pairwise(fills):
        if later.time < earlier.time:
            raise ValueError(f"fills are out of order: {later} comes after {earlier}")


def _nanoseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND * 1_000
