"""`ntrader reproduce`."""

from __future__ import annotations

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_run
from ntrader.cli.options import json_option

DIFFERENT = 5
"""The exit code of the verdict "different"."""


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.option("--current-code", is_flag=True, help="Use the strategy as it is today.")
@click.option("--attribute", is_flag=True, help="Say what moved the answer: code or data.")
@click.option("--trust", is_flag=True, help="Execute the code that came with an imported run.")
@click.option("--progress/--no-progress", default=None, help="Show a progress bar.")
@json_option
@pass_app
def reproduce(
    app: App,
    run: str,
    current_code: bool,
    attribute: bool,
    trust: bool,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Run a saved run again and say whether the answer is the same.

    RUN is an id, a prefix of one, @ or @~N. Everything comes from the run's own snapshot: its code,
    its data, its parameters. The new run is saved, linked to its original. Exits 5 where the answer
    is different: in a fill, an equity point or a metric.
    """
    from ntrader.cli.progress import progress_bar
    from ntrader.domain.reproduction import Verdict
    from ntrader.services.reproduction import reproduce as reproduce_run

    with progress_bar(app, wanted=progress) as tell:
        found = app.call(
            lambda workspace: reproduce_run(
                workspace,
                run,
                current_code=current_code,
                attribute=attribute,
                trust=trust,
                progress=tell,
            )
        )
    if as_json:
        from ntrader.domain.reproduction_documents import reproduction_document

        app.show_json(reproduction_document(found))
    else:
        from ntrader.cli.formats import short_id
        from ntrader.cli.reproduction_views import reproduction_view

        app.show(reproduction_view(found))
        if found.save_error is None:
            app.note(f"Saved as run {short_id(found.run)}.")
    if found.save_error is not None:
        app.complain(f"The new run is NOT saved. {found.save_error.message}", found.save_error.hint)
        return found.save_error.exit_code
    return 0 if found.verdict is Verdict.IDENTICAL else DIFFERENT
