"""What a person sees of a comparison, in a terminal.

Up to four runs stand in columns, more in rows: either way 80 columns do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from ntrader.cli.layout import plain_table
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
    low = min(float(curve.growth.min()) for _, _, curve in drawn)
    high = max(float(curve.growth.max()) for _, _, curve in drawn)
    scale = (f"{high:,.2f}x", f"{low:,.2f}x")
    margin = max(map(len, scale)) + 1
    columns = max(width - margin, 10)
    first = min(int(curve.times[0]) for _, _, curve in drawn)
    last = max(int(curve.times[-1]) for _, _, curve in drawn)
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for label, style, curve in drawn:
        for column, value in _last_of_columns(curve, first, last, columns):
            row = round((high - value) / (high - low) * (height - 1)) if high > low else height - 1
            taken = (row, column) in cells
            cells[row, column] = (_SHARED, "dim") if taken else (label, style)
    text = Text(no_wrap=True)
    for row in range(height):
        mark = scale[0] if row == 0 else scale[1] if row == height - 1 else ""
        text.append(f"{mark:>{margin - 1}} ", style="dim")
        for column in range(columns):
            text.append(*cells.get((row, column), (" ", "")))
        text.append("\n")
    begin, end = (f"{getattr(run, at):%Y-%m-%d}" for run, at in _ends(runs, curves))
    text.append(f"{' ' * margin}{begin}{end:>{columns - len(begin)}}", style="dim")
    return text


def _ends(
    runs: Sequence[BacktestRun], curves: Sequence[GrowthCurve | None]
) -> tuple[tuple[BacktestRun, str], tuple[BacktestRun, str]]:
    """Return the runs that begin first and end last among those that are drawn."""
    drawn = [run for run, curve in zip(runs, curves, strict=True) if curve is not None]
    return (
        (min(drawn, key=lambda run: run.start), "start"),
        (max(drawn, key=lambda run: run.end), "last_moment"),
    )


def _last_of_columns(
    curve: GrowthCurve, first: int, last: int, columns: int
) -> Iterator[tuple[int, float]]:
    """Give (column, the last value in it), for each column in which the curve has a value."""
    span = max(last - first, 1)
    places = ((curve.times - first) / span * (columns - 1)).round().astype(int).tolist()
    yield from dict(zip(places, curve.growth.tolist(), strict=True)).items()


def _metrics_in_columns(comparison: Comparison) -> Table:
    """Lay out a metric a line; the delta is a column for two runs, else a second line."""
    runs = comparison.runs
    pair = len(runs) == len("AB")
    table = plain_table("METRIC")
    for label in LABELS[: len(runs)]:
        table.add_column(label, justify="right", no_wrap=True)
    if pair:
        table.add_column("B - A", justify="right", no_wrap=True)
    for metric in comparison.metrics:
        cells = [_value(metric, index, runs) for index in range(len(runs))]
        if pair:
            cells.append(Text(delta_text(metric.rule.unit, metric.deltas[1])))
        table.add_row(metric_label(metric.name), *cells)
        if not pair and any(metric.deltas[1:]):
            table.add_row("", "", *(_delta(metric, index) for index in range(1, len(runs))))
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
    deltas = "" if len(comparison.runs) == len("AB") else " Below a value: its delta to A."
    return f"{'* best. ' if comparison.marks_any else 'No best is marked. '}{amounts}{deltas}"


def _warning(text: str) -> Text:
    return Text("Warning: ", style="yellow") + plain_text(text)
