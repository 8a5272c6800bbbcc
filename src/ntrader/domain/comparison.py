"""Comparison: runs side by side, and which of their numbers may be ranked at all.

What is ranked, and what forbids it, is data here: `METRIC_RULES` and `GUARDS`. The reasons are in
`specs/comparison.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from ntrader.domain.results import METRICS
from ntrader.domain.runs import BacktestRun, RunStatus
from ntrader.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_RUNS = 2
MAX_RUNS = 10
LABELS = "ABCDEFGHIJ"
"""What runs are called within a comparison, in the order in which they were given."""


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

_EVERY_METRIC = frozenset(METRICS)
_MONEY = frozenset(name for name, rule in METRIC_RULES.items() if rule.unit is Unit.MONEY)

# Undefined because a divisor is zero that ought to be small: a run without a loss is no worse than
# one with a profit factor of 3. These are the engine's words for it.
UNBOUNDED = frozenset({"no losing trades", "no drawdown", "no daily return below zero"})


@dataclass(frozen=True, slots=True)
class Guard:
    """Something that runs should have in common to be ranked.

    `value` gives it as text (None: not known, and not held against the run), `withholds` are the
    metrics whose best is not marked where it differs, and `implied_by` are guards that, having
    spoken, have said it already.
    """

    subject: str
    value: Callable[[BacktestRun], str | None]
    withholds: frozenset[str]
    implied_by: frozenset[str] = frozenset()


def _instrument(run: BacktestRun) -> str:
    instrument = run.config["instrument"]
    return f"{instrument['symbol']}.{instrument['venue']}"


def _data(run: BacktestRun) -> str:
    content_hash: str = run.config["dataset_hash"]
    return content_hash[:16]


def _period(run: BacktestRun) -> str:
    return f"{_moment(run.start)} to {_moment(run.end, shown=run.last_moment)}"


def _moment(value: datetime, *, shown: datetime | None = None) -> str:
    if value.time() == value.time().min:
        return f"{shown or value:%Y-%m-%d}"
    return f"{value:%Y-%m-%d %H:%M}"


def _engine(run: BacktestRun) -> str | None:
    engine = run.metadata.get("environment", {}).get("engine")
    return f"{engine['name']} {engine['version']}" if isinstance(engine, dict) else None


GUARDS = (
    Guard("instruments", _instrument, _EVERY_METRIC),
    Guard("timeframes", lambda run: run.timeframe, _EVERY_METRIC),
    # A dataset's hash covers its instrument and timeframe.
    Guard("data", _data, _EVERY_METRIC, frozenset({"instruments", "timeframes"})),
    Guard("periods", _period, _EVERY_METRIC),
    Guard("currencies", lambda run: str(run.config["instrument"]["currency"]), _EVERY_METRIC),
    Guard("fees", lambda run: str(run.config["fee"]), _EVERY_METRIC),
    Guard("slippage", lambda run: str(run.config["slippage"]), _EVERY_METRIC),
    Guard("fills", lambda run: str(run.config["fill"]), _EVERY_METRIC),
    Guard("run modes", lambda run: run.mode.value, _EVERY_METRIC),
    Guard("initial capital", lambda run: f"{run.initial_capital:,.2f}", _MONEY),
    Guard("engines", _engine, frozenset()),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricComparison:
    """One metric of every run, in the order of the runs.

    `deltas` are differences to the first run, None where there is no such number. `best` holds the
    ids of the runs that are marked: all of a tie, none where a mark would mislead.
    """

    name: str
    rule: MetricRule
    values: tuple[Any, ...]
    deltas: tuple[Any, ...]
    best: frozenset[UUID]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One entry of the configuration, in the order of the runs; None where a run has none."""

    path: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same."""
        return any(value != self.values[0] for value in self.values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Runs side by side."""

    runs: tuple[BacktestRun, ...]
    metrics: tuple[MetricComparison, ...]
    settings: tuple[Setting, ...]
    warnings: tuple[str, ...]

    @property
    def differences(self) -> tuple[Setting, ...]:
        """The settings in which the runs differ."""
        return tuple(setting for setting in self.settings if setting.differs)

    @property
    def marks_any(self) -> bool:
        """Whether a best is marked anywhere."""
        return any(metric.best for metric in self.metrics)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate of a difference (second run minus first), and how far it can be trusted.

    `years` is the time that the data cover, `years_needed` how much would show this difference in
    four samples of five; None where the estimate is 0.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    block_length: int
    years: float
    years_needed: float | None

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Significance:
    """Whether two runs differ by more than chance.

    `returns` is how many common daily returns there are. An interval is None where it is
    undefined, with the reason in `undefined`.
    """

    returns: int
    seed: int
    confidence: float
    resamples: int
    mean_daily_return: Interval | None = None
    sharpe_ratio: Interval | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def unavailable(cls, reason: str, *, seed: int) -> Self:
        """Return that nothing can be said, and why."""
        return cls(
            returns=0,
            seed=seed,
            confidence=0.95,
            resamples=0,
            undefined=dict.fromkeys(("mean_daily_return", "sharpe_ratio"), reason),
        )


@dataclass(frozen=True, slots=True, eq=False)
class GrowthCurve:
    """The equity of a run as a multiple of its initial capital, and its drawdown, at every bar.

    `times` are the bars' labels in nanoseconds (int64, UTC); the three have shape (n,).
    """

    times: NDArray[np.int64]
    growth: NDArray[np.float64]
    drawdown: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonReport:
    """A comparison with what the runs' files add to it.

    `curves` are in the order of the runs, None where there is none to read. `significance` is
    None unless there are exactly two runs.
    """

    comparison: Comparison
    curves: tuple[GrowthCurve | None, ...]
    significance: Significance | None


def check_count(count: int) -> None:
    """Refuse a number of runs that cannot be compared.

    Raises:
        UsageError: there are fewer than 2 or more than 10.
    """
    if not MIN_RUNS <= count <= MAX_RUNS:
        given = {0: "no run was", 1: "1 run was"}.get(count, f"{count} runs were")
        raise UsageError(
            f"compare takes {MIN_RUNS} to {MAX_RUNS} runs; {given} given.",
            hint="`ntrader compare @~1 @` compares the two newest.",
        )


def compare(runs: Sequence[BacktestRun], *, problems: Sequence[str] = ()) -> Comparison:
    """Lay runs side by side; `problems` are warnings about their files.

    Raises:
        UsageError: there are fewer than 2 or more than 10 runs, or one of them comes twice.
    """
    check_count(len(runs))
    _refuse_repeated(runs)
    ranked = [run for run in runs if run.metrics is not None]
    broken = _broken_guards(ranked)
    withheld = frozenset[str]().union(*(guard.withholds for guard, _ in broken))
    # An amount in one currency less an amount in another is no number.
    mixed = any(guard.subject == "currencies" for guard, _ in broken)
    return Comparison(
        runs=tuple(runs),
        metrics=tuple(
            _compare_metric(name, runs, rankable=name not in withheld, mixed_money=mixed)
            for name in METRICS
        ),
        settings=tuple(_settings(runs)),
        warnings=(
            *_failures(runs),
            *(_guard_text(guard, groups) for guard, groups in broken),
            *problems,
        ),
    )


def short_name(run: BacktestRun) -> str:
    """Return what a warning calls a run."""
    return str(run.run_id)[:8]


def _refuse_repeated(runs: Sequence[BacktestRun]) -> None:
    seen: set[UUID] = set()
    for run in runs:
        if run.run_id in seen:
            raise UsageError(
                f"Run {run.run_id} is given more than once.", hint="Name each run once."
            )
        seen.add(run.run_id)


def _failures(runs: Sequence[BacktestRun]) -> Iterator[str]:
    for run in runs:
        if run.status is RunStatus.FAILED:
            message = "" if run.error is None else run.error.message.partition("\n")[0]
            reason = f": {message.rstrip('.')}" if message else ""
            yield f"Run {short_name(run)} failed and has no metrics{reason}."


def _broken_guards(runs: Sequence[BacktestRun]) -> list[tuple[Guard, dict[str, list[BacktestRun]]]]:
    """Return the guards that do not hold among runs, with the runs of each value."""
    broken: list[tuple[Guard, dict[str, list[BacktestRun]]]] = []
    spoken: set[str] = set()
    for guard in GUARDS:
        groups: dict[str, list[BacktestRun]] = {}
        for run in runs:
            value = guard.value(run)
            if value is not None:
                groups.setdefault(value, []).append(run)
        if len(groups) > 1 and not guard.implied_by & spoken:
            broken.append((guard, groups))
            spoken.add(guard.subject)
    return broken


def _guard_text(guard: Guard, groups: Mapping[str, Sequence[BacktestRun]]) -> str:
    parts = "; ".join(
        f"{value} ({', '.join(short_name(run) for run in runs)})" for value, runs in groups.items()
    )
    return f"Different {guard.subject}: {parts}. {_consequence(guard)}"


def _consequence(guard: Guard) -> str:
    if guard.withholds == _EVERY_METRIC:
        return "No best is marked."
    if guard.withholds:
        return "No best is marked among amounts of money."
    return "The marks stay."


def _compare_metric(
    name: str, runs: Sequence[BacktestRun], *, rankable: bool, mixed_money: bool
) -> MetricComparison:
    rule = METRIC_RULES[name]
    values = tuple(None if run.metrics is None else getattr(run.metrics, name) for run in runs)
    no_deltas = rule.unit is Unit.INSTANT or (rule.unit is Unit.MONEY and mixed_money)
    return MetricComparison(
        name=name,
        rule=rule,
        values=values,
        deltas=tuple(None if no_deltas else _delta(values[0], value) for value in values),
        best=_best(name, rule, runs, values) if rankable else frozenset(),
    )


def _delta(first: Any, value: Any) -> Any:
    if first is None or value is None:
        return None
    difference = value - first
    # Metrics have eight decimals; more would be noise of the subtraction.
    return difference if isinstance(difference, int | Decimal) else round(difference, 8) + 0.0


def _best(
    name: str, rule: MetricRule, runs: Sequence[BacktestRun], values: Sequence[Any]
) -> frozenset[UUID]:
    """Return the runs with the best value; none where fewer than two runs have one."""
    defined = [value for value in values if value is not None]
    if rule.better is None or len(defined) < MIN_RUNS:
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


def _settings(runs: Sequence[BacktestRun]) -> Iterator[Setting]:
    flat = [dict(_flattened(run.config)) for run in runs]
    paths = {path for each in flat for path in each}
    # The strategy first: it is what most comparisons are about.
    for path in sorted(paths, key=lambda path: (not path.startswith("strategy."), path)):
        yield Setting(path=path, values=tuple(each.get(path) for each in flat))


def _flattened(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
