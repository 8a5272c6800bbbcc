"""Every metric against a second implementation (pandas, plain Python) or a hand-worked case."""

import math
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntrader.domain.results import METRICS, EquityCurve, PerformanceMetrics, Trade
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.metrics import (
    METRICS_VERSION,
    Undefined,
    compute_metrics,
    daily_returns,
    returns_per_year,
    stored_money,
    stored_ratio,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
DAILY = Timeframe.parse("1d")


def labels(
    count: int, step: timedelta = timedelta(days=1), first: datetime = FIRST_DAY
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    start = int(first.timestamp()) * 1_000_000_000
    return start + step // timedelta(microseconds=1) * 1_000 * np.arange(count, dtype=np.int64)


def measure(
    values: Sequence[float],
    *,
    profits: Sequence[str] = (),
    fees: str = "0",
    position: Sequence[float] | None = None,
    initial: str = "100000",
    step: timedelta = timedelta(days=1),
    first: datetime = FIRST_DAY,
    length: timedelta | None = None,
    trading_days: int = 252,
    timeframe: Timeframe = DAILY,
) -> PerformanceMetrics:
    """Compute the metrics of a curve with `step` between its bars."""
    period = step * len(values) if length is None else length
    return compute_metrics(
        EquityCurve(labels(len(values), step, first), np.array(values, dtype=np.float64)),
        [trade(profit) for profit in profits],
        Decimal(fees),
        np.zeros(len(values)) if position is None else np.array(position, dtype=np.float64),
        Decimal(initial),
        start=first,
        end=first + period,
        trading_days=trading_days,
        timeframe=timeframe,
    )


def trade(profit: str) -> Trade:
    return Trade(
        opened_at=FIRST_DAY,
        closed_at=FIRST_DAY + timedelta(days=1),
        quantity=Decimal(1),
        entry_price=Decimal(100),
        exit_price=Decimal(100) + Decimal(profit),
        fees=Decimal(0),
        profit=Decimal(profit),
        return_=float(profit) / 100,
    )


def random_curve(seed: int, bars: int) -> list[float]:
    """A random walk around 100,000 that starts at it."""
    steps = np.random.default_rng(seed).normal(0.0005, 0.01, bars)
    steps[0] = 0
    return list(100_000 * np.cumprod(1 + steps))


def close_to(expected: float) -> Any:
    """Equal to a number that was rounded to 8 decimals."""
    return pytest.approx(expected, abs=5.1e-9, rel=1e-12)


def pandas_daily_returns(values: Sequence[float], step: timedelta) -> Any:
    index = pd.DatetimeIndex(labels(len(values), step), tz=UTC)
    last = pd.Series(values, index=index).resample("1D").last().dropna()
    # Before the first bar there is the initial capital; with daily bars it takes the first's place.
    before = pd.Series([100_000.0], index=[index[0] - pd.Timedelta(days=1)])
    rest = last if (index.normalize() == index[0].normalize()).sum() > 1 else last.iloc[1:]
    return pd.concat([before, rest]).pct_change().dropna()


SEEDS = [1, 2, 3]
STEPS = [
    pytest.param(timedelta(days=1), id="daily"),
    pytest.param(timedelta(hours=5), id="intraday"),
    pytest.param(timedelta(days=3), id="days without a bar"),
]


class TestReturnStatistics:
    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("step", STEPS)
    @pytest.mark.parametrize("trading_days", [252, 365])
    def test_equal_those_of_pandas(self, seed: int, step: timedelta, trading_days: int) -> None:
        values = random_curve(seed, 400)
        r = pandas_daily_returns(values, step)
        metrics = measure(values, step=step, trading_days=trading_days)
        year = math.sqrt(trading_days)
        downside = math.sqrt((r.clip(upper=0) ** 2).mean())
        assert metrics.volatility == close_to(r.std() * year)
        assert metrics.sharpe_ratio == close_to(r.mean() / r.std() * year)
        assert metrics.sortino_ratio == close_to(r.mean() / downside * year)

    @given(
        st.lists(st.floats(90_000, 110_000), min_size=4, max_size=30).filter(
            lambda values: max(values) - min(values) > 1
        ),
        st.sampled_from([timedelta(days=1), timedelta(hours=7), timedelta(hours=30)]),
    )
    @settings(deadline=None, max_examples=60)
    def test_equal_those_of_plain_python(self, values: list[float], step: timedelta) -> None:
        last_of_day = {}
        for bar, value in enumerate(values):
            last_of_day[(FIRST_DAY + bar * step).date()] = value
        if FIRST_DAY.date() != (FIRST_DAY + step).date():
            last_of_day[FIRST_DAY.date()] = 100_000
            samples = list(last_of_day.values())
        else:
            samples = [100_000, *last_of_day.values()]
        r = [after / before - 1 for before, after in pairwise(samples)]
        metrics = measure(values, step=step)
        if len(r) < 2:
            assert metrics.volatility is None
            return
        deviation = statistics.stdev(r)
        downside = math.sqrt(sum(min(one, 0) ** 2 for one in r) / len(r))
        assert metrics.volatility == close_to(deviation * math.sqrt(252))
        if metrics.sharpe_ratio is not None:
            sharpe = statistics.fmean(r) / deviation * math.sqrt(252)
            assert metrics.sharpe_ratio == pytest.approx(sharpe, rel=1e-6, abs=1e-8)
        if metrics.sortino_ratio is not None:
            sortino = statistics.fmean(r) / downside * math.sqrt(252)
            assert metrics.sortino_ratio == pytest.approx(sortino, rel=1e-6, abs=1e-8)
        assert (metrics.sharpe_ratio is None) == (deviation * math.sqrt(252) < 5e-9)
        assert (metrics.sortino_ratio is None) == (downside * math.sqrt(252) < 5e-9)

    def test_a_hand_worked_case(self) -> None:
        # Returns 0.10, -0.10, 0.10: mean 1/30; deviations 1/15, -2/15, 1/15 with the sum of squares
        # 6/225, so s^2 = 3/225 and s = sqrt(3)/15. Sharpe: sqrt(252) / (2 sqrt(3)) = sqrt(21).
        # Downside: sqrt(0.01 / 3) = 0.1 / sqrt(3). Sortino: sqrt(3) / 3 x sqrt(252) = sqrt(84).
        metrics = measure([100_000, 110_000, 99_000, 108_900])
        assert metrics.volatility == close_to(math.sqrt(3) / 15 * math.sqrt(252))
        assert metrics.sharpe_ratio == close_to(math.sqrt(21))
        assert metrics.sortino_ratio == close_to(math.sqrt(84))

    def test_a_year_of_weekly_bars_has_52_returns(self) -> None:
        # The returns are those of the hand-worked case, annualised by sqrt(52).
        values = [100_000.0, 110_000.0, 99_000.0, 108_900.0]
        weekly = measure(values, step=timedelta(weeks=1), timeframe=Timeframe.parse("1w"))
        assert weekly.volatility == close_to(math.sqrt(3) / 15 * math.sqrt(52))
        assert returns_per_year(365, Timeframe.parse("1w")) == 52
        assert returns_per_year(365, Timeframe.parse("4h")) == 365

    @pytest.mark.parametrize("name", ["volatility", "sharpe_ratio", "sortino_ratio"])
    @pytest.mark.parametrize("values", [[100_000.0], [100_000.0, 101_000.0]])
    def test_one_return_says_nothing(self, name: str, values: list[float]) -> None:
        metrics = measure(values)
        assert getattr(metrics, name) is None
        assert metrics.undefined[name] == "fewer than two daily returns"

    @pytest.mark.parametrize("values", [[100_000.0] * 5, [100_000 * 1.001**n for n in range(50)]])
    def test_without_variation_volatility_is_zero_and_sharpe_undefined(
        self, values: list[float]
    ) -> None:
        metrics = measure(values)
        assert metrics.volatility == 0.0
        assert metrics.sharpe_ratio is None
        assert metrics.undefined["sharpe_ratio"] == "returns do not vary"
        assert metrics.undefined["sortino_ratio"] == "no daily return below zero"

    def test_float_noise_in_a_flat_curve_is_no_variation(self) -> None:
        flat = 100_000 * (1 + np.random.default_rng(5).integers(-3, 4, 60) * 1.2e-16)
        assert len(set(flat)) > 1
        metrics = measure(list(flat))
        assert metrics.undefined["sharpe_ratio"] == "returns do not vary"
        assert metrics.undefined["sortino_ratio"] == "no daily return below zero"
        assert metrics.undefined["max_drawdown_at"] == "no drawdown"
        assert metrics.max_drawdown == 0.0

    def test_without_a_losing_day_only_sortino_is_undefined(self) -> None:
        metrics = measure([100_000, 101_000, 103_000, 103_000])
        assert metrics.undefined["sortino_ratio"] == "no daily return below zero"
        assert metrics.sharpe_ratio is not None


class TestSampling:
    def returns(
        self, values: Sequence[float], times: "np.ndarray[Any, np.dtype[np.int64]]"
    ) -> list[float]:
        found = daily_returns(EquityCurve(times, np.array(values, dtype=np.float64)), 100.0)
        assert not isinstance(found, Undefined)
        return [round(one, 12) for one in found]

    def test_daily_bars_give_one_return_less_than_bars(self) -> None:
        # The first is E_2 / initial - 1: what the first bar cost in fees is in it.
        assert self.returns([99, 110, 121], labels(3)) == [0.1, 0.1]

    def test_the_first_day_of_intraday_bars_counts(self) -> None:
        times = labels(6, timedelta(hours=12))
        assert self.returns([100, 110, 500, 121, 1, 242], times) == [0.1, 0.1, 1.0]

    def test_a_first_day_with_one_bar_gives_no_return_of_its_own(self) -> None:
        evening = FIRST_DAY + timedelta(hours=18)
        times = labels(6, timedelta(hours=12), evening)
        # Day 1: 104 (merged into the initial 100); day 2: 7, 110; day 3: 9, 121; day 4: 242.
        assert self.returns([104, 7, 110, 9, 121, 242], times) == [0.1, 0.1, 1.0]

    def test_days_are_utc_days_of_the_labels(self) -> None:
        times = labels(4, timedelta(minutes=1), FIRST_DAY + timedelta(hours=23, minutes=58))
        # 23:58, 23:59 | 00:00, 00:01
        assert self.returns([50, 110, 70, 121], times) == [0.1, 0.1]

    def test_days_before_1970_are_days_too(self) -> None:
        times = labels(6, timedelta(hours=12), datetime(1969, 12, 30, tzinfo=UTC))
        assert self.returns([100, 110, 500, 121, 1, 242], times) == [0.1, 0.1, 1.0]

    def test_a_weekend_is_no_return_of_zero(self) -> None:
        times = labels(5)[[0, 1, 4]]
        assert self.returns([100, 110, 121], times) == [0.1, 0.1]


class TestGrowth:
    def test_total_return_is_over_the_initial_capital(self) -> None:
        # The first bar already paid a fee: 110000 / 100000, not 110000 / 99990.
        metrics = measure([99_990, 110_000])
        assert metrics.total_return == 0.1
        assert metrics.final_balance == Decimal("110000.0000")

    def test_cagr_doubles_in_two_years(self) -> None:
        # 730.5 days are two years: sqrt(2) - 1.
        metrics = measure([100_000, 200_000], length=timedelta(days=730.5))
        assert metrics.cagr == close_to(math.sqrt(2) - 1)

    def test_cagr_of_half_a_year_compounds(self) -> None:
        # 1.1^2 - 1
        assert measure([100_000, 110_000], length=timedelta(days=182.625)).cagr == close_to(0.21)

    def test_cagr_of_an_empty_period_is_undefined(self) -> None:
        metrics = measure([110_000], length=timedelta(0))
        assert metrics.cagr is None
        assert metrics.undefined["cagr"] == "the period has no length"

    @pytest.mark.parametrize("minutes", [1, 2000])
    def test_a_cagr_beyond_all_measure_is_too_large_to_store(self, minutes: int) -> None:
        # One minute overflows a float, 2000 minutes give 2^263, about 1e79.
        metrics = measure([90_000, 200_000], length=timedelta(minutes=minutes))
        assert metrics.undefined["cagr"] == "too large to store"
        assert metrics.undefined["calmar_ratio"] == "too large to store"

    def test_calmar_is_cagr_over_drawdown(self) -> None:
        # Down to 80000 from 100000: -0.2. One year at +21%: 0.21 / 0.2.
        values = [100_000, 80_000, 121_000]
        assert measure(values, length=timedelta(days=365.25)).calmar_ratio == close_to(1.05)

    def test_calmar_without_a_drawdown_is_undefined(self) -> None:
        assert measure([100_000, 110_000]).undefined["calmar_ratio"] == "no drawdown"
        overflow = measure([200_000], length=timedelta(minutes=1))
        assert overflow.undefined["calmar_ratio"] == "no drawdown"


class TestDrawdown:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_equals_the_worst_pair_of_bars(self, seed: int) -> None:
        values = random_curve(seed, 150)
        worst = min(
            (values[later] / values[earlier] - 1, later)
            for later in range(len(values))
            for earlier in range(later + 1)
        )
        metrics = measure(values)
        assert metrics.max_drawdown == close_to(worst[0])
        assert metrics.max_drawdown_at == FIRST_DAY + timedelta(days=worst[1])

    def test_the_initial_capital_is_the_first_peak(self) -> None:
        metrics = measure([90_000, 95_000])
        assert metrics.max_drawdown == -0.1
        assert metrics.max_drawdown_at == FIRST_DAY

    def test_every_bar_counts_not_only_the_last_of_a_day(self) -> None:
        metrics = measure([100_000, 75_000, 100_000, 100_000], step=timedelta(hours=6))
        assert metrics.max_drawdown == -0.25
        assert metrics.max_drawdown_at == FIRST_DAY + timedelta(hours=6)

    def test_the_first_of_equal_troughs_is_named(self) -> None:
        metrics = measure([100_000, 90_000, 100_000, 90_000])
        assert metrics.max_drawdown_at == FIRST_DAY + timedelta(days=1)

    def test_none_is_zero_and_has_no_time(self) -> None:
        metrics = measure([100_000, 100_000, 110_000])
        assert metrics.max_drawdown == 0.0
        assert math.copysign(1, metrics.max_drawdown) == 1
        assert metrics.max_drawdown_at is None
        assert metrics.undefined["max_drawdown_at"] == "no drawdown"
        assert "max_drawdown" not in metrics.undefined

    def test_debt_is_a_drawdown_of_everything(self) -> None:
        metrics = measure([100_000, -50_000, -90_000])
        assert metrics.max_drawdown == -1.0
        assert metrics.max_drawdown_at == FIRST_DAY + timedelta(days=1)

    def test_debt_beyond_all_measure_is_no_more(self) -> None:
        # -1e305 / 1e-4 overflows a float.
        metrics = measure([-1e305], initial="0.0001")
        assert metrics.max_drawdown == -1.0
        assert metrics.undefined["total_return"] == "too large to store"


@pytest.mark.parametrize("bottom", [0.0, -1.0])
@pytest.mark.parametrize(
    "name", ["cagr", "sharpe_ratio", "sortino_ratio", "volatility", "calmar_ratio"]
)
def test_returns_on_nothing_are_undefined(name: str, bottom: float) -> None:
    metrics = measure([100_000, bottom, 50_000, 60_000])
    assert getattr(metrics, name) is None
    assert metrics.undefined[name] == "equity fell to zero or below"
    assert metrics.total_return == -0.4


class TestTrades:
    def test_a_hand_worked_case(self) -> None:
        # Wins 100 + 50, losses -30 - 20 - 10, one break-even: 150 / 60; 90 / 6 a trade.
        metrics = measure([100_000], profits=["100", "-30", "0", "50", "-20", "-10"], fees="7.5")
        assert metrics.total_trades == 6
        assert metrics.winning_trades == 2
        assert metrics.losing_trades == 3
        assert metrics.break_even_trades == 1
        assert metrics.win_rate == close_to(1 / 3)
        assert metrics.profit_factor == 2.5
        assert metrics.expectancy == Decimal("15.0000")
        assert metrics.avg_win == Decimal("75.0000")
        assert metrics.avg_loss == Decimal("-20.0000")
        assert metrics.total_fees == Decimal("7.5000")

    @given(st.lists(st.decimals(-1000, 1000, places=6), min_size=1, max_size=20))
    @settings(deadline=None, max_examples=60)
    def test_equal_those_of_fractions(self, profits: list[Decimal]) -> None:
        metrics = measure([100_000], profits=[str(profit) for profit in profits])
        exact = [Fraction(profit) for profit in profits]
        wins = [one for one in exact if one > 0]
        losses = [one for one in exact if one < 0]
        assert metrics.total_trades == len(exact)
        assert metrics.winning_trades == len(wins)
        assert metrics.losing_trades == len(losses)
        assert metrics.break_even_trades == exact.count(Fraction(0))
        assert metrics.win_rate == close_to(len(wins) / len(exact))
        expected = {"expectancy": exact, "avg_win": wins, "avg_loss": losses}
        for name, amounts in expected.items():
            # Python rounds a fraction half to even.
            mean = round(sum(amounts) / Fraction(len(amounts)), 4) if amounts else None
            found = getattr(metrics, name)
            assert (None if found is None else Fraction(found)) == mean
        if losses:
            factor = -sum(wins, Fraction(0)) / sum(losses, Fraction(0))
            if factor < 10**9:
                assert metrics.profit_factor == close_to(float(factor))

    @pytest.mark.parametrize(
        "name", ["win_rate", "profit_factor", "expectancy", "avg_win", "avg_loss"]
    )
    def test_no_trades(self, name: str) -> None:
        metrics = measure([100_000], profits=[])
        assert getattr(metrics, name) is None
        assert metrics.undefined[name] == "no closed trades"

    def test_only_winners(self) -> None:
        metrics = measure([100_000], profits=["5", "7"])
        assert metrics.win_rate == 1.0
        assert metrics.undefined["profit_factor"] == "no losing trades"
        assert metrics.undefined["avg_loss"] == "no losing trades"

    def test_only_losers(self) -> None:
        metrics = measure([100_000], profits=["-5", "-7"])
        assert metrics.win_rate == 0.0
        assert metrics.profit_factor == 0.0
        assert metrics.undefined["avg_win"] == "no winning trades"

    def test_only_break_even(self) -> None:
        metrics = measure([100_000], profits=["0", "0.000"])
        assert metrics.break_even_trades == 2
        assert metrics.win_rate == 0.0
        assert metrics.expectancy == 0
        assert metrics.undefined["profit_factor"] == "no losing trades"

    def test_a_profit_too_small_to_show_is_still_a_win(self) -> None:
        metrics = measure([100_000], profits=["0.000000000000000001"])
        assert metrics.winning_trades == 1
        assert metrics.avg_win == 0

    def test_profits_are_summed_exactly(self) -> None:
        # With 28 digits 1e13 + 1e-18 would lose the small part: the mean lies just above the tie.
        metrics = measure([100_000], profits=["10000000000000.0001", "0.000000000000000002"])
        assert metrics.expectancy == Decimal("5000000000000.0001")


def test_exposure_is_the_share_of_bars_that_close_with_a_position() -> None:
    assert measure([1e5] * 4, position=[0, 2, 2, 0]).exposure == 0.5
    assert measure([1e5] * 3, position=[0, 0, 0]).exposure == 0.0
    assert measure([1e5] * 3, position=[1e-9, 1, 1]).exposure == 1.0


class TestStoredValues:
    @pytest.mark.parametrize(
        ("value", "stored"),
        [
            (1 / 3, 0.33333333),
            (-1e-9, 0.0),
            (0.000000005000001, 0.00000001),
            # 2^-9 has nine decimals, the last a 5: a true tie, which goes to the even digit.
            (2**-9, 0.00195312),
            (3 * 2**-9, 0.00585938),
            (9_999_999_999.5, 9_999_999_999.5),
        ],
    )
    def test_ratios_have_eight_decimals(self, value: float, stored: float) -> None:
        found = stored_ratio(value)
        assert found == stored
        assert isinstance(found, float)
        assert math.copysign(1, found) == math.copysign(1, stored)

    @pytest.mark.parametrize(
        ("value", "stored"),
        [
            ("1.00005", "1.0000"),
            ("1.00015", "1.0002"),
            ("-0.00001", "0.0000"),
            ("99999999999999.99994999", "99999999999999.9999"),
        ],
    )
    def test_money_has_four_decimals(self, value: str, stored: str) -> None:
        assert str(stored_money(Decimal(value))) == stored

    @pytest.mark.parametrize("value", [1e10, -1e10, math.inf, math.nan])
    def test_a_ratio_that_does_not_fit_is_undefined(self, value: float) -> None:
        assert stored_ratio(value) == Undefined("too large to store")

    @pytest.mark.parametrize("value", ["1e14", "-1e14", "99999999999999.99995", "1e300"])
    def test_money_that_does_not_fit_is_undefined(self, value: str) -> None:
        assert stored_money(Decimal(value)) == Undefined("too large to store")

    def test_a_run_with_absurd_numbers_keeps_the_others(self) -> None:
        metrics = measure(
            [1e5, 1e200, 1e-200, 1e300],
            profits=["1e100", "-1e-20"],
            fees="1e15",
            position=[0, 1, 1, 1],
        )
        too_large = {name for name, why in metrics.undefined.items() if why == "too large to store"}
        assert too_large == {
            *("total_return", "final_balance", "cagr", "calmar_ratio", "volatility"),
            *("sharpe_ratio", "sortino_ratio", "profit_factor", "expectancy", "avg_win"),
            "total_fees",
        }
        assert metrics.max_drawdown == -1.0
        assert metrics.exposure == 0.75


@given(
    st.lists(
        st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6)),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.decimals(-(10**20), 10**20, allow_nan=False).map(str), max_size=5),
    st.sampled_from([timedelta(minutes=1), timedelta(hours=11), timedelta(days=1)]),
)
@settings(deadline=None, max_examples=150)
def test_every_metric_is_storable_or_undefined_with_a_reason(
    values: list[float], profits: list[str], step: timedelta
) -> None:
    metrics = measure(values, profits=profits, step=step)
    for name, value in metrics.values().items():
        assert (value is None) == bool(metrics.undefined.get(name))
        if isinstance(value, float):
            assert Decimal(repr(value)) == Decimal(repr(value)).quantize(Decimal("1e-8"))
            assert abs(value) < 1e10
        if isinstance(value, Decimal):
            assert value.as_tuple().exponent == -4
            assert len(value.as_tuple().digits) <= 18
    assert set(metrics.undefined) <= set(METRICS)
    assert metrics.max_drawdown is not None
    assert -1 <= metrics.max_drawdown <= 0
    assert metrics.avg_loss is None or metrics.avg_loss <= 0
    assert metrics.avg_win is None or metrics.avg_win >= 0
    counted = metrics.winning_trades + metrics.losing_trades + metrics.break_even_trades
    assert counted == metrics.total_trades == len(profits)


@pytest.mark.parametrize(
    ("unusable", "message"),
    [
        (lambda: measure([]), "without bars"),
        (lambda: measure([1.0, 2.0], position=[0]), "differ in length"),
        (lambda: measure([1.0, math.nan]), "not finite"),
        (lambda: measure([1.0], initial="0"), "initial capital"),
    ],
)
def test_refuses_what_no_run_gives(
    unusable: Callable[[], PerformanceMetrics], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        unusable()


def test_the_definitions_have_a_version() -> None:
    assert METRICS_VERSION == "1"
