"""`ntrader db dump` and `ntrader db restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.options import json_option

if TYPE_CHECKING:
    from ntrader.domain.dumps import DumpContents


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tar")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@json_option
@pass_app
def dump(app: App, file: Path, force: bool, as_json: bool) -> int:
    """Write the whole store to one file: every run, file and dataset.

    `ntrader db restore` makes a store of it, on another machine, on another kind of server or under
    another version of PostgreSQL. Backtests may go on meanwhile.
    """
    from ntrader.cli.progress import progress_bar
    from ntrader.services.dumps import dump_store

    with progress_bar(app, task="Dump", unit="files") as progress:
        done = app.call(
            lambda workspace: dump_store(workspace, file, force=force, progress=progress)
        )
    left_out = done.contents.left_out
    if as_json:
        app.show_json(done.to_dict())
    else:
        app.say(f"Dumped {_extent(done.contents)} to {done.file} ({done.size_bytes:,} bytes).")
        for each in left_out:
            app.say(f"left out: {each.file}: {each.reason}")
        if left_out:
            app.complain("Not all is in the dump.", "`ntrader db check` says what is wrong.")
    return 1 if left_out else 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tar")
@json_option
@pass_app
def restore(app: App, file: Path, as_json: bool) -> int:
    """Make the store of a dump in an empty one, and check it.

    Restore dumps of your own or of people whose code you would run: what is in one is as trusted
    afterwards as what you ran yourself.
    """
    from ntrader.cli.db_check import show_report
    from ntrader.cli.progress import progress_bar
    from ntrader.services.dumps import restore_store

    with progress_bar(app, task="Restore", unit="files") as progress:
        done = app.call(lambda workspace: restore_store(workspace, file, progress=progress))
    if as_json:
        app.show_json(done.to_dict())
    else:
        app.say(f"Restored {_extent(done.contents)} from {done.file}.")
        for each in done.contents.left_out:
            app.say(f"was left out of the dump: {each.file}: {each.reason}")
        show_report(app, done.report)
    return 0 if done.report.clean else 1


def _extent(contents: DumpContents) -> str:
    table = contents.tables.get("backtest_runs")
    runs = 0 if table is None else table.rows
    return f"{runs:,} runs with {contents.files:,} files and {contents.datasets:,} datasets"
