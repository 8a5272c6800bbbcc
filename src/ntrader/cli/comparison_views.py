"""What a person sees of a comparison, in a terminal.

Up to four runs stand in columns, more in rows: either way 80 columns do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntrader.cli.comparison_text import (
    STAR,
    delta_text,
    metric_label,
    setting_label,
    setting_text,
    significance_lines,
)
from ntrader.cli.formats import metric_text, plain_text, short_id
from ntrader.cli.layout import FirstThatFits, plain_table
from ntrader.domain.comparison import (
    LABELS,
    Comparison,
    ComparisonReport,
    GrowthCurve,
    MetricComparison,
    Setting,
)
from ntrader.domain.runs import BacktestRun

MAX_COLUMNS = 4
CHART_WIDTH = 78
CHART_HEIGHT = 14

_STYLES = (
    "cyan",
    "yellow",
    "magenta",
    "green",
    "blue",
    "red",
    "bright_cyan",
    "bright_yellow",
    "bright_magenta",
    "bright_green",
)
_SHARED = "*"

# How metrics are laid out where runs stand in rows: one table for each group.
_GROUPS = (
    (
        "total_return",
        "cagr",
        "volatility",
        "sharpe_ratio",
        "sortino_ratio",
        "calmar_ratio",
        "max_drawdown",
    ),
    (
        "max_drawdown_at",
        "exposure",
        "total_trades",
        "winning_trades",
        "losing_trades",
        "break_even_trades",
    ),
    ("win_rate", "profit_factor", "total_fees"),
    ("final_balance", "expectancy", "avg_win", "avg_loss"),
)


def comparison_view(report: ComparisonReport, *, show_all: bool, width: int) -> RenderableType:
    """Show runs side by side: what they are, metrics, settings, curves and significance."""
    comparison = report.comparison
    few = len(comparison.runs) <= MAX_COLUMNS
    parts: list[RenderableType] = [runs_table(comparison.runs), Text()]
    parts += [_warning(text) for text in comparison.warnings]
    if comparison.warnings:
        parts.append(Text())
    parts += [_metrics_in_columns(comparison)] if few else _metrics_in_rows(comparison)
    parts.append(Text(_footnote(comparison), style="dim"))
    settings = comparison.settings if show_all else comparison.differences
    if settings:
        parts += [Text(), _settings_in_columns(settings) if few else _settings_by_value(settings)]
    chart = growth_chart(comparison.runs, report.curves, width=min(width, CHART_WIDTH))
    if chart is not None:
        parts += [Text(), chart]
    if report.significance is not None:
        parts.append(Text())
        parts += [Text(line) for line in significance_lines(report.significance)]
    return Group(*parts)


def runs_table(runs: Sequence[BacktestRun]) -> Table:
    """Say which run each letter stands for."""
    table = plain_table()
    for name in ("", "RUN", "STRATEGY", "DATA", "PERIOD"):
        table.add_column(name, no_wrap=name != "STRATEGY", overflow="fold", min_width=len("A"))
    for label, style, run in zip(LABELS, _STYLES, runs, strict=False):
        failed = Text(" failed", "red") if run.metrics is None else Text()
        table.add_row(
            Text(label, style),
            Text(short_id(run), "cyan"),
            plain_text(f"{run.strategy_name} {run.config['strategy']['version']}") + failed,
            plain_text(f"{run.symbol} {run.timeframe}"),
            f"{run.start:%Y-%m-%d} to {run.last_moment:%Y-%m-%d}",
        )
    return table


def growth_chart(
    runs: Sequence[BacktestRun],
    curves: Sequence[GrowthCurve | None],
    *,
    width: int,
    height: int = CHART_HEIGHT,
) -> Text | None:
    """Return the curves over one another, each drawn with its run's letter; None without curves.

    Equity is a multiple of the initial capital, and time runs over all periods. Where several
    curves meet there is a `*`. Nothing but ASCII is used.
    """
    drawn = [
        (label, style, curve)
        for label, style, curve in zip(LABELS, _STYLES, curves, strict=False)
        if curve is not None
    ]
    if not drawn:
        return None
    frame = _Frame.around([curve for _, _, curve in drawn], width=width, height=height)
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for label, style, curve in drawn:
        for place in frame.places(curve):
            cells[place] = (_SHARED, "dim") if place in cells else (label, style)
    text = Text(no_wrap=True)
    for row, mark in enumerate(frame.marks):
        text.append(f"{mark:>{frame.margin - 1}} ", style="dim")
        for column in range(frame.columns):
            text.append(*cells.get((row, column), (" ", "")))
        text.append("\n")
    begin, end = (f"{getattr(run, at):%Y-%m-%d}" for run, at in _ends(runs, curves))
    gap = frame.columns - len(begin)
    text.append(f"{' ' * frame.margin}{begin}{end:>{gap}}", style="dim")
    return text


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What a chart shows: from `low` at the bottom to `high`, from the time `first` to `last`."""

    low: float
    high: float
    first: int
    last: int
    width: int
    height: int

    @classmethod
    def around(cls, curves: Sequence[GrowthCurve], *, width: int, height: int) -> Self:
        """Return the frame that holds all curves."""
        return cls(
            low=min(float(curve.growth.min()) for curve in curves),
            high=max(float(curve.growth.max()) for curve in curves),
            first=min(int(curve.times[0]) for curve in curves),
            last=max(int(curve.times[-1]) for curve in curves),
            width=width,
            height=height,
        )

    @property
    def marks(self) -> tuple[str, ...]:
        """What stands to the left of each row, top first."""
        between = ("",) * (self.height - 2)
        return (f"{self.high:,.2f}x", *between, f"{self.low:,.2f}x")

    @property
    def margin(self) -> int:
        """How many characters the marks and a space take."""
        return max(map(len, self.marks)) + 1

    @property
    def columns(self) -> int:
        """How many characters are left for the curves."""
        return max(self.width - self.margin, 10)

    def places(self, curve: GrowthCurve) -> Iterator[tuple[int, int]]:
        """Give (row, column) of a curve: in each column in which it has a value, the last one."""
        span = max(self.last - self.first, 1)
        scaled = (curve.times - self.first) / span * (self.columns - 1)
        last_of = dict(zip(scaled.round().astype(int).tolist(), curve.growth.tolist(), strict=True))
        for column, value in last_of.items():
            yield self._row(value), column

    def _row(self, value: float) -> int:
        if self.high == self.low:
            return self.height - 1
        return round((self.high - value) / (self.high - self.low) * (self.height - 1))


def _ends(
    runs: Sequence[BacktestRun], curves: Sequence[GrowthCurve | None]
) -> tuple[tuple[BacktestRun, str], tuple[BacktestRun, str]]:
    """Return the runs that begin first and end last among those that are drawn."""
    drawn = [run for run, curve in zip(runs, curves, strict=True) if curve is not None]
    return (
        (min(drawn, key=lambda run: run.start), "start"),
        (max(drawn, key=lambda run: run.end), "last_moment"),
    )


def _metrics_in_columns(comparison: Comparison) -> RenderableType:
    """Lay out a metric a line; the delta is a column for two runs where it fits, else below."""
    below = _metrics_with_deltas_below(comparison)
    if len(comparison.runs) > len("AB"):
        return below
    return FirstThatFits(_metrics_of_pair(comparison), below)


def _metrics_of_pair(comparison: Comparison) -> Table:
    table = plain_table("METRIC", right=("A", "B", "B - A"))
    for metric in comparison.metrics:
        values = (_value(metric, index, comparison.runs) for index in range(len("AB")))
        delta = delta_text(metric.rule.unit, metric.deltas[1])
        table.add_row(metric_label(metric.name), *values, Text(delta))
    return table


def _metrics_with_deltas_below(comparison: Comparison) -> Table:
    count = len(comparison.runs)
    table = plain_table("METRIC", right=LABELS[:count])
    for metric in comparison.metrics:
        values = (_value(metric, index, comparison.runs) for index in range(count))
        table.add_row(metric_label(metric.name), *values)
        if any(metric.deltas[1:]):
            table.add_row("", "", *(_delta(metric, index) for index in range(1, count)))
    return table


def _metrics_in_rows(comparison: Comparison) -> list[RenderableType]:
    """Lay out a run a line and its deltas below, in a table for each group of metrics."""
    runs = comparison.runs
    by_name = {metric.name: metric for metric in comparison.metrics}
    tables: list[RenderableType] = []
    for names in _GROUPS:
        table = plain_table("")
        for name in names:
            table.add_column(metric_label(name, short=True), justify="right", no_wrap=True)
        for index, label in enumerate(LABELS[: len(runs)]):
            metrics = [by_name[name] for name in names]
            table.add_row(label, *(_value(metric, index, runs) for metric in metrics))
            if index and any(metric.deltas[index] for metric in metrics):
                table.add_row("", *(_delta(metric, index) for metric in metrics))
        tables += [table, Text()]
    return tables[:-1]


def _value(metric: MetricComparison, index: int, runs: Sequence[BacktestRun]) -> Text:
    text = metric_text(metric.rule.unit, metric.values[index])
    if runs[index].run_id in metric.best:
        return Text(f"{text}{STAR}", style="bold green")
    # Stars hang, so that digits stay below digits.
    return Text(f"{text} " if metric.best else text)


def _delta(metric: MetricComparison, index: int) -> Text:
    delta = metric.deltas[index]
    text = delta_text(metric.rule.unit, delta) if delta is not None else ""
    return Text(f"{text} " if metric.best else text, style="dim")


def _settings_in_columns(settings: Sequence[Setting]) -> Table:
    table = plain_table("SETTING")
    for label in LABELS[: len(settings[0].values)]:
        table.add_column(label, overflow="fold")
    for setting in settings:
        table.add_row(
            plain_text(setting_label(setting.path)),
            *(plain_text(setting_text(setting.path, value)) for value in setting.values),
        )
    return table


def _settings_by_value(settings: Sequence[Setting]) -> Table:
    """List each value with the letters of the runs that have it."""
    table = plain_table("SETTING")
    table.add_column("VALUE (RUNS)", overflow="fold")
    for setting in settings:
        groups: dict[str, str] = {}
        for label, value in zip(LABELS, setting.values, strict=False):
            text = setting_text(setting.path, value)
            groups[text] = groups.get(text, "") + label
        listed = ", ".join(
            text if len(groups) == 1 else f"{text} ({labels})" for text, labels in groups.items()
        )
        table.add_row(plain_text(setting_label(setting.path)), plain_text(listed))
    return table


def _footnote(comparison: Comparison) -> str:
    currencies = {run.config["instrument"]["currency"] for run in comparison.runs}
    amounts = f"Amounts in {currencies.pop()}." if len(currencies) == 1 else "Amounts as they are."
    marks = "* best." if comparison.marks_any else "No best is marked."
    return f"{marks} {amounts} Deltas are to A."


def _warning(text: str) -> Text:
    return Text("Warning: ", style="yellow") + plain_text(text)
