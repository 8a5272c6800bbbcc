"""The indexes that rank runs: one for each metric, because a list may be ordered by any.

Without its index an order reads and sorts all metrics, half a second at a million runs; with it, it
reads a page. Each takes about 40 bytes a run.
"""

from sqlalchemy import Index, text

SUMMARIZED_METRICS = ("sharpe_ratio", "total_return")
"""What a summary tells of each strategy."""

RANKED_WITHIN = {"strategy": SUMMARIZED_METRICS, "symbol": ("sharpe_ratio",)}
"""The metrics that are ranked within one strategy, and within one symbol, too."""

_WITHIN = {"strategy": "strategy_name", "symbol": "instrument_symbol"}


def ranking_index(metric: str, *, within: str | None = None) -> Index:
    """Return the index that gives runs by a metric, undefined last, the newer first of equals."""
    place = "" if within is None else f"{within}_"
    columns = () if within is None else (_WITHIN[within],)
    return Index(
        f"ix_performance_metrics_{place}{metric}",
        *columns,
        text(f"{metric} DESC NULLS LAST"),
        text("backtest_run_id DESC"),
    )
