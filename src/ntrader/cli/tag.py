"""`ntrader tag`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_run
from ntrader.cli.options import json_option


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@click.option("--remove", is_flag=True, help="Take the tags off.")
@json_option
@pass_app
def tag(app: App, run: str, tags: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Put tags on a run, or take them off.

    A tag is one word; `ntrader history --tag TAG` finds the runs that have it.

    \b
    ntrader tag @ baseline 2026-q1
    """
    from ntrader.services.annotations import tag_run, untag_run

    change = untag_run if remove else tag_run
    tagged = app.call(lambda workspace: change(workspace, run, tags))
    if as_json:
        from ntrader.domain.run_documents import annotations_document

        app.show_json(annotations_document(tagged))
    else:
        from ntrader.cli.formats import short_id

        said = f"has the tags {' '.join(tagged.tags)}" if tagged.tags else "has no tags"
        app.say(f"Run {short_id(tagged)} {said}.")
