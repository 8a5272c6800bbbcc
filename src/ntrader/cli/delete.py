"""`ntrader delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_run
from ntrader.cli.options import json_option
from ntrader.cli.wording import counted

if TYPE_CHECKING:
    from ntrader.domain.deletion import Deletion


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@json_option
@pass_app
def delete(app: App, runs: tuple[str, ...], yes: bool, dry_run: bool, as_json: bool) -> int:
    """Delete runs with all that belongs to them: metrics, events, tags, notes and files.

    Reproductions of a deleted run stay. Datasets stay too: see `ntrader data delete`.
    """
    from ntrader.services.deletion import delete_runs, plan_deletion

    plan = app.call(lambda workspace: plan_deletion(workspace, runs))
    if not dry_run:
        if not (yes or as_json):
            _show(app, plan)
        app.confirm(f"Delete {counted(len(plan.runs), 'run')}?", yes=yes)
        plan = app.call(lambda workspace: delete_runs(workspace, plan))
    if as_json:
        from ntrader.domain.run_documents import deletion_document

        app.show_json(deletion_document(plan))
    elif dry_run:
        _show(app, plan)
    else:
        app.say(f"Deleted {_extent(plan)}.")
    if plan.left:
        app.complain(
            f"{counted(len(plan.left), 'file')} could not be removed, "
            f"the first being {plan.left[0].storage_path}.",
            "The runs are deleted; remove these files by hand.",
        )
    return 1 if plan.left else 0


def _show(app: App, plan: Deletion) -> None:
    from ntrader.cli.tables import history_table

    app.show(history_table(plan.runs, width=app.console.width))
    app.note(f"To delete: {_extent(plan)}.")
    if plan.reproductions:
        count = len(plan.reproductions)
        loses = "loses its link" if count == 1 else "lose their link"
        app.note(f"{counted(count, 'reproduction')} will stay and {loses} to the original.")


def _extent(plan: Deletion) -> str:
    runs, files = len(plan.runs), len(plan.files)
    return f"{counted(runs, 'run')} with {counted(files, 'file')} ({plan.bytes:,} bytes)"
