"""Whether two runs differ by more than chance: paired block-bootstrap intervals.

The returns of two runs are paired on the days that both have, and days are drawn in blocks, for
both runs at once: what the runs share (the market) and what a day shares with the next stays in.

Method: the studentised circular block bootstrap with symmetric intervals of O. Ledoit and M. Wolf,
Robust Performance Hypothesis Testing with the Sharpe Ratio, Journal of Empirical Finance 15(5),
2008, for both statistics as smooth functions of the moments E[a], E[b], E[a^2], E[b^2]. Blocks wrap
around the end (D. N. Politis and J. P. Romano, A Circular Block-Resampling Procedure for Stationary
Data, 1992). `specs/comparison.md` has what was rejected and the measured coverage.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from ntrader.domain.results import EquityCurve
from ntrader.domain.significance import Interval, Significance
from ntrader.engine.metrics import (
    NANOSECONDS_PER_DAY,
    NO_VARIATION,
    RATIO_DECIMALS,
    YEAR,
    Undefined,
    daily_returns,
)

type Array = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2_000
MIN_RETURNS = 30
"""With fewer common days than this, no interval of these holds what it states."""

TOO_FEW_DAYS = f"fewer than {MIN_RETURNS} common daily returns"
MOVE_AS_ONE = "the runs move as one"
TOO_FEW_MOVES = "the runs differ on too few days"

# z(1 - 0.05 / 2) + z(0.8): a test at 5% finds a difference of this many standard errors in 4 of 5
# samples (any text on sample size, such as J. Cohen, Statistical Power Analysis, 1988).
_DETECTABLE = 1.959964 + 0.841621

# A resample whose error is this part of the estimated one has drawn nothing that varies.
_NO_ERROR = 1e-9

# How many numbers a batch of resamples may hold: 16 MB of them.
_BATCH = 2_000_000


@dataclass(frozen=True, slots=True)
class PairedReturns:
    """Returns of two runs over the same spans: from each common day to the next.

    `first` and `second` have shape (n,); `years` is the time that they cover.
    """

    first: Array
    second: Array
    years: float


def significance(
    first: EquityCurve, second: EquityCurve, *, per_year: int, seed: int = 0
) -> Significance:
    """Return 95% intervals of what the second run has more than the first.

    Args:
        first: equity of the first run.
        second: equity of the second run.
        per_year: how many of the common daily returns make a year.
        seed: of the resampling; the same seed gives the same numbers.
    """
    paired = paired_returns(first, second)
    if isinstance(paired, Undefined):
        return Significance.unavailable(paired.reason, seed=seed)
    found: dict[str, Interval] = {}
    undefined: dict[str, str] = {}
    for name, interval in (
        ("mean_daily_return", mean_interval(paired, seed=seed)),
        ("sharpe_ratio", sharpe_interval(paired, per_year=per_year, seed=seed)),
    ):
        if isinstance(interval, Undefined):
            undefined[name] = interval.reason
        else:
            found[name] = interval
    return Significance(
        returns=len(paired.first),
        seed=seed,
        confidence=CONFIDENCE,
        resamples=RESAMPLES,
        mean_daily_return=found.get("mean_daily_return"),
        sharpe_ratio=found.get("sharpe_ratio"),
        undefined=undefined,
    )


def paired_returns(first: EquityCurve, second: EquityCurve) -> PairedReturns | Undefined:
    """Return both runs' daily returns, from each day that both have to the next such day.

    The last equity of the first common day is what the first returns start from. A day that one
    run lacks is no sample of either: its move is in the next common day's return, of both.
    """
    a_days, a_equity = _daily_equity(first)
    b_days, b_equity = _daily_equity(second)
    days, of_a, of_b = np.intersect1d(a_days, b_days, assume_unique=True, return_indices=True)
    if days.size <= MIN_RETURNS:
        return Undefined(TOO_FEW_DAYS)
    found: list[Array] = []
    for equity in (a_equity[of_a], b_equity[of_b]):
        curve = EquityCurve(days * NANOSECONDS_PER_DAY, equity)
        returns = daily_returns(curve, float(equity[0]))
        if isinstance(returns, Undefined):
            return returns
        found.append(returns)
    years = timedelta(days=int(days[-1] - days[0])) / YEAR
    return PairedReturns(found[0], found[1], years)


def mean_interval(
    paired: PairedReturns, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval | Undefined:
    """Return the interval of the difference in mean daily return."""
    return _interval(paired, _MEAN, scale=1.0, seed=seed, resamples=resamples)


def sharpe_interval(
    paired: PairedReturns, *, per_year: int, seed: int = 0, resamples: int = RESAMPLES
) -> Interval | Undefined:
    """Return the interval of the difference in annualised Sharpe ratio (`engine.metrics`)."""
    if _is_constant(paired.first) or _is_constant(paired.second):
        return Undefined(NO_VARIATION)
    # The moments give a deviation over n, the metric has one over n - 1.
    size = len(paired.first)
    scale = math.sqrt(per_year * (size - 1) / size)
    return _interval(paired, _SHARPE, scale=scale, seed=seed, resamples=resamples)


def _daily_equity(curve: EquityCurve) -> tuple[NDArray[np.int64], Array]:
    """Return the days of a curve, counted from 1970, and the last equity of each."""
    days = curve.times // NANOSECONDS_PER_DAY
    last = np.append(np.flatnonzero(days[1:] != days[:-1]), len(curve) - 1)
    return days[last], curve.values[last]


def _is_constant(values: Array) -> bool:
    return round(float(values.std()), RATIO_DECIMALS) == 0


@dataclass(frozen=True, slots=True)
class _Statistic:
    """A function of the moments E[a], E[b], E[a^2], E[b^2], shape (..., 4), and its gradient.

    `value` has shape (...), `gradient` shape (..., 4).
    """

    value: Callable[[Array], Array]
    gradient: Callable[[Array], Array]


def _interval(
    paired: PairedReturns, statistic: _Statistic, *, scale: float, seed: int, resamples: int
) -> Interval | Undefined:
    """Return estimate +- q x standard error, q the 95% quantile of |t*| over the resamples."""
    a, b = paired.first, paired.second
    terms = np.stack((a, b, a * a, b * b), axis=1)
    moments = terms.mean(axis=0)
    estimate = float(statistic.value(moments))
    influence = (terms - moments) @ statistic.gradient(moments)
    if _is_constant(influence):
        return Undefined(MOVE_AS_ONE)
    spectrum = _Spectrum.of(influence)
    error = math.sqrt(spectrum.long_run_variance / len(a))
    deviations = _studentised(
        terms, statistic, error, length=spectrum.block_length, seed=seed, resamples=resamples
    )
    width = float(np.quantile(deviations, CONFIDENCE, method="higher")) * error
    if not math.isfinite(width):
        return Undefined(TOO_FEW_MOVES)
    beyond = int((deviations >= abs(estimate) / error).sum())
    return Interval(
        estimate=estimate * scale,
        low=(estimate - width) * scale,
        high=(estimate + width) * scale,
        p_value=(beyond + 1) / (resamples + 1),
        block_length=spectrum.block_length,
        years=paired.years,
        years_needed=paired.years * (_DETECTABLE * error / estimate) ** 2 if estimate else None,
    )


def _studentised(
    terms: Array, statistic: _Statistic, error: float, *, length: int, seed: int, resamples: int
) -> Array:
    """Return |statistic* - statistic| / its standard error in each resample, shape (resamples,).

    A resample is made of whole blocks. Blocks enter by their sums alone, so that a long block costs
    no more than a short one. Within a resample blocks are independent: their sums give its error.
    It is infinite where a resample holds no variation; `error` is what that is measured by.
    """
    random = np.random.default_rng(seed)
    count = len(terms) // length
    size = count * length
    centre = statistic.value(terms.mean(axis=0))
    wrapped = np.concatenate((terms, terms[: length - 1]))
    ends = np.concatenate((np.zeros((1, terms.shape[1])), wrapped.cumsum(axis=0)))
    sums = ends[length:] - ends[:-length]
    batch = max(1, _BATCH // (terms.shape[1] * count))
    found: list[Array] = []
    for done in range(0, resamples, batch):
        starts = random.integers(len(terms), size=(min(batch, resamples - done), count))
        drawn = sums[starts]
        moments = drawn.sum(axis=1) / size
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = statistic.gradient(moments)
            block = np.einsum("rbm,rm->rb", drawn, slope)
            block -= length * (moments * slope).sum(axis=1, keepdims=True)
            errors = np.sqrt(np.square(block).mean(axis=1) / length / size)
            deviations = np.abs(statistic.value(moments) - centre) / errors
        found.append(np.where(errors > _NO_ERROR * error, deviations, np.inf))
    return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class _Spectrum:
    """What the autocovariances of a series say of blocks and of the error of its mean."""

    block_length: int
    long_run_variance: float

    @classmethod
    def of(cls, series: Array) -> "_Spectrum":
        """Choose the block length and estimate the long-run variance, both with a flat-top window.

        The window reaches twice as far as the last autocorrelation that is not negligible; the
        block length for the circular bootstrap is (2 G^2 / D)^(1/3) n^(1/3), D = 4/3 g(0)^2.
        Source: D. N. Politis and H. White, Automatic Block-Length Selection for the Dependent
        Bootstrap, Econometric Reviews 23(1), 2004, as corrected by A. Patton, D. N. Politis and
        H. White, Econometric Reviews 28(4), 2009. Where the window makes the variance no more than
        a tenth of the plain one (it may even be negative), the plain one is taken.
        """
        n = len(series)
        run = max(5, math.ceil(math.sqrt(math.log10(n))))
        furthest = math.ceil(math.sqrt(n)) + run
        covariances = _autocovariances(series, min(furthest + run, n - 1))
        negligible = np.abs(covariances[1:]) < (2 * math.sqrt(math.log10(n) / n) * covariances[0])
        reach = min(2 * _last_before(negligible, run, furthest), furthest, len(covariances) - 1)
        lags = np.arange(1, reach + 1)
        window = np.clip(2 * (1 - lags / max(reach, 1)), 0, 1)
        weighted = window * covariances[1 : reach + 1]
        plain = float(covariances[0])
        variance = plain + 2 * float(weighted.sum())
        if variance <= plain / 10:
            return cls(1, plain)
        bend = 2 * float((lags * weighted).sum())
        best = (2 * bend**2 / (4 / 3 * variance**2)) ** (1 / 3) * n ** (1 / 3)
        longest = math.ceil(min(3 * math.sqrt(n), n / 3))
        return cls(int(min(max(round(best), 1), longest)), variance)


def _last_before(negligible: NDArray[np.bool_], run: int, furthest: int) -> int:
    """Return the lag after which `run` lags in a row are negligible."""
    for lag in range(furthest):
        if negligible[lag : lag + run].all():
            return lag
    return furthest


def _autocovariances(series: Array, lags: int) -> Array:
    """Return the autocovariances of a series with mean 0 at lags 0 .. `lags`."""
    n = len(series)
    return np.array([series[: n - lag] @ series[lag:] / n for lag in range(lags + 1)])


def _mean_difference(moments: Array) -> Array:
    return moments[..., 1] - moments[..., 0]


def _mean_gradient(moments: Array) -> Array:
    return np.broadcast_to(np.array([-1.0, 1.0, 0.0, 0.0]), moments.shape)


def _sharpe_difference(moments: Array) -> Array:
    a, b, a_squared, b_squared = np.moveaxis(moments, -1, 0)
    difference: Array = b / np.sqrt(b_squared - b * b) - a / np.sqrt(a_squared - a * a)
    return difference


def _sharpe_gradient(moments: Array) -> Array:
    a, b, a_squared, b_squared = np.moveaxis(moments, -1, 0)
    a_cubed = (a_squared - a * a) ** 1.5
    b_cubed = (b_squared - b * b) ** 1.5
    return np.stack(
        (-a_squared / a_cubed, b_squared / b_cubed, a / (2 * a_cubed), -b / (2 * b_cubed)), axis=-1
    )


_MEAN = _Statistic(_mean_difference, _mean_gradient)
_SHARPE = _Statistic(_sharpe_difference, _sharpe_gradient)
