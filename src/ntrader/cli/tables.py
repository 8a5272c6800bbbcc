"""Tables of runs: every table that ntrader prints of them, built from domain values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ntrader.cli.formats import (
    SHORT_ID,
    UNDEFINED,
    day,
    exact_percent,
    metric_text,
    money,
    percent,
    plain_text,
    ratio,
    short_id,
    signed,
)
from ntrader.cli.layout import Facts, FirstThatFits, plain_table
from ntrader.domain.artifacts import Artifact
from ntrader.domain.columns import PARAMETER, cells
from ntrader.domain.events import Event
from ntrader.domain.ranking import METRIC_RULES
from ntrader.domain.results import PerformanceMetrics, Trade
from ntrader.domain.runs import BacktestRun


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
        signed(values[name], metric_text(METRIC_RULES[name].unit, values[name]))
        if name == "total_return"
        else Text(metric_text(METRIC_RULES[name].unit, values[name]))
        for name in metrics
    ]


def columns_table(runs: Sequence[BacktestRun], columns: Sequence[str]) -> Table:
    """List runs with the columns of `ntrader.domain.columns` that are wanted."""
    rows = [cells(run, columns) for run in runs]
    table = plain_table()
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | Decimal | None) for row in rows)
        table.add_column(
            _HEADINGS.get(name, name.removeprefix(PARAMETER).upper().replace("_", " ")),
            justify="right" if numeric else "left",
            no_wrap=numeric or name != "note",
        )
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in zip(columns, row, strict=True)))
    return table


_RATES = ("equity_fraction", "fee", "slippage")


def _cell(name: str, value: Any) -> Text:
    if name in METRIC_RULES:
        return Text(metric_text(METRIC_RULES[name].unit, value))
    if value is None:
        return Text(UNDEFINED)
    if name in _RATES:
        return Text(exact_percent(repr(value)))
    if name == "run_id":
        return Text(value[:SHORT_ID], style="cyan")
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M}")
    return plain_text(f"{value:,f}" if isinstance(value, Decimal) else str(value))


def run_heading(run: BacktestRun) -> RenderableType:
    """Say what a run is, in a few lines."""
    config = run.config
    strategy = config["strategy"]
    said = ", ".join(f"{name}={value}" for name, value in run.parameters.items())
    parameters = f" ({said})" if said else ""
    status = Text("success", "green") if run.error is None else Text("failed", "bold red")
    return Facts(
        ("Run", Text(str(run.run_id), style="cyan")),
        ("Status", status),
        ("Strategy", plain_text(f"{strategy['name']} {strategy['version']}{parameters}")),
        *_configuration(run),
        ("Data", plain_text(_data_line(run))),
        ("Period", _period(run)),
        ("Capital", _capital(config)),
        ("Created", f"{run.created_at:%Y-%m-%d %H:%M:%S} UTC, took {run.duration_seconds:.2f} s"),
        *_origin(run),
        *_annotations(run),
    )


def _configuration(run: BacktestRun) -> list[tuple[str, Any]]:
    found = run.configuration
    return [] if found is None else [("Configuration", plain_text(f"{found.name} {found.version}"))]


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


def provenance(run: BacktestRun) -> Facts:
    """Say what identifies a run, in which environment it was made and from which code."""
    facts = [("Fingerprint", run.fingerprint)]
    if run.result_digest is not None:
        facts.append(("Result", run.result_digest))
    facts += _environment(run.metadata.get("environment", {}))
    return Facts(*((name, Text(plain_text(value).plain, style="dim")) for name, value in facts))


def _environment(environment: dict[str, Any]) -> list[tuple[str, str]]:
    engine = environment.get("engine")
    named = {"ntrader": environment.get("ntrader"), "Python": environment.get("python")}
    if isinstance(engine, dict):
        named[str(engine.get("name"))] = engine.get("version")
    versions = ", ".join(f"{name} {version}" for name, version in named.items() if version)
    facts = [("Made with", versions)] if versions else []
    git = environment.get("git")
    if isinstance(git, dict):
        changes = git.get("changes")
        state = "nothing uncommitted" if changes is None else f"uncommitted {str(changes)[:12]}"
        facts.append(("Code", f"git {str(git.get('commit'))[:12]}, {state}"))
    return facts


def _period(run: BacktestRun) -> str:
    days = run.timeframe.endswith(("d", "w"))
    pattern = "%Y-%m-%d" if days else "%Y-%m-%d %H:%M"
    return f"{run.start.strftime(pattern)} to {run.last_moment.strftime(pattern)}"


def _capital(config: dict[str, Any]) -> str:
    """Say money and costs exactly: `config` holds them as decimal text."""
    parts = [
        f"{config['instrument']['currency']} {Decimal(config['initial_capital']):,f}",
        f"{exact_percent(config['equity_fraction'])} of equity",
        f"fee {exact_percent(config['fee'])}",
    ]
    if Decimal(config["slippage"]):
        parts.append(f"slippage {exact_percent(config['slippage'])}")
    parts.append(f"fill at {config['fill'].replace('-', ' ')}")
    if config["seed"]:
        parts.append(f"seed {config['seed']}")
    return ", ".join(parts)


def _data_line(run: BacktestRun) -> str:
    instrument = run.config["instrument"]
    data = f"{instrument['symbol']}.{instrument['venue']} {run.timeframe}"
    if run.dataset is None:
        return data
    return f"{data}, dataset {run.dataset.name} ({run.dataset.content_hash[:SHORT_ID]})"


def metrics_table(metrics: PerformanceMetrics, currency: str) -> RenderableType:
    """Show every metric, in two columns side by side where there is room."""
    cells: list[tuple[str, str | Text]] = [
        ("Total return", signed(metrics.total_return, percent(metrics.total_return))),
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
    return FirstThatFits(table, Facts(*cells))


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
    table = plain_table()
    for name in ("OPENED", "CLOSED"):
        # The time of day may stand below the day.
        table.add_column(name, min_width=len("2020-01-31"))
    for name in ("QUANTITY", "ENTRY", "EXIT", "PROFIT", "RETURN"):
        table.add_column(name, justify="right", no_wrap=True)
    for trade in trades:
        table.add_row(
            day(trade.opened_at),
            day(trade.closed_at),
            f"{trade.quantity.normalize():f}",
            f"{trade.entry_price:,.{price_precision}f}",
            f"{trade.exit_price:,.{price_precision}f}",
            signed(float(trade.profit), f"{trade.profit:,.2f}"),
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
