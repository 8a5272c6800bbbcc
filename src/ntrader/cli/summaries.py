"""Tables of summaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from ntrader.cli.formats import percent, plain_text, ratio, signed
from ntrader.cli.layout import plain_table
from ntrader.domain.summaries import MetricSummary, StrategySummary

_ROOM_FOR_MEANS = 100


def summary_table(summaries: Sequence[StrategySummary], *, width: int = 80) -> Table:
    """Show what the runs of each strategy amount to, one strategy a line; means where they fit."""
    parts = ("best", "median", "mean") if width >= _ROOM_FOR_MEANS else ("best", "median")
    table = plain_table("STRATEGY")
    for metric in ("RETURN", "SHARPE"):
        for part in parts:
            table.add_column(f"{metric} {part.upper()}", justify="right", no_wrap=True)
    for heading in ("RUNS", "FAILED"):
        table.add_column(heading, justify="right", no_wrap=True)
    for summary in summaries:
        table.add_row(
            plain_text(summary.strategy),
            *_cells(summary.total_return, parts, _return_cell),
            *_cells(summary.sharpe_ratio, parts, ratio),
            f"{summary.runs:,}",
            f"{summary.failed:,}",
        )
    return table


def _cells(
    metric: MetricSummary, parts: Sequence[str], cell: Callable[[float | None], Text | str]
) -> list[Text | str]:
    return [cell(getattr(metric, part)) for part in parts]


def _return_cell(value: float | None) -> Text:
    return signed(value, percent(value))
