"""The built-in strategies, against plain implementations of their rules."""

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ntrader.engine.strategies.base import Intent, LongFlatStrategy, StrategyParameters
from ntrader.engine.strategies.momentum import Momentum, MomentumParameters
from ntrader.engine.strategies.rsi import RsiMeanReversion, RsiParameters, WilderRsi
from ntrader.engine.strategies.sma import RollingMean, SmaCrossover, SmaParameters

type Decisions = list[tuple[int, Intent]]


def decisions(strategy: LongFlatStrategy[Any], closes: Sequence[float]) -> Decisions:
    """Return what a strategy decides, and on which bar, counted from 0."""
    made = []
    for number, close in enumerate(closes):
        strategy.on_bar(SimpleNamespace(close=close))
        if strategy.intent is not None:
            made.append((number, strategy.intent))
            strategy.intent = None
    return made


def random_walk(seed: int, count: int = 500) -> list[float]:
    chance = random.Random(seed)
    price, closes = 100.0, []
    for _ in range(count):
        price = max(round(price * (1 + chance.gauss(0, 0.02)), 2), 0.01)
        closes.append(price)
    return closes


# Few different prices make ties, and scales from satoshi to more than any index.
closes_with_ties = st.builds(
    lambda units, scale: [unit * scale for unit in units],
    st.lists(st.integers(1, 4), min_size=1, max_size=60),
    st.sampled_from([1e-8, 0.01, 1.0, 12_345.67, 1e9]),
)


# SMA


def plain_sma(closes: Sequence[float], fast: int, slow: int) -> Decisions:
    """Follow the rule with exact fractions, from the whole list at every bar."""
    made: Decisions = []
    was_above, is_long = None, False
    for bar in range(slow - 1, len(closes)):
        exact = [Fraction(close) for close in closes[bar - slow + 1 : bar + 1]]
        above = sum(exact[-fast:]) / fast > sum(exact) / slow + Fraction(1, 1_000_000)
        if was_above is not None and above and not was_above:
            made.append((bar, Intent.ENTER))
            is_long = True
        elif was_above and not above and is_long:
            made.append((bar, Intent.EXIT))
            is_long = False
        was_above = above
    return made


def sma(fast: int, slow: int) -> SmaCrossover:
    return SmaCrossover(SmaParameters(fast_period=fast, slow_period=slow))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("fast", "slow"), [(1, 2), (5, 20), (10, 50)])
def test_sma_follows_its_rule_on_a_random_walk(seed: int, fast: int, slow: int) -> None:
    closes = random_walk(seed)

    made = decisions(sma(fast, slow), closes)

    assert made == plain_sma(closes, fast, slow)
    assert made


@given(closes=closes_with_ties, fast=st.integers(1, 5), more=st.integers(1, 5))
@settings(max_examples=200)
def test_sma_follows_its_rule_on_ties(closes: list[float], fast: int, more: int) -> None:
    assert decisions(sma(fast, fast + more), closes) == plain_sma(closes, fast, fast + more)


def test_sma_does_not_take_the_first_comparison_for_a_crossing() -> None:
    """A market that rises from the start is never entered."""
    assert decisions(sma(2, 3), [1, 2, 3, 4, 5, 6]) == []


def test_sma_enters_on_a_crossing_up_and_exits_on_one_down() -> None:
    assert decisions(sma(1, 2), [3, 2, 3, 4, 3]) == [(2, Intent.ENTER), (4, Intent.EXIT)]


@pytest.mark.parametrize(("rise", "crossings"), [(1e-6, 0), (4e-6, 1)])
def test_sma_takes_a_millionth_for_a_tie(rise: float, crossings: int) -> None:
    """The fast average of 1 lies half a rise above the slow one of 2."""
    closes = [1.0, 1.0, 1.0 + rise]

    assert len(decisions(sma(1, 2), closes)) == crossings


def test_a_rolling_mean_does_not_drift() -> None:
    """A running sum alone is off by more each million, and never forgets a huge price."""
    chance = random.Random(1)
    mean, window = RollingMean(20), [0.0] * 20
    for number in range(100_000):
        value = chance.uniform(1, 1e9) if number < 90_000 else chance.uniform(0.001, 0.002)
        window = [*window[1:], value]
        found = mean.update(value)

    assert found == pytest.approx(float(sum(map(Fraction, window)) / 20), rel=1e-14)


def test_a_rolling_mean_of_equal_values_is_that_value() -> None:
    mean = RollingMean(7)

    found = [mean.update(0.1) for _ in range(1_000)]

    assert found[:6] == [None] * 6
    assert found[-1] == pytest.approx(0.1, rel=1e-15)


# RSI


def plain_rsi(closes: Sequence[float], period: int) -> list[float | None]:
    """Return Wilder's index at each close, from relative strength as he writes it."""
    found: list[float | None] = [None] * min(period, len(closes))
    changes = [after - before for before, after in pairwise(closes)]
    if len(changes) < period:
        return [None] * len(closes)
    up = sum(change for change in changes[:period] if change > 0) / period
    down = sum(-change for change in changes[:period] if change < 0) / period
    for number in range(period - 1, len(changes)):
        if number >= period:
            up = (up * (period - 1) + max(changes[number], 0)) / period
            down = (down * (period - 1) + max(-changes[number], 0)) / period
        if down == 0:
            found.append(50.0 if up == 0 else 100.0)
        else:
            found.append(100 - 100 / (1 + up / down))
    return found


def plain_rsi_decisions(index: list[float | None], oversold: float, overbought: float) -> Decisions:
    made: Decisions = []
    is_long = False
    for bar, value in enumerate(index):
        if value is None:
            continue
        if value < oversold and not is_long:
            made.append((bar, Intent.ENTER))
            is_long = True
        elif value > overbought and is_long:
            made.append((bar, Intent.EXIT))
            is_long = False
    return made


def rsi(period: int, oversold: float, overbought: float) -> RsiMeanReversion:
    return RsiMeanReversion(
        RsiParameters(
            rsi_period=period, oversold_threshold=oversold, overbought_threshold=overbought
        )
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("period", "oversold", "overbought"), [(2, 20, 80), (14, 35, 65)])
def test_rsi_follows_its_rule_on_a_random_walk(
    seed: int, period: int, oversold: float, overbought: float
) -> None:
    closes = random_walk(seed)

    made = decisions(rsi(period, oversold, overbought), closes)

    assert made == plain_rsi_decisions(plain_rsi(closes, period), oversold, overbought)
    assert made


@given(closes=closes_with_ties, period=st.integers(2, 6))
@settings(max_examples=200)
def test_rsi_follows_its_rule_on_ties(closes: list[float], period: int) -> None:
    expected = plain_rsi(closes, period)
    # A value on a threshold is below it or not by the order of two roundings.
    assume(all(x is None or min(abs(x - 30), abs(x - 70)) > 1e-6 for x in expected))

    index = WilderRsi(period)
    found = [index.update(close) for close in closes]

    assert found == pytest.approx(expected, abs=1e-6)
    assert decisions(rsi(period, 30, 70), closes) == plain_rsi_decisions(expected, 30, 70)


def test_rsi_starts_with_the_plain_mean_of_the_first_changes() -> None:
    """Gains are 2/3 and losses 1/3; then, by Wilder, (2/3 x 2 + 1) / 3 and (1/3 x 2) / 3."""
    index = WilderRsi(3)

    found = [index.update(close) for close in (10, 11, 12, 11, 12)]

    assert found[:3] == [None, None, None]
    assert found[3:] == pytest.approx([100 * 2 / 3, 100 * (7 / 9) / (7 / 9 + 2 / 9)])


@pytest.mark.parametrize(
    ("closes", "expected"),
    [([5] * 9, 50.0), (list(range(1, 10)), 100.0), ([9, 8, 7, 6, 5, 4], 0.0)],
)
def test_rsi_of_a_market_that_only_goes_one_way(closes: list[float], expected: float) -> None:
    """Nothing has moved: neither oversold nor overbought."""
    index = WilderRsi(4)

    assert [index.update(close) for close in closes][-1] == expected


# Momentum


def plain_momentum(
    closes: Sequence[float], lookback: int, threshold: float, holding: int
) -> Decisions:
    made: Decisions = []
    entered: int | None = None
    for bar in range(lookback, len(closes)):
        strong = closes[bar] / closes[bar - lookback] - 1 > threshold
        if entered is None and strong:
            made.append((bar, Intent.ENTER))
            entered = bar
        elif entered is not None and not strong and bar - entered >= holding:
            made.append((bar, Intent.EXIT))
            entered = None
    return made


def momentum(lookback: int, threshold: float, holding: int) -> Momentum:
    return Momentum(
        MomentumParameters(
            lookback_period=lookback, momentum_threshold=threshold, holding_period=holding
        )
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("lookback", "threshold", "holding"), [(1, 0.01, 1), (20, 0.05, 5), (10, -0.02, 30)]
)
def test_momentum_follows_its_rule_on_a_random_walk(
    seed: int, lookback: int, threshold: float, holding: int
) -> None:
    closes = random_walk(seed)

    made = decisions(momentum(lookback, threshold, holding), closes)

    assert made == plain_momentum(closes, lookback, threshold, holding)
    assert made


@given(
    closes=closes_with_ties,
    lookback=st.integers(1, 5),
    threshold=st.sampled_from([-0.5, 0.0, 0.5, 1.0]),
    holding=st.integers(1, 8),
)
@settings(max_examples=200)
def test_momentum_follows_its_rule_on_ties(
    closes: list[float], lookback: int, threshold: float, holding: int
) -> None:
    assert decisions(momentum(lookback, threshold, holding), closes) == plain_momentum(
        closes, lookback, threshold, holding
    )


def test_momentum_holds_for_the_holding_period_at_least() -> None:
    """Entered on bar 1, weak from bar 2 on, it exits on bar 4: three bars after the decision."""
    assert decisions(momentum(1, 0.1, 3), [10, 20, 20, 20, 20, 20]) == [
        (1, Intent.ENTER),
        (4, Intent.EXIT),
    ]


def test_momentum_holds_longer_while_it_lasts() -> None:
    assert decisions(momentum(1, 0.1, 1), [10, 20, 40, 80, 80]) == [
        (1, Intent.ENTER),
        (4, Intent.EXIT),
    ]


# What every strategy gets from its base


def test_entering_twice_is_entering_once() -> None:
    strategy = LongFlatStrategy(StrategyParameters())
    strategy.enter()
    strategy.intent = None

    strategy.enter()

    assert strategy.intent is None


def test_exiting_while_flat_is_nothing() -> None:
    strategy = LongFlatStrategy(StrategyParameters())

    strategy.exit()

    assert strategy.intent is None


@pytest.mark.parametrize("was_long", [False, True])
def test_an_intent_taken_back_on_the_same_bar_is_none(was_long: bool) -> None:
    strategy = LongFlatStrategy(StrategyParameters())
    strategy.is_long = was_long

    for change in (strategy.exit, strategy.enter) if was_long else (strategy.enter, strategy.exit):
        change()

    assert strategy.intent is None
    assert strategy.is_long is was_long


def test_a_strategy_must_decide() -> None:
    with pytest.raises(NotImplementedError):
        LongFlatStrategy(StrategyParameters()).on_bar(SimpleNamespace(close=1))
