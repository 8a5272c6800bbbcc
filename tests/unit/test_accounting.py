"""The account: equity curve, round trips, digest of an answer."""

import hashlib
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntrader.domain.results import EquityCurve, Fill, Side, Trade
from ntrader.engine.accounting import (
    equity_curve,
    fees_paid,
    position_series,
    result_digest_of,
    round_trips,
)

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
CAPITAL = Decimal(100_000)


def day(number: int) -> datetime:
    return FIRST_DAY + timedelta(days=number)


def labels(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    start = int(FIRST_DAY.timestamp()) * 1_000_000_000
    return start + 86_400_000_000_000 * np.arange(count, dtype=np.int64)


def fill(number: int, side: Side, quantity: str, price: str, fee: str = "0") -> Fill:
    return Fill(
        time=day(number),
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
    )


def buy(number: int, quantity: str, price: str, fee: str = "0") -> Fill:
    return fill(number, Side.BUY, quantity, price, fee)


def sell(number: int, quantity: str, price: str, fee: str = "0") -> Fill:
    return fill(number, Side.SELL, quantity, price, fee)


amounts = st.decimals(min_value="0.00001", max_value="5000", places=5)
prices = st.decimals(min_value="0.01", max_value="5000", places=2)
fees = st.decimals(min_value="-1", max_value="50", places=2)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[float], list[Fill]]:
    """Closes and long-only fills, several of which may share a bar."""
    closes = draw(st.lists(prices.map(float), min_size=1, max_size=25))
    bars = sorted(draw(st.lists(st.integers(0, len(closes) - 1), max_size=15)))
    held = Decimal(0)
    fills = []
    for bar in bars:
        price, fee = draw(prices), draw(fees)
        if held and draw(st.booleans()):
            quantity = held if draw(st.booleans()) else min(held, draw(amounts))
            fills.append(sell(bar, str(quantity), str(price), str(fee)))
            held -= quantity
        else:
            quantity = draw(amounts)
            fills.append(buy(bar, str(quantity), str(price), str(fee)))
            held += quantity
    return closes, fills


class TestEquityCurve:
    def test_without_fills_equity_is_the_initial_capital(self) -> None:
        curve = equity_curve(labels(3), np.array([10.0, 20.0, 30.0]), [], CAPITAL)
        assert curve.values.tolist() == [100_000.0] * 3
        assert curve.times.tolist() == labels(3).tolist()

    def test_a_hand_worked_account(self) -> None:
        # Bar 1: buys 10 at 101 for a fee of 1: cash 100000 - 1010 - 1 = 98989; 10 x 102 = 1020.
        # Bar 2: 98989 + 10 x 95 = 99939. Bar 3: sells 4 at 98, fee 0.5: cash 98989 + 392 - 0.5
        # = 99380.5; 6 x 99 = 594. Bar 4: 99380.5 + 6 x 100 = 99980.5.
        closes = np.array([100.0, 102.0, 95.0, 99.0, 100.0])
        fills = [buy(1, "10", "101", "1"), sell(3, "4", "98", "0.5")]
        curve = equity_curve(labels(5), closes, fills, CAPITAL)
        assert curve.values.tolist() == [100_000.0, 100_009.0, 99_939.0, 99_974.5, 99_980.5]
        assert position_series(labels(5), fills).tolist() == [0.0, 10.0, 10.0, 6.0, 6.0]

    def test_fills_on_the_first_and_on_the_last_bar_count(self) -> None:
        # 99990 + 1 x 11 at the first close; sold at 15 on the last: 99990 + 15.
        fills = [buy(0, "1", "10"), sell(1, "1", "15")]
        curve = equity_curve(labels(2), np.array([11.0, 14.0]), fills, CAPITAL)
        assert curve.values.tolist() == [100_001.0, 100_005.0]

    def test_a_bar_shows_the_account_after_all_its_fills(self) -> None:
        fills = [buy(0, "1", "10"), sell(0, "1", "12"), buy(0, "2", "9")]
        # Cash 100000 - 10 + 12 - 18 = 99984, and 2 x 10.
        curve = equity_curve(labels(1), np.array([10.0]), fills, CAPITAL)
        assert curve.values.tolist() == [100_004.0]
        assert position_series(labels(1), fills).tolist() == [2.0]

    def test_cash_and_position_do_not_gather_float_noise(self) -> None:
        # In floats 0.1 + 0.2 - 0.3 is 5.6e-17, a position that is not flat.
        fills = [buy(0, "0.1", "1"), buy(1, "0.2", "1"), sell(2, "0.3", "1")]
        assert position_series(labels(3), fills)[-1] == 0.0
        curve = equity_curve(labels(3), np.array([1.0, 1.0, 1e15]), fills, Decimal(1))
        assert curve.values[-1] == 1.0

    @given(histories())
    @settings(deadline=None, max_examples=60)
    def test_equals_an_account_kept_bar_by_bar_in_fractions(
        self, history: tuple[list[float], list[Fill]]
    ) -> None:
        closes, fills = history
        curve = equity_curve(labels(len(closes)), np.array(closes), fills, CAPITAL)
        position = position_series(labels(len(closes)), fills)
        for bar, close in enumerate(closes):
            cash, held = Fraction(CAPITAL), Fraction(0)
            for done in (f for f in fills if f.time <= day(bar)):
                sign = 1 if done.side is Side.BUY else -1
                held += sign * Fraction(done.quantity)
                cash -= sign * Fraction(done.quantity) * Fraction(done.price) + Fraction(done.fee)
            gross = abs(cash) + held * Fraction(close)
            error = abs(Fraction(float(curve.values[bar])) - (cash + held * Fraction(close)))
            assert error <= gross * Fraction(1, 10**15)
            assert position[bar] == float(held)

    @pytest.mark.parametrize("moment", [day(-1), day(1) + timedelta(seconds=1), day(3)])
    def test_refuses_a_fill_that_is_on_no_bar(self, moment: datetime) -> None:
        stray = replace(buy(0, "1", "10"), time=moment)
        with pytest.raises(ValueError, match="on no bar"):
            equity_curve(labels(3), np.ones(3), [stray], CAPITAL)
        with pytest.raises(ValueError, match="on no bar"):
            position_series(labels(3), [stray])

    def test_refuses_fills_out_of_order(self) -> None:
        with pytest.raises(ValueError, match="out of order"):
            equity_curve(labels(3), np.ones(3), [buy(2, "1", "1"), sell(1, "1", "1")], CAPITAL)

    def test_refuses_a_naive_time(self) -> None:
        naive = replace(buy(0, "1", "10"), time=day(0).replace(tzinfo=None))
        with pytest.raises(ValueError, match="naive"):
            equity_curve(labels(3), np.ones(3), [naive], CAPITAL)

    def test_takes_a_time_in_another_zone_as_the_same_instant(self) -> None:
        from zoneinfo import ZoneInfo

        abroad = replace(buy(1, "1", "10"), time=day(1).astimezone(ZoneInfo("America/New_York")))
        assert position_series(labels(2), [abroad]).tolist() == [0.0, 1.0]

    def test_refuses_times_that_do_not_increase(self) -> None:
        with pytest.raises(ValueError, match="do not increase"):
            equity_curve(labels(3)[[0, 1, 1]], np.ones(3), [], CAPITAL)

    @pytest.mark.parametrize("close", [np.nan, np.inf])
    def test_refuses_a_close_that_is_not_finite(self, close: float) -> None:
        with pytest.raises(ValueError, match="finite"):
            equity_curve(labels(2), np.array([1.0, close]), [], CAPITAL)

    def test_refuses_closes_that_do_not_fit_the_times(self) -> None:
        with pytest.raises(ValueError, match="do not fit"):
            equity_curve(labels(2), np.ones(3), [], CAPITAL)


class TestRoundTrips:
    def test_no_fills_no_trades(self) -> None:
        assert round_trips([]) == ()

    def test_a_trade_goes_from_flat_to_flat(self) -> None:
        # Bought for 1000, sold for 1100, fees 1 + 2: 97 net, 97 / 1000 on the cost before fees.
        fills = [buy(1, "10", "100", "1"), sell(4, "10", "110", "2")]
        assert round_trips(fills) == (
            Trade(
                opened_at=day(1),
                closed_at=day(4),
                quantity=Decimal(10),
                entry_price=Decimal(100),
                exit_price=Decimal(110),
                fees=Decimal(3),
                profit=Decimal(97),
                return_=0.097,
            ),
        )

    def test_scaling_in_and_out_is_one_trade_at_average_prices(self) -> None:
        # In: 10 x 100 + 20 x 106 = 3120 for 30, 104 each. Out: 5 x 110 + 25 x 98 = 3000, 100 each.
        fills = [
            buy(0, "10", "100", "1"),
            sell(1, "5", "110", "1"),
            buy(2, "20", "106", "1"),
            sell(3, "25", "98", "1"),
        ]
        (trade,) = round_trips(fills)
        assert trade.quantity == 30
        assert trade.entry_price == 104
        assert trade.exit_price == 100
        assert trade.fees == 4
        assert trade.profit == -124
        assert trade.return_ == pytest.approx(-124 / 3120, rel=1e-15)
        assert (trade.opened_at, trade.closed_at) == (day(0), day(3))

    def test_a_position_open_at_the_end_is_no_trade(self) -> None:
        fills = [buy(0, "1", "10"), sell(1, "1", "11"), buy(2, "3", "12", "5"), sell(3, "1", "20")]
        (trade,) = round_trips(fills)
        assert trade.profit == 1
        assert trade.closed_at == day(1)

    def test_a_trade_within_one_bar_counts(self) -> None:
        trades = round_trips([buy(0, "1", "10"), sell(0, "1", "11"), buy(0, "1", "11")])
        assert [trade.profit for trade in trades] == [1]

    def test_average_prices_have_ten_decimals_and_profit_every_one(self) -> None:
        # (1 x 1 + 2 x 2) / 3 = 1.666...; profit is exact although the average is not.
        fills = [
            buy(0, "1", "1"),
            buy(0, "2", "2"),
            sell(1, "3", "1.123456789", "0.000000000000000001"),
        ]
        (trade,) = round_trips(fills)
        assert str(trade.entry_price) == "1.6666666667"
        assert trade.profit == Decimal("-1.629629633000000001")

    def test_large_numbers_stay_exact(self) -> None:
        # Values of 36 digits: the default context of Decimal would round them to 28.
        entry = buy(0, "9876543.210987654", "12345678901.123456789")
        leave = sell(1, "9876543.210987654", "12345678901.123456790", "0.01")
        # Exactly one billionth of price on each unit, less the fee.
        assert round_trips([entry, leave])[0].profit == Decimal("-0.000123456789012346")

    def test_refuses_to_go_short(self) -> None:
        with pytest.raises(ValueError, match="more than is held"):
            round_trips([buy(0, "1", "10"), sell(1, "1.000000001", "10")])

    @pytest.mark.parametrize(("quantity", "price"), [("0", "1"), ("-1", "1"), ("1", "0")])
    def test_refuses_an_empty_fill(self, quantity: str, price: str) -> None:
        with pytest.raises(ValueError, match="above zero"):
            round_trips([buy(0, quantity, price)])

    def test_refuses_fills_out_of_order(self) -> None:
        with pytest.raises(ValueError, match="out of order"):
            round_trips([buy(1, "1", "10"), sell(0, "1", "10")])

    @given(histories())
    @settings(deadline=None, max_examples=60)
    def test_when_flat_at_the_end_profits_explain_the_equity_exactly(
        self, history: tuple[list[float], list[Fill]]
    ) -> None:
        closes, fills = history
        held = sum((f.quantity if f.side is Side.BUY else -f.quantity for f in fills), Decimal(0))
        if held:
            fills = [*fills, sell(len(closes) - 1, str(held), "7.77", "0.13")]
        trades = round_trips(fills)
        signs = {Side.BUY: -1, Side.SELL: 1}
        cash = sum(
            (signs[f.side] * Fraction(f.quantity) * Fraction(f.price) - Fraction(f.fee))
            for f in fills
        )
        assert sum(Fraction(trade.profit) for trade in trades) == cash
        assert sum(trade.fees for trade in trades) == fees_paid(fills)
        assert sum(trade.quantity for trade in trades) == sum(
            f.quantity for f in fills if f.side is Side.BUY
        )


def test_fees_paid_counts_open_positions_and_rebates() -> None:
    assert fees_paid([buy(0, "1", "10", "1.25"), buy(1, "1", "10", "-0.25")]) == 1
    assert fees_paid([]) == 0


class TestResultDigest:
    FILLS = (buy(0, "2", "10", "0.1"), sell(1, "2", "11", "0.2"))

    def curve(self, *values: float) -> EquityCurve:
        return EquityCurve(labels(len(values)), np.array(values))

    def digest(
        self,
        fills: tuple[Fill, ...] = FILLS,
        trades: tuple[Trade, ...] | None = None,
        equity: EquityCurve | None = None,
    ) -> str:
        return result_digest_of(
            fills,
            round_trips(self.FILLS) if trades is None else trades,
            self.curve(100.0, 101.5) if equity is None else equity,
        )

    def test_is_the_sha256_of_lines_and_interleaved_points(self) -> None:
        text = (
            "fill|2024-01-01T00:00:00Z|BUY|2|10|0.1\n"
            "fill|2024-01-02T00:00:00Z|SELL|2|11|0.2\n"
            "trade|2024-01-01T00:00:00Z|2024-01-02T00:00:00Z|2|10|11|0.3|1.7\n"
        )
        first = 1_704_067_200 * 10**9
        points = struct.pack("<qqqq", first, 1_000_000, first + 86_400 * 10**9, 1_015_000)
        assert self.digest() == hashlib.sha256(text.encode() + points).hexdigest()

    def test_any_part_of_a_fill_changes_it(self) -> None:
        first, second = self.FILLS
        changed = [
            replace(first, time=day(1)),
            replace(first, side=Side.SELL),
            replace(first, quantity=Decimal("2.000000001")),
            replace(first, price=Decimal("10.000000001")),
            replace(first, fee=Decimal("0.100000001")),
        ]
        digests = {self.digest((one, second)) for one in changed}
        assert len(digests | {self.digest(), self.digest((second, first))}) == 7

    def test_any_part_of_a_trade_changes_it(self) -> None:
        (trade,) = round_trips(self.FILLS)
        tiny = Decimal("1e-10")
        changed = [
            replace(trade, opened_at=day(1)),
            replace(trade, closed_at=day(2)),
            replace(trade, quantity=trade.quantity + tiny),
            replace(trade, entry_price=trade.entry_price + tiny),
            replace(trade, exit_price=trade.exit_price + tiny),
            replace(trade, fees=trade.fees + tiny),
            replace(trade, profit=trade.profit + tiny),
        ]
        digests = {self.digest(trades=(one,)) for one in changed}
        assert len(digests | {self.digest(), self.digest(trades=())}) == 9

    def test_any_point_changes_it(self) -> None:
        curve = self.curve(100.0, 101.5)
        changed = [
            self.curve(100.0001, 101.5),
            self.curve(100.0, 101.4999),
            self.curve(100.0),
            self.curve(100.0, 101.5, 101.5),
            EquityCurve(curve.times + 1, curve.values),
        ]
        assert len({self.digest(equity=one) for one in changed} | {self.digest()}) == 6

    @given(
        st.lists(st.integers(-(10**14), 10**14), min_size=1, max_size=20),
        st.floats(-0.49, 0.49),
    )
    @settings(deadline=None, max_examples=60)
    def test_noise_within_one_ten_thousandth_does_not_change_it(
        self, points: list[int], noise: float
    ) -> None:
        exact = np.array(points) / 10_000
        # A value of up to 1e10 has a spacing of 2e-6, so that noise up to 0.49e-4 stays inside.
        noisy = exact + noise / 10_000
        assert self.digest(equity=self.curve(*noisy)) == self.digest(equity=self.curve(*exact))

    def test_noise_across_a_border_between_ten_thousandths_changes_it(self) -> None:
        assert self.digest(equity=self.curve(1.00014999)) != self.digest(
            equity=self.curve(1.00015001)
        )

    def test_trailing_zeros_do_not_change_it(self) -> None:
        first, second = self.FILLS
        assert self.digest((replace(first, price=Decimal("10.000")), second)) == self.digest()

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 9.3e14])
    def test_refuses_equity_that_does_not_fit(self, value: float) -> None:
        with pytest.raises(ValueError, match="64 bits"):
            self.digest(equity=self.curve(1.0, value))


def test_a_fill_at_the_close_costs_its_fee_from_the_next_bar_on() -> None:
    """Buy 10 at the close of bar 0 for 100 with a fee of 5: bar 0 still shows the whole capital."""
    at_close = replace(buy(0, "10", "100", "5"), at_close=True)

    curve = equity_curve(labels(3), np.array([100.0, 101.0, 102.0]), [at_close], Decimal(1_000))

    assert curve.values.tolist() == [1_000.0, 1_005.0, 1_015.0]
    assert position_series(labels(3), [at_close]).tolist() == [0.0, 10.0, 10.0]


def test_a_fill_at_the_last_close_counts_there() -> None:
    """Nothing comes after the last bar, and the final balance is what is left."""
    at_close = replace(buy(0, "10", "100", "5"), at_close=True)

    curve = equity_curve(labels(1), np.array([100.0]), [at_close], Decimal(1_000))

    assert curve.values.tolist() == [995.0]
