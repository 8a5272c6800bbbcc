"""Comparability: what runs should have in common, and which marks are kept away where they do not.

The rules are data, `GUARDS`. The reasons are in `specs/comparison.md`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ntrader.domain.ranking import METRIC_RULES, Unit
from ntrader.domain.results import METRICS
from ntrader.domain.runs import BacktestRun

_EVERY_METRIC = frozenset(METRICS)
_MONEY = frozenset(name for name, rule in METRIC_RULES.items() if rule.unit is Unit.MONEY)


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


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A guard that does not hold, with the runs of each value that they have."""

    guard: Guard
    groups: Mapping[str, Sequence[BacktestRun]]

    @property
    def warning(self) -> str:
        """What differs, whose it is, and what that keeps from being marked."""
        parts = "; ".join(
            f"{value} ({', '.join(map(short_name, runs))})" for value, runs in self.groups.items()
        )
        return f"Different {self.guard.subject}: {parts}. {self._consequence}"

    @property
    def _consequence(self) -> str:
        if self.guard.withholds == _EVERY_METRIC:
            return "No best is marked."
        if self.guard.withholds:
            return "No best is marked among amounts of money."
        return "The marks stay."


def disagreements(runs: Sequence[BacktestRun]) -> Sequence[Disagreement]:
    """Return what runs ought to have in common and have not."""
    found: list[Disagreement] = []
    spoken: set[str] = set()
    for guard in GUARDS:
        groups: dict[str, list[BacktestRun]] = {}
        for run in runs:
            value = guard.value(run)
            if value is not None:
                groups.setdefault(value, []).append(run)
        if len(groups) > 1 and not guard.implied_by & spoken:
            found.append(Disagreement(guard, groups))
            spoken.add(guard.subject)
    return found


def short_name(run: BacktestRun) -> str:
    """Return what a warning calls a run."""
    return str(run.run_id)[:8]
