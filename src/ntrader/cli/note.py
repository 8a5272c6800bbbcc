"""`ntrader note`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_run
from ntrader.cli.options import json_option
from ntrader.errors import UsageError


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.argument("text", required=False)
@click.option("--clear", is_flag=True, help="Remove the note.")
@json_option
@pass_app
def note(app: App, run: str, text: str | None, clear: bool, as_json: bool) -> None:
    """Write a run's note, in place of the one that it has; without TEXT, print it.

    \b
    ntrader note @ "Fees of the new broker."
    """
    from ntrader.services.annotations import note_run
    from ntrader.services.history import find_run

    if clear and text is not None:
        raise UsageError("A note is written or cleared, not both.", hint="Leave one out.")
    if text is None and not clear:
        noted = app.call(lambda workspace: find_run(workspace, run))
    else:
        noted = app.call(lambda workspace: note_run(workspace, run, text))
    if as_json:
        from ntrader.domain.run_documents import annotations_document

        app.show_json(annotations_document(noted))
    elif noted.note is None:
        from ntrader.cli.formats import short_id

        app.note(f"Run {short_id(noted)} has no note.")
    else:
        app.say(noted.note.expandtabs(4))
