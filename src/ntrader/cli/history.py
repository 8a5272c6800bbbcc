"""`ntrader history`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_order, complete_strategy
from ntrader.cli.options import (
    Instant,
    Word,
    csv_option,
    json_option,
    parameter_option,
    parse_parameters,
    refuse_both,
)
from ntrader.domain.strategies import normal_name
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import UsageError

if TYPE_CHECKING:
    from uuid import UUID

    from ntrader.domain.expressions import Expression
    from ntrader.domain.queries import Page, RunFilter, RunList, RunOrder
    from ntrader.domain.runs import BacktestRun


@click.command()
@click.option(
    "--strategy",
    metavar="NAME",
    shell_complete=complete_strategy,
    help="Runs of this strategy, by name or path/to/file.py:Class.",
)
@click.option(
    "--strategy-id",
    type=click.UUID,
    metavar="ID",
    help="Runs of this stored strategy, or of a named configuration of one.",
)
@click.option(
    "--type",
    "strategy_type",
    type=Word("type", normal_name),
    metavar="TYPE",
    help="Runs of this type of strategy.",
)
@click.option("--symbol", help="Runs on this symbol.")
@click.option(
    "--timeframe",
    type=Word("timeframe", lambda text: str(Timeframe.parse(text))),
    metavar="BAR",
    help="Runs on these bars.",
)
@click.option("--status", type=click.Choice(["success", "failed"]), help="Runs that ended so.")
@click.option("--since", type=Instant(), help="Runs made at or after this instant (UTC).")
@click.option("--until", type=Instant(), help="Runs made before this instant (UTC).")
@click.option("--tag", help="Runs that have this tag.")
@parameter_option("Runs with this parameter; may be repeated.")
@click.option(
    "--where",
    "expression",
    metavar="EXPRESSION",
    help="Runs for which this holds, such as 'sharpe_ratio > 1 and parameters.fast_period < 20'.",
)
@click.option("--summary", is_flag=True, help="What the runs of each strategy amount to.")
@click.option(
    "--sort",
    default="created_at",
    show_default=True,
    metavar="METRIC[:asc]",
    shell_complete=complete_order,
    help="Order by a metric, highest first.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000),
    default=20,
    show_default=True,
    help="How many runs at most.",
)
@click.option("--after", metavar="CURSOR", help="The page after the one that gave this cursor.")
@click.option(
    "--columns",
    metavar="NAMES",
    help="What to show of each run, such as run_id,parameters.fast_period,sharpe_ratio.",
)
@csv_option
@json_option
@pass_app
def history(
    app: App,
    strategy: str | None,
    strategy_id: UUID | None,
    strategy_type: str | None,
    symbol: str | None,
    timeframe: str | None,
    status: str | None,
    since: datetime | None,
    until: datetime | None,
    tag: str | None,
    parameters: tuple[str, ...],
    expression: str | None,
    summary: bool,
    sort: str,
    limit: int,
    after: str | None,
    columns: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List saved runs, newest first.

    \b
    ntrader history --strategy sma --sort sharpe_ratio --limit 5
    ntrader history --symbol IBM --since 2026-01-01 -p fast_period=10
    ntrader history --where "max_drawdown > -20% and (tag = keep or sharpe_ratio >= 1.5)"
    ntrader history --summary
    """
    from ntrader.domain.annotations import checked_tag
    from ntrader.domain.columns import parse_columns
    from ntrader.domain.queries import Cursor, RunFilter, RunOrder
    from ntrader.domain.runs import RunStatus
    from ntrader.services.history import list_runs, parameter_value, strategy_filter

    refuse_both(as_csv=as_csv, as_json=as_json)
    chosen = None if columns is None else parse_columns(columns)
    if chosen is not None and as_json:
        raise UsageError("--columns is for tables and CSV.", hint="--json always gives all.")
    if since is not None and until is not None and since >= until:
        raise UsageError("--since lies after --until.", hint="Swap them.")
    where = replace(
        RunFilter() if strategy is None else strategy_filter(strategy),
        strategy_id=strategy_id,
        strategy_type=strategy_type,
        symbol=symbol,
        timeframe=timeframe,
        status=None if status is None else RunStatus(status),
        since=since,
        until=until,
        tag=None if tag is None else checked_tag(tag),
        parameters={
            name: parameter_value(value) for name, value in parse_parameters(parameters).items()
        },
        expression=None if expression is None else _parsed(expression),
    )
    if summary:
        if columns is not None or after is not None:
            raise UsageError("--summary is a table of its own, without --columns and --after.")
        _show_summary(app, where, as_csv=as_csv, as_json=as_json)
        return
    order = RunOrder.parse(sort)
    cursor = None if after is None else Cursor.decode(after)
    found = app.call(
        lambda workspace: list_runs(workspace, where, order, limit=limit, after=cursor)
    )
    if as_json:
        from ntrader.domain.run_documents import history_document

        app.show_json(history_document(found))
    elif as_csv:
        _show_csv(app, found.page, chosen)
    else:
        _show(app, found, order, where, chosen)


def _parsed(expression: str) -> Expression:
    from ntrader.domain.expression_parser import parse_expression

    return parse_expression(expression)


def _show_summary(app: App, where: RunFilter, *, as_csv: bool, as_json: bool) -> None:
    from ntrader.domain.summaries import SUMMARY_COLUMNS, summary_document, summary_row
    from ntrader.services.history import summarize_runs

    summaries = app.call(lambda workspace: summarize_runs(workspace, where))
    if as_json:
        app.show_json(summary_document(summaries))
    elif as_csv:
        app.show_csv(SUMMARY_COLUMNS, [summary_row(summary) for summary in summaries])
    elif not summaries:
        app.note(_nothing(where))
    else:
        from ntrader.cli.summaries import summary_table

        app.show(summary_table(summaries, width=app.console.width))


def _show(
    app: App,
    found: RunList,
    order: RunOrder,
    where: RunFilter,
    columns: Sequence[str] | None,
) -> None:
    page = found.page
    if not page.items:
        app.note(_nothing(where))
        return
    from ntrader.cli.tables import columns_table, history_table

    if columns is not None:
        app.show(columns_table(page.items, columns))
    else:
        width = app.console.width
        app.show(history_table(page.items, stale=found.stale, width=width, sorted_by=order.by))
        if found.stale:
            app.note(
                "* stale: the data, the code or the engine has changed since; see `ntrader show`."
            )
    if page.next is not None:
        app.note(f"There are more: add --after {page.next.encode()}")


def _nothing(where: RunFilter) -> str:
    from ntrader.domain.queries import RunFilter

    if where == RunFilter():
        return "There are no runs yet. `ntrader run --strategy sma` makes one."
    return "No run matches. `ntrader history` without options lists all."


def _show_csv(app: App, page: Page[BacktestRun], columns: Sequence[str] | None) -> None:
    from ntrader.domain.run_documents import CSV_COLUMNS, csv_row

    names = columns or CSV_COLUMNS
    app.show_csv(names, [csv_row(run, names) for run in page.items])
    if page.next is not None:
        app.note(f"There are more: add --after {page.next.encode()}")
