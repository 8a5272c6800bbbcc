"""`ntrader strategies`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_strategy
from ntrader.cli.options import json_option


@click.command()
@click.argument("name", required=False, shell_complete=complete_strategy)
@click.option("--csv", "as_csv", is_flag=True, help="Print the list as CSV.")
@json_option
@pass_app
def strategies(app: App, name: str | None, as_csv: bool, as_json: bool) -> None:
    """Show what can be run, or one strategy with its parameters.

    NAME is a registered name or path/to/file.py:Class.
    """
    from ntrader.services.strategies import describe_strategies, describe_strategy

    if name is not None:
        spec = describe_strategy(name)
        if as_json:
            from ntrader.domain.documents import strategy_document

            app.show_json(strategy_document(spec))
        else:
            from ntrader.cli.strategy_tables import strategy_view

            app.show(strategy_view(spec))
        return
    specs = describe_strategies()
    if as_json:
        from ntrader.domain.documents import strategy_document

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
