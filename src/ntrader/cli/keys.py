"""`ntrader keys`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.options import csv_option, json_option, refuse_both


@click.group()
def keys() -> None:
    """Make and revoke keys to the service.

    As soon as there is a key, the service asks for one in every request.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(["read", "write", "admin"]),
    default="read",
    show_default=True,
    help="What it may do: look, add, or delete and set webhooks; each has those before it.",
)
@click.option(
    "--days", type=click.IntRange(1, 3_650), help="For how long it is good.  [default: for ever]"
)
@json_option
@pass_app
def create(app: App, name: str, scope: str, days: int | None, as_json: bool) -> None:
    """Make a key called NAME, and print it: nobody can show it again.

    \b
    ntrader keys create platform --scope write
    ntrader keys create dashboard --days 90
    """
    from datetime import UTC, datetime, timedelta

    from ntrader.domain.access import AccessScope, key_document
    from ntrader.services.access import create_key

    now = datetime.now(UTC)
    expires_at = None if days is None else now + timedelta(days=days)
    made = app.call(
        lambda workspace: create_key(workspace, name, AccessScope(scope), expires_at=expires_at)
    )
    if as_json:
        app.show_json({**key_document(made.key, now), "key": made.token})
        return
    app.say(made.token)
    app.note("Keep it: it is shown this once. Send it as `Authorization: Bearer KEY`.")


@keys.command("list")
@csv_option
@json_option
@pass_app
def list_(app: App, as_csv: bool, as_json: bool) -> None:
    """List the keys, newest first, with what has become of each."""
    from datetime import UTC, datetime

    from ntrader.domain.access import KEY_FIELDS, key_document
    from ntrader.services.access import list_keys

    refuse_both(as_csv=as_csv, as_json=as_json)
    found = app.call(list_keys)
    now = datetime.now(UTC)
    documents = [key_document(key, now) for key in found]
    if as_json:
        app.show_json({"keys": documents})
    elif as_csv:
        app.show_csv(KEY_FIELDS, [list(document.values()) for document in documents])
    elif found:
        from ntrader.cli.key_tables import keys_table

        app.show(keys_table(found, now))
    else:
        app.note("There are no keys. `ntrader keys create` makes one.")


@keys.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@json_option
@pass_app
def revoke(app: App, keys: tuple[str, ...], as_json: bool) -> None:
    """Revoke keys, each by its name, its prefix or its id.

    A running service refuses them within two seconds.
    """
    from datetime import UTC, datetime

    from ntrader.domain.access import key_document
    from ntrader.services.access import revoke_keys

    revoked = app.call(lambda workspace: revoke_keys(workspace, keys))
    if as_json:
        now = datetime.now(UTC)
        app.show_json({"keys": [key_document(key, now) for key in revoked]})
        return
    for key in revoked:
        app.say(f"Revoked {key.name} ({key.prefix}).")
