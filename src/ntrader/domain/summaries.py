"""Summaries: what the runs of each strategy amount to."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ntrader.domain.identity import instant_text


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One metric over the runs in which it is defined; all None where there is none."""

    best: float | None
    median: float | None
    mean: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategySummary:
    """All runs of one strategy. `runs` counts the failed ones too; `newest_at` is UTC."""

    strategy: str
    runs: int
    failed: int
    newest_at: datetime
    sharpe_ratio: MetricSummary
    total_return: MetricSummary


def summary_document(summaries: Iterable[StrategySummary]) -> dict[str, Any]:
    """Return summaries as JSON values."""
    return {
        "strategies": [
            {**asdict(summary), "newest_at": instant_text(summary.newest_at)}
            for summary in summaries
        ]
    }


SUMMARY_COLUMNS = (
    "strategy",
    "runs",
    "failed",
    "newest_at",
    *(
        f"{part}_{metric}"
        for metric in ("sharpe_ratio", "total_return")
        for part in ("best", "median", "mean")
    ),
)


def summary_row(summary: StrategySummary) -> list[Any]:
    """Return the values of `SUMMARY_COLUMNS`."""
    metrics = (
        getattr(metric, part)
        for metric in (summary.sharpe_ratio, summary.total_return)
        for part in ("best", "median", "mean")
    )
    about = (summary.strategy, summary.runs, summary.failed, instant_text(summary.newest_at))
    return [*about, *metrics]
