"""Ranking: what each metric measures, which of its values are better, and who has the best.

The rules are data, `METRIC_RULES`. The reasons are in `specs/comparison.md`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from ntrader.domain.runs import BacktestRun

_FEWEST = 2
"""How many defined values make a comparison."""


class Better(StrEnum):
    """Which values of a metric are the better ones."""

    HIGHER = "higher"
    LOWER = "lower"


class Unit(StrEnum):
    """What a metric is measured in."""

    FRACTION = "fraction"
    RATIO = "ratio"
    MONEY = "money"
    COUNT = "count"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True)
class MetricRule:
    """How a metric is ranked; `better` is None where neither direction is better by itself."""

    unit: Unit
    better: Better | None


METRIC_RULES: Mapping[str, MetricRule] = {
    "total_return": MetricRule(Unit.FRACTION, Better.HIGHER),
    "final_balance": MetricRule(Unit.MONEY, Better.HIGHER),
    "cagr": MetricRule(Unit.FRACTION, Better.HIGHER),
    "sharpe_ratio": MetricRule(Unit.RATIO, Better.HIGHER),
    "sortino_ratio": MetricRule(Unit.RATIO, Better.HIGHER),
    # A negative fraction: the one nearer to zero is the better.
    "max_drawdown": MetricRule(Unit.FRACTION, Better.HIGHER),
    "max_drawdown_at": MetricRule(Unit.INSTANT, None),
    "calmar_ratio": MetricRule(Unit.RATIO, Better.HIGHER),
    "volatility": MetricRule(Unit.FRACTION, Better.LOWER),
    "total_trades": MetricRule(Unit.COUNT, None),
    "winning_trades": MetricRule(Unit.COUNT, None),
    "losing_trades": MetricRule(Unit.COUNT, None),
    "break_even_trades": MetricRule(Unit.COUNT, None),
    "win_rate": MetricRule(Unit.FRACTION, Better.HIGHER),
    "profit_factor": MetricRule(Unit.RATIO, Better.HIGHER),
    "expectancy": MetricRule(Unit.MONEY, Better.HIGHER),
    "avg_win": MetricRule(Unit.MONEY, Better.HIGHER),
    # Zero or less, as the drawdown.
    "avg_loss": MetricRule(Unit.MONEY, Better.HIGHER),
    "total_fees": MetricRule(Unit.MONEY, Better.LOWER),
    "exposure": MetricRule(Unit.FRACTION, None),
}

# Undefined because a divisor is zero that ought to be small: a run without a loss is no worse than
# one with a profit factor of 3. These are the engine's words for it.
UNBOUNDED = frozenset({"no losing trades", "no drawdown", "no daily return below zero"})


def best_of(
    name: str, rule: MetricRule, runs: Sequence[BacktestRun], values: Sequence[Any]
) -> frozenset[UUID]:
    """Return the runs with the best value; none where fewer than two runs have one."""
    defined = [value for value in values if value is not None]
    if rule.better is None or len(defined) < _FEWEST:
        return frozenset()
    if any(_outranks_numbers(run, name) for run in runs):
        return frozenset()
    best = max(defined) if rule.better is Better.HIGHER else min(defined)
    return frozenset(run.run_id for run, value in zip(runs, values, strict=True) if value == best)


def _outranks_numbers(run: BacktestRun, name: str) -> bool:
    """Return whether a run's value is undefined for want of anything bad, and it earned money."""
    if run.metrics is None or run.metrics.undefined.get(name) not in UNBOUNDED:
        return False
    return (run.metrics.total_return or 0) > 0
