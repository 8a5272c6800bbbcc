"""What is told of runs that were compared, as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ntrader.domain.documents import plain
from ntrader.domain.run_documents import run_document

if TYPE_CHECKING:
    from ntrader.domain.comparison import ComparisonReport
    from ntrader.domain.significance import Interval, Significance


def compare_document(report: "ComparisonReport") -> dict[str, Any]:
    """Return runs side by side.

    Values and deltas are by run id; a delta is to the first run. `max_drawdown_at` is an instant,
    every other metric a number. `better` is null where neither direction is.
    """
    comparison = report.comparison
    ids = [str(run.run_id) for run in comparison.runs]

    def by_run(values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(ids, map(plain, values), strict=True))

    return {
        "runs": [run_document(run) for run in comparison.runs],
        "metrics": {
            metric.name: {
                "values": by_run(metric.values),
                "deltas": by_run(metric.deltas),
                "better": metric.rule.better,
                "best": [str(run.run_id) for run in comparison.runs if run.run_id in metric.best],
            }
            for metric in comparison.metrics
        },
        "config_differences": {each.path: by_run(each.values) for each in comparison.differences},
        "config_shared": {
            each.path: plain(each.values[0]) for each in comparison.settings if not each.differs
        },
        "significance": None
        if report.significance is None
        else significance_document(report.significance),
        "warnings": list(comparison.warnings),
    }


def significance_document(significance: "Significance") -> dict[str, Any]:
    """Return what is known of the difference between two runs (second minus first)."""
    return {
        "method": "studentised circular block bootstrap",
        "confidence": significance.confidence,
        "resamples": significance.resamples,
        "seed": significance.seed,
        "common_returns": significance.returns,
        **{
            name: None if interval is None else _interval_document(interval)
            for name, interval in (
                ("mean_daily_return", significance.mean_daily_return),
                ("sharpe_ratio", significance.sharpe_ratio),
            )
        },
        "undefined": dict(significance.undefined),
    }


def _interval_document(interval: "Interval") -> dict[str, Any]:
    return {
        "difference": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "p_value": interval.p_value,
        "distinguishable": interval.is_distinguishable,
        "block_length": interval.block_length,
        "years": interval.years,
        "years_needed": interval.years_needed,
    }
