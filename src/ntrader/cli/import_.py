"""`ntrader import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.options import json_option
from ntrader.cli.wording import counted

if TYPE_CHECKING:
    from ntrader.domain.bundles import Imported


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.zip")
@json_option
@pass_app
def import_(app: App, file: Path, as_json: bool) -> None:
    """Take the runs of a file that `ntrader export` wrote.

    Every hash in it is recomputed first, and nothing is stored where one does not fit. Runs that
    are here already stay as they are. No code is executed.
    """
    from ntrader.services.exchange import import_runs

    done = app.call(lambda workspace: import_runs(workspace, file))
    if as_json:
        from ntrader.domain.bundle_documents import import_document

        app.show_json(import_document(done))
    else:
        _show(app, done)


def _show(app: App, done: Imported) -> None:
    if done.changed:
        app.say(f"Verified {done.file}: {_story(done)}.")
    else:
        app.say(f"Verified {done.file}: everything in it is here already, nothing was changed.")
    if missing := len(tuple(done.without_data)):
        are = "1 dataset are" if missing == 1 else f"{missing:,} datasets are"
        app.note(f"The data of {are} not here: the runs can be read, but not reproduced.")


def _story(done: Imported) -> str:
    counts = [
        (len(done.new), "run", "imported"),
        (len(done.known), "run", "here already"),
        (len(done.new_data), "dataset", "stored with its data"),
    ]
    return ", ".join(f"{counted(count, noun)} {what}" for count, noun, what in counts if count)
