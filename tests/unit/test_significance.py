"""The bootstrap against textbook cases, and its stated coverage on simulated series."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ntrader.domain.results import EquityCurve
from ntrader.domain.significance import Interval, Significance
from ntrader.engine.metrics import (
    NO_VARIATION,
    RUINED,
    Undefined,
    daily_returns,
    sharpe_ratio,
)
from ntrader.engine.significance import (
    MOVE_AS_ONE,
    TOO_FEW_DAYS,
    TOO_FEW_MOVES,
    PairedReturns,
    mean_interval,
    paired_returns,
    sharpe_interval,
    significance,
)

type Array = NDArray[np.float64]

DAY = 86_400_000_000_000
HOUR = DAY // 24
PER_YEAR = 252


def curve(returns: Array, *, first_day: int = 10_000) -> EquityCurve:
    """Return a daily curve that starts at 100,000 and moves by the returns."""
    values = 100_000 * np.concatenate(([1.0], (1 + returns).cumprod()))
    return EquityCurve((first_day + np.arange(len(values), dtype=np.int64)) * DAY, values)


def noise(count: int, *, seed: int, autocorrelation: float = 0.0) -> Array:
    """Return a stationary AR(1) series with mean 0 and variance 1."""
    shocks = np.random.default_rng(seed).standard_normal(count + 200)
    series = np.empty_like(shocks)
    series[0] = shocks[0]
    for index in range(1, len(shocks)):
        series[index] = autocorrelation * series[index - 1] + shocks[index]
    return series[200:] * math.sqrt(1 - autocorrelation**2)


def pair(count: int, *, seed: int = 0, shared: float = 0.7, **kind: Any) -> PairedReturns:
    """Return two runs that share a market: means 4 and 8 bp, deviations 1 and 1.5%."""
    market, a, b = (noise(count, seed=3 * seed + part, **kind) for part in range(3))
    own = math.sqrt(1 - shared**2)
    return PairedReturns(
        0.0004 + 0.010 * (shared * market + own * a),
        0.0008 + 0.015 * (shared * market + own * b),
        count / PER_YEAR,
    )


def interval(found: Interval | Undefined) -> Interval:
    assert isinstance(found, Interval)
    return found


def width(found: Interval) -> float:
    return found.high - found.low


def test_the_interval_of_independent_returns_is_the_textbook_one() -> None:
    returns = pair(3_000)
    difference = returns.second - returns.first

    found = interval(mean_interval(returns))

    error = 1.96 * difference.std(ddof=1) / math.sqrt(len(difference))
    assert found.block_length == 1
    assert found.estimate == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - error, abs=0.04 * error)
    assert found.high == pytest.approx(difference.mean() + error, abs=0.04 * error)


def test_the_sharpe_interval_of_independent_normal_runs_is_the_textbook_one() -> None:
    """A. W. Lo, The Statistics of Sharpe Ratios (2002): variance (1 + SR^2 / 2) / n each."""
    returns = pair(3_000, shared=0.0)

    found = interval(sharpe_interval(returns, per_year=PER_YEAR))

    ratios = [each.mean() / each.std(ddof=1) for each in (returns.first, returns.second)]
    variance = sum((1 + ratio**2 / 2) / 3_000 for ratio in ratios)
    assert found.estimate == pytest.approx((ratios[1] - ratios[0]) * math.sqrt(PER_YEAR))
    assert width(found) == pytest.approx(2 * 1.96 * math.sqrt(variance * PER_YEAR), rel=0.06)


def test_dependence_from_day_to_day_widens_the_interval() -> None:
    """The variance of the mean of an AR(1) is (1 + phi) / (1 - phi) of that of independent days."""
    returns = pair(3_000, autocorrelation=0.4)
    difference = returns.second - returns.first

    found = interval(mean_interval(returns))

    independent = 2 * 1.96 * difference.std(ddof=1) / math.sqrt(3_000)
    assert found.block_length > 3
    assert width(found) / independent == pytest.approx(math.sqrt(1.4 / 0.6), rel=0.15)


def test_what_both_runs_share_does_not_blur_the_difference() -> None:
    apart = interval(sharpe_interval(pair(1_000, shared=0.0), per_year=PER_YEAR))
    together = interval(sharpe_interval(pair(1_000, shared=0.95), per_year=PER_YEAR))

    assert width(together) < width(apart) / 2


def test_one_seed_gives_one_answer() -> None:
    returns = pair(300)

    again = [mean_interval(returns, seed=seed) for seed in (5, 5, 6)]

    assert again[0] == again[1]
    assert again[0] != again[2]


@pytest.mark.parametrize("autocorrelation", [0.0, 0.4])
def test_swapping_the_runs_only_turns_the_sign(autocorrelation: float) -> None:
    returns = pair(400, autocorrelation=autocorrelation)
    swapped = PairedReturns(returns.second, returns.first, returns.years)

    for one, other in (
        (mean_interval(returns), mean_interval(swapped)),
        (
            sharpe_interval(returns, per_year=PER_YEAR),
            sharpe_interval(swapped, per_year=PER_YEAR),
        ),
    ):
        forth, back = interval(one), interval(other)
        assert back.estimate == pytest.approx(-forth.estimate)
        assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))
        assert back.p_value == forth.p_value
        assert back.years_needed == pytest.approx(forth.years_needed)


def test_a_clear_difference_is_told_and_a_faint_one_is_not() -> None:
    quiet = 0.01 * noise(1_000, seed=1)
    other = 0.01 * noise(1_000, seed=2)

    clear = interval(mean_interval(PairedReturns(quiet, quiet + 0.001 + other / 10, 4.0)))
    faint = interval(mean_interval(PairedReturns(quiet, other, 4.0)))

    assert clear.is_distinguishable
    assert clear.p_value < 0.01
    assert clear.years_needed is not None
    assert clear.years_needed < 4.0
    assert not faint.is_distinguishable
    assert faint.p_value > 0.05
    assert faint.years_needed is not None
    assert faint.years_needed > 4.0


def test_the_years_needed_do_not_depend_on_how_much_data_told_them() -> None:
    """They follow from the difference in deviations a day, here 0.04: (2.80 / 0.04)^2 days."""
    drift = np.tile([0.01, -0.01], 5_000) + 0.0004
    still = np.zeros(10_000)

    for count in (2_000, 10_000):
        shuffled = np.random.default_rng(0).permutation(drift[:count])
        found = interval(
            mean_interval(PairedReturns(still[:count], shuffled, count / PER_YEAR), resamples=200)
        )

        assert found.years_needed == pytest.approx((2.8016 / 0.04) ** 2 / PER_YEAR, rel=0.02)


def test_returns_are_those_of_the_metrics_where_both_runs_have_every_day() -> None:
    first, second = curve(0.01 * noise(100, seed=1)), curve(0.02 * noise(100, seed=2))

    found = paired_returns(first, second)

    assert isinstance(found, PairedReturns)
    np.testing.assert_array_equal(found.first, daily_returns(first, 100_000.0))
    np.testing.assert_array_equal(found.second, daily_returns(second, 100_000.0))
    assert found.years == pytest.approx(100 / 365.25)


def test_the_difference_of_sharpe_ratios_is_that_of_the_metrics() -> None:
    first, second = curve(0.01 * noise(100, seed=1)), curve(0.02 * noise(100, seed=2))

    found = significance(first, second, per_year=PER_YEAR)

    ratios = [sharpe_ratio(daily_returns(each, 1e5), PER_YEAR) for each in (first, second)]
    assert isinstance(ratios[0], float)
    assert isinstance(ratios[1], float)
    assert found.sharpe_ratio is not None
    assert found.sharpe_ratio.estimate == pytest.approx(ratios[1] - ratios[0])
    assert found.returns == 100


def test_a_day_that_one_run_lacks_is_in_the_next_return_of_both() -> None:
    returns = 0.01 * noise(60, seed=1)
    whole = curve(returns)
    holed = EquityCurve(np.delete(whole.times, 30), np.delete(whole.values, 30))

    found = paired_returns(holed, whole)

    assert isinstance(found, PairedReturns)
    assert len(found.first) == 59
    np.testing.assert_allclose(found.first, found.second)
    assert found.second[29] == pytest.approx((1 + returns[29]) * (1 + returns[30]) - 1)


def test_runs_of_other_periods_are_paired_where_they_overlap() -> None:
    early = curve(0.01 * noise(100, seed=1), first_day=10_000)
    late = curve(0.01 * noise(100, seed=2), first_day=10_060)

    found = paired_returns(early, late)

    assert isinstance(found, PairedReturns)
    assert len(found.first) == 40
    np.testing.assert_allclose(found.first, np.diff(early.values[60:]) / early.values[60:-1])


def test_of_intraday_bars_the_last_of_a_day_counts() -> None:
    daily = curve(0.01 * noise(50, seed=1))
    times = np.concatenate((daily.times + 10 * HOUR, daily.times + 15 * HOUR))
    values = np.concatenate((daily.values * 1.5, daily.values))
    order = times.argsort()

    found = paired_returns(EquityCurve(times[order], values[order]), daily)

    assert isinstance(found, PairedReturns)
    np.testing.assert_array_equal(found.first, found.second)


def reasons(found: Significance) -> list[str | None]:
    return [found.undefined.get(name) for name in ("mean_daily_return", "sharpe_ratio")]


def test_fewer_than_thirty_common_returns_are_too_few() -> None:
    returns = 0.01 * noise(60, seed=1)

    apart = significance(curve(returns), curve(returns, first_day=20_000), per_year=PER_YEAR)
    few = significance(curve(returns[:29]), curve(returns), per_year=PER_YEAR)
    enough = significance(curve(returns[:30]), curve(-returns), per_year=PER_YEAR)

    assert reasons(apart) == reasons(few) == [TOO_FEW_DAYS, TOO_FEW_DAYS]
    assert few.mean_daily_return is None
    assert reasons(enough) == [None, None]


def test_equal_runs_have_no_difference_to_test() -> None:
    same = curve(0.01 * noise(60, seed=1))

    assert reasons(significance(same, same, per_year=PER_YEAR)) == [MOVE_AS_ONE, MOVE_AS_ONE]


def test_a_run_that_never_trades_has_a_mean_and_no_sharpe_ratio() -> None:
    still, moving = curve(np.zeros(60)), curve(0.01 * noise(60, seed=1))

    for runs in ((still, moving), (moving, still)):
        assert reasons(significance(*runs, per_year=PER_YEAR)) == [None, NO_VARIATION]


def test_a_run_at_half_the_size_has_another_mean_and_no_other_sharpe_ratio() -> None:
    returns = 0.001 + 0.01 * noise(60, seed=1)

    found = significance(curve(returns), curve(returns / 2), per_year=PER_YEAR)

    assert reasons(found) == [None, MOVE_AS_ONE]


@pytest.mark.parametrize("moves", [1, 2])
@pytest.mark.parametrize("drift", [0.0, 0.0003])
def test_a_move_or_two_tell_nothing_of_the_mean(moves: int, drift: float) -> None:
    """One resample in three holds none of a single move."""
    returns = np.full(60, drift)
    returns[20 : 20 + 2 * moves : 2] = 0.05

    found = significance(curve(np.zeros(60)), curve(returns), per_year=PER_YEAR)

    assert reasons(found) == [TOO_FEW_MOVES, NO_VARIATION]


def test_a_run_with_one_move_has_no_sharpe_ratio_to_resample() -> None:
    returns = np.zeros(60)
    returns[20] = 0.05

    found = significance(curve(returns), curve(0.01 * noise(60, seed=1)), per_year=PER_YEAR)

    assert reasons(found) == [None, TOO_FEW_MOVES]


def test_a_run_that_lost_everything_has_no_returns() -> None:
    ruined = curve(0.01 * noise(60, seed=1))
    ruined.values[40:] = 0.0

    found = significance(ruined, curve(0.01 * noise(60, seed=2)), per_year=PER_YEAR)

    assert reasons(found) == [RUINED, RUINED]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("autocorrelation", "days", "least"),
    # 400 simulations tell a coverage of 95% to 1.1% (one standard deviation): three of these are
    # allowed either way. A series that depends on itself is covered up to two points less at
    # these lengths, as by every block bootstrap.
    [(0.0, 250, 0.917), (0.0, 500, 0.917), (0.2, 750, 0.90), (-0.2, 250, 0.917)],
)
def test_95_percent_intervals_hold_the_truth_in_about_95_percent_of_samples(
    autocorrelation: float, days: int, least: float
) -> None:
    simulations = 400
    true_mean = 0.0004
    true_sharpe = (0.0008 / 0.015 - 0.0004 / 0.010) * math.sqrt(PER_YEAR)
    means = sharpes = 0
    for seed in range(simulations):
        returns = pair(days, seed=seed, autocorrelation=autocorrelation)
        mean = interval(mean_interval(returns, seed=seed, resamples=400))
        sharpe = interval(sharpe_interval(returns, per_year=PER_YEAR, seed=seed, resamples=400))
        means += mean.low <= true_mean <= mean.high
        sharpes += sharpe.low <= true_sharpe <= sharpe.high

    assert least <= means / simulations <= 0.983
    assert least <= sharpes / simulations <= 0.983
