"""`ntrader export`."""

from __future__ import annotations

from pathlib import Path

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_run
from ntrader.cli.options import json_option


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.zip")
@click.option("--with-data", is_flag=True, help="Put the bars in too, to reproduce it elsewhere.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@json_option
@pass_app
def export(
    app: App, runs: tuple[str, ...], file: Path, with_data: bool, force: bool, as_json: bool
) -> None:
    """Write runs to one zip file, with their files, events, tags, notes and code.

    `ntrader import` takes them from it on another machine, after it has checked every hash. The
    same runs give the same bytes.

    \b
    ntrader export @ @~1 runs.zip --with-data
    """
    from ntrader.services.exchange import export_runs

    done = app.call(
        lambda workspace: export_runs(workspace, runs, file, with_data=with_data, force=force)
    )
    if as_json:
        from ntrader.domain.bundle_documents import export_document

        app.show_json(export_document(done))
        return
    count = len(done.runs)
    what = "1 run" if count == 1 else f"{count:,} runs"
    data = "with data" if with_data else "without data"
    app.say(f"Exported {what} {data} to {done.file} ({done.size_bytes:,} bytes).")
    if not with_data:
        app.note("To reproduce it where these data are not, add --with-data.")
