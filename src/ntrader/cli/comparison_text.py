"""The words and numbers of a comparison, the same in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ntrader.cli.formats import SHORT_ID, UNDEFINED
from ntrader.domain.ranking import Unit
from ntrader.domain.significance import Interval, Significance

STAR = "*"

_LABELS = {
    "total_return": ("Total return", "RETURN"),
    "final_balance": ("Final balance", "FINAL BALANCE"),
    "cagr": ("CAGR", "CAGR"),
    "sharpe_ratio": ("Sharpe ratio", "SHARPE"),
    "sortino_ratio": ("Sortino ratio", "SORTINO"),
    "max_drawdown": ("Max drawdown", "MAX DD"),
    "max_drawdown_at": ("Drawdown at", "MAX DD AT"),
    "calmar_ratio": ("Calmar ratio", "CALMAR"),
    "volatility": ("Volatility", "VOL"),
    "total_trades": ("Trades", "TRADES"),
    "winning_trades": ("Won", "WON"),
    "losing_trades": ("Lost", "LOST"),
    "break_even_trades": ("Even", "EVEN"),
    "win_rate": ("Win rate", "WIN RATE"),
    "profit_factor": ("Profit factor", "PROFIT FACTOR"),
    "expectancy": ("Expectancy", "EXPECTANCY"),
    "avg_win": ("Average win", "AVG WIN"),
    "avg_loss": ("Average loss", "AVG LOSS"),
    "total_fees": ("Fees", "FEES"),
    "exposure": ("Exposure", "EXPOSURE"),
}

_MANY_YEARS = 1_000


def metric_label(name: str, *, short: bool = False) -> str:
    """Return what a metric is called in a table."""
    return _LABELS[name][short]


def delta_text(unit: Unit, delta: Any) -> str:
    """Return a difference with its sign; that of two percentages is in points."""
    if delta is None:
        return UNDEFINED
    match unit:
        case Unit.FRACTION:
            return f"{delta * 100:+,.2f} pp"
        case Unit.COUNT:
            return f"{delta:+,}"
        case _:
            return f"{delta:+,.2f}"


def setting_label(path: str) -> str:
    """Return what a setting is called in a table."""
    return path.removeprefix("strategy.") if path.startswith("strategy.parameters.") else path


def setting_text(path: str, value: Any) -> str:
    """Return a setting's value; of a hash its beginning, of a midnight its date."""
    if value is None:
        return UNDEFINED
    if isinstance(value, str):
        return value[:SHORT_ID] if path.endswith("_hash") else value.removesuffix("T00:00:00Z")
    return str(value).lower() if isinstance(value, bool) else str(value)


def significance_lines(significance: Significance) -> Iterator[str]:
    """Say whether two runs differ by more than chance."""
    for name, title, interval in (
        ("mean_daily_return", "Mean daily return", significance.mean_daily_return),
        ("sharpe_ratio", "Sharpe ratio", significance.sharpe_ratio),
    ):
        if interval is None:
            yield f"{title}, B - A: not tested: {significance.undefined[name]}."
        else:
            show = _basis_points if name == "mean_daily_return" else _signed_ratio
            yield (
                f"{title}, B - A: {show(interval.estimate)}, {significance.confidence:.0%} "
                f"interval {show(interval.low)} to {show(interval.high)}: {_verdict(interval)}."
            )
    if significance.returns:
        yield (
            f"({significance.returns:,} common daily returns, "
            f"{significance.resamples:,} resamples in blocks, seed {significance.seed})"
        )


def _verdict(interval: Interval) -> str:
    if interval.is_distinguishable:
        return "B's is higher" if interval.estimate > 0 else "A's is higher"
    return f"not distinguishable on this much data{_needed(interval)}"


def _needed(interval: Interval) -> str:
    if interval.years_needed is None:
        return ""
    if interval.years_needed > _MANY_YEARS:
        return f" (it would take more than {_MANY_YEARS:,} years like these)"
    return f" (it would take about {interval.years_needed:,.0f} years like these)"


def _basis_points(value: float) -> str:
    return f"{value * 10_000:+.2f} bp"


def _signed_ratio(value: float) -> str:
    return f"{value:+.2f}"
