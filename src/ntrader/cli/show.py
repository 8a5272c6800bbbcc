"""`ntrader show`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_run
from ntrader.cli.options import json_option, refuse_both
from ntrader.errors import UsageError


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.option("--config", is_flag=True, help="Print the run as YAML that `ntrader run` takes.")
@click.option("--trades", is_flag=True, help="List the closed trades.")
@click.option("--events", is_flag=True, help="List what happened, in order.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the trades or the events as CSV.")
@json_option
@pass_app
def show(
    app: App,
    run: str,
    config: bool,
    trades: bool,
    events: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show everything about one run.

    RUN is an id, a prefix of one (four characters or more), @ for the newest run or @~N for the
    Nth before it.
    """
    if config + trades + events > 1:
        raise UsageError("Choose one of --config, --trades and --events.")
    refuse_both(as_csv=as_csv, as_json=as_json)
    if as_csv and not (trades or events):
        raise UsageError("--csv is for lists.", hint="Add --trades or --events.")
    if config:
        _show_config(app, run, as_json=as_json)
    elif trades:
        _show_trades(app, run, as_csv=as_csv, as_json=as_json)
    elif events:
        _show_events(app, run, as_csv=as_csv, as_json=as_json)
    else:
        _show_run(app, run, as_json=as_json)


def _show_run(app: App, reference: str, *, as_json: bool) -> None:
    from ntrader.services.history import read_run

    details = app.call(lambda workspace: read_run(workspace, reference))
    if details.problem is not None:
        app.note(f"Warning: {details.problem}")
    if as_json:
        from ntrader.domain.run_documents import details_document

        app.show_json(details_document(details))
        return
    from ntrader.cli.views import details_view

    app.show(details_view(details, width=app.console.width, ascii_only=app.ascii_only))


def _show_config(app: App, reference: str, *, as_json: bool) -> None:
    from ntrader.services.history import find_run
    from ntrader.services.requests import snapshot_of
    from ntrader.services.run_yaml import request_yaml

    run = app.call(lambda workspace: find_run(workspace, reference))
    if as_json:
        app.show_json(run.snapshot)
    else:
        app.say(request_yaml(snapshot_of(run)), nl=False)


def _show_trades(app: App, reference: str, *, as_csv: bool, as_json: bool) -> None:
    from ntrader.services.history import trades_of

    run, trades = app.call(lambda workspace: trades_of(workspace, reference))
    if as_json or as_csv:
        from ntrader.domain.run_documents import TRADE_KEYS, trade_document

        documents = [trade_document(trade) for trade in trades]
        if as_json:
            app.show_json({"trades": documents})
        else:
            app.show_csv(TRADE_KEYS, [list(document.values()) for document in documents])
        return
    from ntrader.cli.tables import trades_table

    precision = run.config["instrument"]["price_precision"]
    app.show(trades_table(trades, price_precision=precision))


def _show_events(app: App, reference: str, *, as_csv: bool, as_json: bool) -> None:
    from ntrader.services.history import events_of_run

    events = app.call(lambda workspace: events_of_run(workspace, reference))
    if as_json:
        from ntrader.domain.run_documents import event_document

        app.show_json({"events": [event_document(event) for event in events]})
        return
    if as_csv:
        from ntrader.domain.identity import canonical_json, instant_text

        app.show_csv(
            ("type", "timestamp", "payload"),
            [
                (event.type.value, instant_text(event.timestamp), canonical_json(event.payload))
                for event in events
            ],
        )
        return
    from ntrader.cli.tables import events_table

    app.show(events_table(events))
