"""`ntrader compare`."""

from __future__ import annotations

from pathlib import Path

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_run
from ntrader.cli.options import json_option


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN RUN ...", shell_complete=complete_run)
@click.option("--all", "show_all", is_flag=True, help="Show the configuration they share, too.")
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write one interactive page that needs no network.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the resampling behind the significance of two runs.",
)
@json_option
@pass_app
def compare(
    app: App,
    runs: tuple[str, ...],
    show_all: bool,
    html_file: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Show 2 to 10 runs side by side.

    The best value of each metric has a star, by the metric's own direction; where runs are not
    comparable nothing is marked, and a warning says why. Deltas are to the first run. For two runs
    an interval says whether they differ by more than chance.

    \b
    ntrader compare @~1 @
    ntrader compare 119fcde5 80fd320f fc37eb88 --html comparison.html
    """
    from ntrader.services.comparison import compare_runs

    report = app.call(lambda workspace: compare_runs(workspace, runs, seed=seed))
    if html_file is not None:
        from ntrader.cli.comparison_page import write_page

        write_page(report, html_file)
    if as_json:
        from ntrader.domain.comparison_documents import compare_document

        app.show_json(compare_document(report))
    else:
        from ntrader.cli.comparison_views import comparison_view

        app.show(comparison_view(report, show_all=show_all, width=app.console.width))
    if html_file is not None:
        app.note(f"The page is in {html_file}.")
