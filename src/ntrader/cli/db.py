"""`ntrader db`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.db_check import check
from ntrader.cli.db_dump import dump, restore
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
def status(app: App, as_json: bool) -> int:
    """Show where the database is, whether it runs, its schema, and what waits in the journal.

    Exits 4 where a server of your own cannot be reached.
    """
    from ntrader.services.databases import database_status

    found = app.call(database_status)
    if as_json:
        from ntrader.domain.documents import error_document

        problem = {} if found.problem is None else error_document(found.problem)
        app.show_json({**found.to_dict(), **problem})
    else:
        from ntrader.cli.layout import Facts

        app.show(Facts(*found.facts()))
        if found.problem is not None:
            app.complain(found.problem.message, found.problem.hint)
    return 0 if found.problem is None else found.problem.exit_code


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
        app.say(found)


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


for command in (check, dump, restore):
    db.add_command(command)
