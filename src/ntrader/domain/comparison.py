"""Comparison: runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader.domain.comparability import disagreements, short_name
from ntrader.domain.ranking import METRIC_RULES, MetricRule, Unit, best_of
from ntrader.domain.results import METRICS
from ntrader.domain.runs import BacktestRun, RunStatus
from ntrader.domain.significance import Significance
from ntrader.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_RUNS = 2
MAX_RUNS = 10
LABELS = "ABCDEFGHIJ"
"""What runs are called within a comparison, in the order in which they were given."""


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
    found = disagreements(ranked)
    withheld = frozenset[str]().union(*(each.guard.withholds for each in found))
    # An amount in one currency less an amount in another is no number.
    mixed = any(each.guard.subject == "currencies" for each in found)
    return Comparison(
        runs=tuple(runs),
        metrics=tuple(
            _compare_metric(name, runs, rankable=name not in withheld, mixed_money=mixed)
            for name in METRICS
        ),
        settings=tuple(_settings(runs)),
        warnings=(
            *_failures(runs),
            *(each.warning for each in found),
            *problems,
        ),
    )


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
        best=best_of(name, rule, runs, values) if rankable else frozenset(),
    )


def _delta(first: Any, value: Any) -> Any:
    if first is None or value is None:
        return None
    difference = value - first
    # Metrics have eight decimals; more would be noise of the subtraction.
    return difference if isinstance(difference, int | Decimal) else round(difference, 8) + 0.0


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
