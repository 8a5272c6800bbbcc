"""Tables: every table that ntrader prints, built from domain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntrader.domain.artifacts import Artifact
from ntrader.domain.datasets import Dataset
from ntrader.domain.results import PerformanceMetrics, Trade
from ntrader.domain.runs import BacktestRun, RunStatus
from ntrader.domain.strategies import ParameterSpec, StrategySpec

if TYPE_CHECKING:
    from ntrader.services.datasets import DatasetDetails

UNDEFINED = "-"
SHORT_ID = 8


def history_table(runs: Sequence[BacktestRun]) -> Table:
    """List runs, one a line; fits 80 columns."""
    table = _table("RUN", "CREATED (UTC)", "STRATEGY", "DATA")
    for name in ("RETURN", "SHARPE", "MAX DD", "TRADES"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            Text(short_id(run), style="cyan"),
            f"{run.created_at:%Y-%m-%d %H:%M}",
            plain_text(run.strategy_name),
            plain_text(f"{run.symbol} {run.timeframe}"),
            *_headline(run),
        )
    return table


def _headline(run: BacktestRun) -> tuple[Text, ...]:
    if run.status is RunStatus.FAILED or run.metrics is None:
        return (Text("failed", style="red"), Text(UNDEFINED), Text(UNDEFINED), Text(UNDEFINED))
    metrics = run.metrics
    return (
        _signed(metrics.total_return, percent(metrics.total_return)),
        Text(ratio(metrics.sharpe_ratio)),
        Text(percent(metrics.max_drawdown)),
        Text(f"{metrics.total_trades:,}"),
    )


def run_heading(run: BacktestRun) -> RenderableType:
    """Say what a run is, in a few lines."""
    config = run.config
    strategy, instrument = config["strategy"], config["instrument"]
    parameters = ", ".join(f"{name}={value}" for name, value in strategy["parameters"].items())
    status = Text("success", "green") if run.error is None else Text("failed", "bold red")
    costs = f"{instrument['currency']} {run.initial_capital:,.0f}, " + ", ".join(
        [
            f"{percent(float(config['equity_fraction']), digits=0)} of equity",
            f"fee {percent(float(config['fee']))}",
            f"fill at {config['fill'].replace('-', ' ')}",
        ]
    )
    return _facts(
        ("Run", Text(str(run.run_id), style="cyan")),
        ("Status", status),
        ("Strategy", plain_text(f"{strategy['name']} {strategy['version']} ({parameters})")),
        ("Data", plain_text(_data_line(run))),
        ("Period", f"{run.start:%Y-%m-%d} to {run.last_moment:%Y-%m-%d}"),
        ("Capital", costs),
        ("Created", f"{run.created_at:%Y-%m-%d %H:%M:%S} UTC, took {run.duration_seconds:.2f} s"),
    )


def _data_line(run: BacktestRun) -> str:
    instrument = run.config["instrument"]
    data = f"{instrument['symbol']}.{instrument['venue']} {run.timeframe}"
    if run.dataset is None:
        return data
    return f"{data}, dataset {run.dataset.name} ({run.dataset.content_hash[:SHORT_ID]})"


def metrics_table(metrics: PerformanceMetrics, currency: str) -> Table:
    """Show every metric, in two columns side by side."""
    cells: list[tuple[str, str | Text]] = [
        ("Total return", _signed(metrics.total_return, percent(metrics.total_return))),
        ("Final balance", money(metrics.final_balance, currency)),
        ("CAGR", percent(metrics.cagr)),
        ("Volatility", percent(metrics.volatility)),
        ("Sharpe ratio", ratio(metrics.sharpe_ratio)),
        ("Sortino ratio", ratio(metrics.sortino_ratio)),
        ("Calmar ratio", ratio(metrics.calmar_ratio)),
        ("Max drawdown", percent(metrics.max_drawdown)),
        ("Drawdown at", day(metrics.max_drawdown_at)),
        ("Exposure", percent(metrics.exposure)),
        ("Trades", f"{metrics.total_trades:,}"),
        ("Win rate", percent(metrics.win_rate)),
        ("Won / lost / even", _outcomes(metrics)),
        ("Profit factor", ratio(metrics.profit_factor)),
        ("Expectancy", money(metrics.expectancy, currency)),
        ("Average win", money(metrics.avg_win, currency)),
        ("Average loss", money(metrics.avg_loss, currency)),
        ("Fees", money(metrics.total_fees, currency)),
    ]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
    half = (len(cells) + 1) // 2
    for left, right in zip(cells[:half], cells[half:], strict=True):
        table.add_row(Text(left[0], "dim"), left[1], Text("   " + right[0], "dim"), right[1])
    return table


def _outcomes(metrics: PerformanceMetrics) -> str:
    return f"{metrics.winning_trades} / {metrics.losing_trades} / {metrics.break_even_trades}"


def undefined_notes(undefined: dict[str, str]) -> Text:
    """Say why metrics are undefined, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in undefined.items():
        by_reason.setdefault(reason, []).append(name.replace("_", " "))
    lines = (f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
    return Text("Undefined: " + "; ".join(lines), style="dim")


def trades_table(trades: Sequence[Trade]) -> Table:
    """List round trips."""
    table = _table("OPENED", "CLOSED")
    for name in ("QUANTITY", "ENTRY", "EXIT", "PROFIT", "RETURN"):
        table.add_column(name, justify="right", no_wrap=True)
    for trade in trades:
        table.add_row(
            day(trade.opened_at),
            day(trade.closed_at),
            f"{trade.quantity.normalize():f}",
            f"{trade.entry_price:,.2f}",
            f"{trade.exit_price:,.2f}",
            _signed(float(trade.profit), f"{trade.profit:,.2f}"),
            percent(trade.return_),
        )
    return table


def artifacts_table(artifacts: Iterable[Artifact]) -> Table:
    """List the files of a run."""
    table = _table("FILE", "KIND")
    table.add_column("BYTES", justify="right", no_wrap=True)
    table.add_column("SHA256", no_wrap=True)
    for artifact in artifacts:
        table.add_row(
            plain_text(artifact.filename),
            artifact.kind.value,
            f"{artifact.size_bytes:,}",
            artifact.sha256[:16],
        )
    return table


def datasets_table(datasets: Iterable[Dataset]) -> Table:
    """List datasets."""
    table = _table("DATASET", "HASH", "INSTRUMENT", "BARS", "FROM", "TO")
    table.add_column("ROWS", justify="right", no_wrap=True)
    for dataset in datasets:
        table.add_row(
            plain_text(dataset.name),
            Text(dataset.content_hash[:SHORT_ID], style="cyan"),
            plain_text(dataset.instrument.id),
            str(dataset.timeframe),
            f"{dataset.start:%Y-%m-%d}",
            f"{dataset.last_moment:%Y-%m-%d}",
            f"{dataset.rows:,}",
        )
    return table


def dataset_facts(dataset: Dataset) -> Table:
    """Show one dataset."""
    instrument = dataset.instrument
    return _facts(
        ("Dataset", Text(dataset.name, style="cyan")),
        ("Hash", dataset.content_hash),
        ("Instrument", f"{instrument.id} ({instrument.kind}, prices in {instrument.currency})"),
        (
            "Precision",
            f"{instrument.price_precision} decimals of price, {instrument.size_precision} of size",
        ),
        ("Bars", f"{dataset.rows:,} of {dataset.timeframe}"),
        (
            "Range",
            f"{dataset.start:%Y-%m-%d %H:%M} to {dataset.last_moment:%Y-%m-%d %H:%M} UTC",
        ),
        ("Source", dataset.source),
        *([("Description", dataset.description)] if dataset.description else []),
    )


def dataset_details_view(details: DatasetDetails) -> RenderableType:
    """Show one dataset with its gaps and its use."""
    gaps = details.gaps
    parts: list[RenderableType] = [
        dataset_facts(details.dataset),
        _facts(
            ("Used by", f"{details.runs:,} runs"),
            ("Files", str(details.path)),
            ("Gaps", f"{gaps.count:,}, {gaps.missing:,} bars missing" if gaps.count else "none"),
        ),
    ]
    if gaps.count:
        table = _table("GAP AFTER", "NEXT BAR")
        table.add_column("MISSING", justify="right")
        for gap in gaps.largest:
            table.add_row(day(gap.after), day(gap.before), f"{gap.missing:,}")
        parts += [Text(), table]
    return Group(*parts)


def strategies_table(specs: Iterable[StrategySpec]) -> Table:
    """List strategies."""
    table = _table("STRATEGY", "VERSION", "TYPE")
    table.add_column("DESCRIPTION")
    for spec in specs:
        table.add_row(
            Text(spec.name, style="cyan"), spec.version, spec.type, plain_text(spec.description)
        )
    return table


def strategy_view(spec: StrategySpec) -> RenderableType:
    """Show one strategy with its parameters."""
    facts = _facts(
        ("Strategy", Text(f"{spec.name} {spec.version}", style="cyan")),
        ("Type", spec.type),
        ("Also called", ", ".join(spec.aliases) or UNDEFINED),
        ("Code", plain_text(spec.path.removeprefix(f"{Path.cwd()}/"))),
    )
    table = _table("PARAMETER", "TYPE", "DEFAULT", "BOUNDS")
    table.add_column("MEANING")
    for parameter in spec.parameters:
        table.add_row(
            Text(parameter.name, style="cyan"),
            parameter.type,
            UNDEFINED if parameter.default is None else str(parameter.default),
            bounds(parameter),
            plain_text(parameter.description),
        )
    return Group(plain_text(spec.description), Text(), facts, Text(), table)


def bounds(parameter: ParameterSpec) -> str:
    """Return the bounds of a parameter as an interval."""
    if parameter.choices is not None:
        return ", ".join(map(str, parameter.choices))
    low, high = parameter.minimum, parameter.maximum
    above, below = parameter.exclusive_minimum, parameter.exclusive_maximum
    left = f"[{low:g}" if low is not None else f"({above:g}" if above is not None else None
    right = f"{high:g}]" if high is not None else f"{below:g})" if below is not None else None
    if left is None and right is None:
        return UNDEFINED
    return f"{left or '(-inf'}, {right or 'inf)'}"


def facts_table(facts: Sequence[tuple[str, Any]]) -> Table:
    """Show named facts, one a line."""
    return _facts(*facts)


def short_id(run: BacktestRun) -> str:
    """Return the prefix that names a run in everyday use."""
    return str(run.run_id)[:SHORT_ID]


def percent(value: float | None, *, digits: int = 2) -> str:
    """Return a fraction as percent."""
    return UNDEFINED if value is None else f"{value * 100:,.{digits}f}%"


def ratio(value: float | None) -> str:
    """Return a ratio."""
    return UNDEFINED if value is None else f"{value:,.2f}"


def money(value: Decimal | None, currency: str) -> str:
    """Return an amount of money."""
    return UNDEFINED if value is None else f"{value:,.2f} {currency}"


def day(value: datetime | None) -> str:
    """Return a day, with the time of day where there is one."""
    if value is None:
        return UNDEFINED
    return f"{value:%Y-%m-%d}" if value.time() == value.time().min else f"{value:%Y-%m-%d %H:%M}"


def plain_text(value: str) -> Text:
    """Return text as it is: no markup is read, and nothing in it can drive the terminal."""
    return Text("".join(char if char.isprintable() else "?" for char in value))


def _signed(value: float | None, text: str) -> Text:
    style = "" if not value else "green" if value > 0 else "red"
    return Text(text, style=style)


def _table(*left: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    return table


def _facts(*facts: tuple[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value if isinstance(value, Text) else plain_text(str(value)))
    return table
