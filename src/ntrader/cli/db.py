"""`ntrader db`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.options import json_option


@click.group()
def db() -> None:
    """Look after the database.

    Without DATABASE_URL it is a PostgreSQL of ntrader's own, which starts when it is needed and
    stops with its last user.
    """


@db.command()
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """Show where the database is, whether it runs, and its schema."""
    from ntrader.services.databases import database_status

    found = app.call(database_status)
    if as_json:
        app.show_json(found.to_dict())
        return
    from ntrader.cli.tables import facts_table

    app.show(facts_table(*found.facts()))


@db.command()
@json_option
@pass_app
def start(app: App, as_json: bool) -> None:
    """Start the embedded server and keep it running."""
    from ntrader.services.databases import keep_running

    url = app.call(keep_running)
    if as_json:
        app.show_json({"url": url})
    else:
        app.show("The embedded server runs until `ntrader db stop`.")


@db.command()
@json_option
@pass_app
def stop(app: App, as_json: bool) -> None:
    """Stop keeping the embedded server; it ends with its last user."""
    from ntrader.services.databases import STOP_TEXTS, stop_server

    outcome = app.call(stop_server)
    if as_json:
        app.show_json({"outcome": outcome})
    else:
        app.show(STOP_TEXTS[outcome])


@db.command()
@json_option
@pass_app
def url(app: App, as_json: bool) -> None:
    """Print the database's URL, for psql and other programs.

    A password is left out. The embedded server answers while `ntrader db start` keeps it running.
    """
    from ntrader.services.databases import database_url

    found = app.call(database_url)
    if as_json:
        app.show_json({"url": found})
    else:
        click.echo(found)


@db.command()
@json_option
@pass_app
def upgrade(app: App, as_json: bool) -> None:
    """Bring the schema to this version of ntrader; every other command does it too."""
    from ntrader.services.databases import upgrade_schema

    before, after = app.call(upgrade_schema)
    if as_json:
        app.show_json({"before": before, "after": after})
    elif before == after:
        app.show(f"The schema is up to date ({after}).")
    else:
        app.show(f"Upgraded the schema from {before or 'empty'} to {after}.")
