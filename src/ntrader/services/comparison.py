"""Comparison: runs side by side, with their curves and, for two, the significance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ntrader.domain.comparability import short_name
from ntrader.domain.comparison import (
    Comparison,
    ComparisonReport,
    GrowthCurve,
    check_count,
    compare,
)
from ntrader.domain.datasets import InstrumentKind
from ntrader.domain.runs import BacktestRun, RunStatus
from ntrader.domain.significance import Significance
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import DamagedError, NotFoundError
from ntrader.services.run_files import read_equity

if TYPE_CHECKING:
    from uuid import UUID

    from ntrader.domain.artifacts import Artifact
    from ntrader.domain.results import EquityCurve
    from ntrader.services.workspace import Workspace

DEFAULT_SEED = 0

_PAIR = 2


async def compare_runs(
    workspace: Workspace, references: Sequence[str], *, seed: int = DEFAULT_SEED
) -> ComparisonReport:
    """Lay runs side by side; unreadable curves are told in the warnings, not raised.

    Raises:
        UsageError: there are fewer than 2 or more than 10 runs, or one of them comes twice.
        NotFoundError: there is no such run.
        AmbiguousReferenceError: a reference fits more than one run.
    """
    check_count(len(references))
    store = await workspace.store()
    runs = await store.runs.resolve_many(references)
    artifacts = await store.runs.artifacts_of([run.run_id for run in runs])
    curves, problems = _read_curves(workspace, runs, artifacts)
    comparison = compare(runs, problems=problems)
    return ComparisonReport(
        comparison=comparison,
        curves=tuple(
            None if curve is None else _growth(curve, run)
            for curve, run in zip(curves, runs, strict=True)
        ),
        significance=_significance(comparison, curves, seed=seed) if len(runs) == _PAIR else None,
    )


def _read_curves(
    workspace: Workspace,
    runs: Sequence[BacktestRun],
    artifacts: Mapping[UUID, tuple[Artifact, ...]],
) -> tuple[list[EquityCurve | None], list[str]]:
    """Return the equity of each run, None where there is none, and what is wrong with files."""
    curves: list[EquityCurve | None] = []
    problems: list[str] = []
    for run in runs:
        curve = None
        if run.status is RunStatus.SUCCESS:
            try:
                curve = read_equity(workspace.artifacts, artifacts.get(run.run_id, ()))
            except (NotFoundError, DamagedError) as error:
                problems.append(f"Run {short_name(run)} has no readable curve. {error.message}")
        curves.append(curve)
    return curves, problems


def _growth(curve: EquityCurve, run: BacktestRun) -> GrowthCurve:
    from ntrader.engine.metrics import drawdown_series

    initial = float(run.initial_capital)
    return GrowthCurve(curve.times, curve.values / initial, drawdown_series(curve, initial))


def _significance(
    comparison: Comparison, curves: Sequence[EquityCurve | None], *, seed: int
) -> Significance:
    """Return what the daily returns of two runs say of their difference."""
    first, second = curves
    if first is None or second is None:
        return Significance.unavailable("not both runs have an equity curve", seed=seed)
    if len({_is_weekly(run) for run in comparison.runs}) > 1:
        return Significance.unavailable("weekly bars do not pair with daily ones", seed=seed)

    from ntrader.engine.significance import significance

    # Days that both have are as many as the market with fewer days has.
    per_year = min(map(_returns_per_year, comparison.runs))
    return significance(first, second, per_year=per_year, seed=seed)


def _is_weekly(run: BacktestRun) -> bool:
    return Timeframe.parse(run.timeframe).unit == "w"


def _returns_per_year(run: BacktestRun) -> int:
    from ntrader.engine.metrics import returns_per_year

    kind = InstrumentKind(run.config["instrument"]["kind"])
    return returns_per_year(kind.trading_days, Timeframe.parse(run.timeframe))
