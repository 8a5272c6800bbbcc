"""`ntrader strategies`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_strategy
from ntrader.cli.options import csv_option, json_option, refuse_both


@click.command()
@click.argument("name", required=False, shell_complete=complete_strategy)
@csv_option
@json_option
@pass_app
def strategies(app: App, name: str | None, as_csv: bool, as_json: bool) -> None:
    """Show what can be run, or one strategy with its parameters.

    NAME is a registered name or path/to/file.py:Class.
    """
    refuse_both(as_csv=as_csv, as_json=as_json)
    if name is None:
        _show_all(app, as_csv=as_csv, as_json=as_json)
    else:
        _show_one(app, name, as_csv=as_csv, as_json=as_json)


def _show_one(app: App, name: str, *, as_csv: bool, as_json: bool) -> None:
    from ntrader.services.strategies import describe_strategy

    spec = describe_strategy(name)
    if as_json:
        from ntrader.domain.strategy_documents import strategy_document

        app.show_json(strategy_document(spec))
    elif as_csv:
        from ntrader.domain.strategies import PARAMETER_KEYS

        described = [parameter.to_dict() for parameter in spec.parameters]
        app.show_csv(
            PARAMETER_KEYS, [[each.get(key) for key in PARAMETER_KEYS] for each in described]
        )
    else:
        from ntrader.cli.strategy_tables import strategy_view

        app.show(strategy_view(spec))


def _show_all(app: App, *, as_csv: bool, as_json: bool) -> None:
    from ntrader.services.strategies import describe_strategies

    specs = describe_strategies()
    if as_json:
        from ntrader.domain.strategy_documents import strategy_document

        app.show_json({"strategies": [strategy_document(spec) for spec in specs]})
    elif as_csv:
        app.show_csv(
            ("name", "version", "type", "description"),
            [(spec.name, spec.version, spec.type, spec.description) for spec in specs],
        )
    else:
        from ntrader.cli.strategy_tables import strategies_table

        app.show(strategies_table(specs))
        app.note("`ntrader strategies NAME` shows the parameters of one.")
