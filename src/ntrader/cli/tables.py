"""Tables: every table that ntrader prints, built from domain values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntrader.domain.artifacts import Artifact
from ntrader.domain.comparison import METRIC_RULES, Unit
from ntrader.domain.datasets import Dataset
from ntrader.domain.events import Event
from ntrader.domain.results import PerformanceMetrics, Trade
from ntrader.domain.runs import BacktestRun
from ntrader.domain.strategies import ParameterSpec, StrategySpec

if TYPE_CHECKING:
    from ntrader.services.datasets import DatasetDetails

UNDEFINED = "-"
SHORT_ID = 8


def history_table(
    runs: Sequence[BacktestRun],
    *,
    stale: Collection[UUID] = (),
    width: int = 80,
    sorted_by: str = "",
) -> Table:
    """List runs, one a line, in `width` columns; the metric that orders them is always shown.

    A narrow terminal gets fewer columns: numbers are never cut. A stale run is marked with `*`.
    """
    metrics = [name for name in _HEADLINE if width >= _ROOM_FOR[name]]
    if sorted_by in METRIC_RULES and sorted_by not in metrics:
        metrics[-1:] = [sorted_by] if len(metrics) > 3 else [*metrics[-1:], sorted_by]
    created = "%Y-%m-%d %H:%M" if width >= 78 else "%Y-%m-%d"
    table = plain_table("RUN", *(["CREATED (UTC)"] if width >= 50 else []))
    for name in ("STRATEGY", "DATA") if width >= 50 else ("STRATEGY",):
        table.add_column(name, overflow="fold", min_width=6)
    for name in metrics:
        table.add_column(
            _HEADINGS.get(name, name.upper().replace("_", " ")), justify="right", no_wrap=True
        )
    for run in runs:
        mark = "*" if run.run_id in stale else ""
        cells: list[Text | str] = [Text(short_id(run) + mark, style="cyan")]
        if width >= 50:
            cells.append(f"{run.created_at.strftime(created)}")
        cells.append(plain_text(run.strategy_name))
        if width >= 50:
            cells.append(plain_text(f"{run.symbol} {run.timeframe}"))
        table.add_row(*cells, *_metric_cells(run, metrics))
    return table


_HEADLINE = ("total_return", "sharpe_ratio", "max_drawdown", "total_trades")
_ROOM_FOR = {"total_return": 0, "sharpe_ratio": 36, "max_drawdown": 72, "total_trades": 64}
_HEADINGS = {
    "total_return": "RETURN",
    "sharpe_ratio": "SHARPE",
    "max_drawdown": "MAX DD",
    "total_trades": "TRADES",
}


def _metric_cells(run: BacktestRun, metrics: Sequence[str]) -> list[Text]:
    if run.metrics is None:
        failed = Text("failed", style="red")
        return [failed if name == metrics[0] else Text(UNDEFINED) for name in metrics]
    values = run.metrics.values()
    return [
        _signed(values[name], metric_text(METRIC_RULES[name].unit, values[name]))
        if name == "total_return"
        else Text(metric_text(METRIC_RULES[name].unit, values[name]))
        for name in metrics
    ]


def run_heading(run: BacktestRun) -> RenderableType:
    """Say what a run is, in a few lines."""
    config = run.config
    strategy = config["strategy"]
    parameters = ", ".join(f"{name}={value}" for name, value in strategy["parameters"].items())
    status = Text("success", "green") if run.error is None else Text("failed", "bold red")
    return facts_table(
        ("Run", Text(str(run.run_id), style="cyan")),
        ("Status", status),
        ("Strategy", plain_text(f"{strategy['name']} {strategy['version']} ({parameters})")),
        ("Data", plain_text(_data_line(run))),
        ("Period", _period(run)),
        ("Capital", _capital(config)),
        ("Created", f"{run.created_at:%Y-%m-%d %H:%M:%S} UTC, took {run.duration_seconds:.2f} s"),
        *_origin(run),
        *_annotations(run),
    )


def _origin(run: BacktestRun) -> list[tuple[str, Any]]:
    if run.imported is None:
        return []
    host = run.imported.get("from_host")
    place = f" from {host}" if host else ""
    return [("Imported", plain_text(f"{str(run.imported.get('at'))[:10]}{place}"))]


def _annotations(run: BacktestRun) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = []
    if run.tags:
        facts.append(("Tags", " ".join(run.tags)))
    if run.note is not None:
        lines = run.note.expandtabs(4).splitlines()
        facts.append(("Note", Text("\n").join(map(plain_text, lines))))
    return facts


def environment_notes(environment: dict[str, Any]) -> list[Text]:
    """Say in which environment and from which code a run was made, in a line or two."""
    engine = environment.get("engine")
    named = {"ntrader": environment.get("ntrader"), "Python": environment.get("python")}
    if isinstance(engine, dict):
        named[str(engine.get("name"))] = engine.get("version")
    versions = ", ".join(f"{name} {version}" for name, version in named.items() if version)
    notes = [f"Made with    {versions}"] if versions else []
    git = environment.get("git")
    if isinstance(git, dict):
        changes = git.get("changes")
        state = "nothing uncommitted" if changes is None else f"uncommitted {str(changes)[:12]}"
        notes.append(f"Code         git {str(git.get('commit'))[:12]}, {state}")
    return [Text(plain_text(note).plain, style="dim") for note in notes]


def _period(run: BacktestRun) -> str:
    days = run.timeframe.endswith(("d", "w"))
    pattern = "%Y-%m-%d" if days else "%Y-%m-%d %H:%M"
    return f"{run.start.strftime(pattern)} to {run.last_moment.strftime(pattern)}"


def _capital(config: dict[str, Any]) -> str:
    """Say money and costs exactly: `config` holds them as decimal text."""
    parts = [
        f"{config['instrument']['currency']} {Decimal(config['initial_capital']):,f}",
        f"{_exact_percent(config['equity_fraction'])} of equity",
        f"fee {_exact_percent(config['fee'])}",
    ]
    if Decimal(config["slippage"]):
        parts.append(f"slippage {_exact_percent(config['slippage'])}")
    parts.append(f"fill at {config['fill'].replace('-', ' ')}")
    if config["seed"]:
        parts.append(f"seed {config['seed']}")
    return ", ".join(parts)


def _exact_percent(fraction: str) -> str:
    return f"{(Decimal(fraction) * 100).normalize():f}%"


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


def trades_table(trades: Sequence[Trade], *, price_precision: int) -> Table:
    """List round trips; prices with the instrument's decimals."""
    table = plain_table("OPENED", "CLOSED", right=("QUANTITY", "ENTRY", "EXIT", "PROFIT", "RETURN"))
    for trade in trades:
        table.add_row(
            day(trade.opened_at),
            day(trade.closed_at),
            f"{trade.quantity.normalize():f}",
            f"{trade.entry_price:,.{price_precision}f}",
            f"{trade.exit_price:,.{price_precision}f}",
            _signed(float(trade.profit), f"{trade.profit:,.2f}"),
            percent(trade.return_),
        )
    return table


def events_table(events: Iterable[Event]) -> Table:
    """List what happened in a run's life."""
    table = plain_table("TIME (UTC)", "EVENT")
    table.add_column("WHAT", overflow="fold")
    for event in events:
        what = ", ".join(f"{name} {value}" for name, value in event.payload.items())
        table.add_row(f"{event.timestamp:%Y-%m-%d %H:%M:%S}", event.type.value, plain_text(what))
    return table


def artifacts_table(artifacts: Iterable[Artifact]) -> Table:
    """List the files of a run."""
    table = plain_table("FILE", "KIND", right=("BYTES",))
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
    table = plain_table("DATASET", "HASH", "INSTRUMENT", "BARS", "FROM", "TO", right=("ROWS",))
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


def dataset_facts(dataset: Dataset, *more: tuple[str, Any]) -> Table:
    """Show one dataset, and below it what else is known."""
    instrument = dataset.instrument
    return facts_table(
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
        *more,
    )


def dataset_details_view(details: DatasetDetails) -> RenderableType:
    """Show one dataset with its gaps and its use."""
    gaps = details.gaps
    facts = dataset_facts(
        details.dataset,
        ("Used by", "1 run" if details.runs == 1 else f"{details.runs:,} runs"),
        ("Files", str(details.path)),
        ("Gaps", f"{gaps.count:,}, {gaps.missing:,} bars missing" if gaps.count else "none"),
    )
    if not gaps.count:
        return facts
    table = plain_table("GAP AFTER", "NEXT BAR")
    table.add_column("MISSING", justify="right")
    for gap in gaps.largest:
        table.add_row(day(gap.after), day(gap.before), f"{gap.missing:,}")
    return Group(facts, Text(), table)


def strategies_table(specs: Iterable[StrategySpec]) -> Table:
    """List strategies."""
    table = plain_table("STRATEGY", "VERSION", "TYPE")
    table.add_column("DESCRIPTION")
    for spec in specs:
        table.add_row(
            Text(spec.name, style="cyan"), spec.version, spec.type, plain_text(spec.description)
        )
    return table


def strategy_view(spec: StrategySpec) -> RenderableType:
    """Show one strategy with its parameters."""
    facts = facts_table(
        ("Strategy", Text(f"{spec.name} {spec.version}", style="cyan")),
        ("Type", spec.type),
        ("Also called", ", ".join(spec.aliases) or UNDEFINED),
        ("Code", plain_text(spec.path.removeprefix(f"{Path.cwd()}/"))),
    )
    table = plain_table("PARAMETER", "TYPE", "DEFAULT", "BOUNDS")
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


def short_id(run: BacktestRun) -> str:
    """Return the prefix that names a run in everyday use."""
    return str(run.run_id)[:SHORT_ID]


def percent(value: float | None, *, digits: int = 2) -> str:
    """Return a fraction as percent; what rounds to zero has no sign."""
    return UNDEFINED if value is None else f"{round(value * 100, digits) + 0.0:,.{digits}f}%"


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


def metric_text(unit: Unit, value: Any) -> str:
    """Return a metric's value as it is shown."""
    if value is None:
        return UNDEFINED
    match unit:
        case Unit.FRACTION:
            return percent(value)
        case Unit.RATIO:
            return ratio(value)
        case Unit.MONEY:
            return f"{value:,.2f}"
        case Unit.COUNT:
            return f"{value:,}"
        case Unit.INSTANT:
            return day(value)


def plain_text(value: str) -> Text:
    """Return text as it is: no markup is read, and nothing in it can drive the terminal."""
    return Text("".join(char if char.isprintable() else "?" for char in value))


def _signed(value: float | None, text: str) -> Text:
    style = "" if not value else "green" if value > 0 else "red"
    return Text(text, style=style)


def plain_table(*left: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table without a frame; columns named in `right` are aligned to the right."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
        show_header=bool(left or right),
    )
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def facts_table(*facts: tuple[str, Any]) -> Table:
    """Show named facts, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value if isinstance(value, Text) else plain_text(str(value)))
    return table
