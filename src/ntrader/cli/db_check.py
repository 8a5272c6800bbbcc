"""`ntrader db check`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.options import json_option
from ntrader.cli.wording import counted

if TYPE_CHECKING:
    from ntrader.domain.integrity import CheckReport


@click.command()
@click.option(
    "--run", "runs", multiple=True, metavar="RUN", help="Check this run only; repeatable."
)
@click.option("--repair", is_flag=True, help="Set aside what has no row; save what waits.")
@json_option
@pass_app
def check(app: App, runs: tuple[str, ...], repair: bool, as_json: bool) -> int:
    """Check every run, file, dataset and kept source against its hash.

    Backtests may go on meanwhile. A repair removes nothing: files that no run names go to
    lost+found below ntrader's home. The exit code is 1 where something is (still) wrong.
    """
    from ntrader.errors import UsageError

    if runs and repair:
        raise UsageError("--repair is for the whole store.", hint="Leave --run out.")
    report = checked(app, runs=runs, repair=repair)
    if as_json:
        app.show_json(report.to_dict())
    else:
        show_report(app, report)
    return 0 if report.clean else 1


def checked(app: App, *, runs: tuple[str, ...] = (), repair: bool = False) -> CheckReport:
    """Check the store, with progress on a terminal."""
    from ntrader.cli.progress import progress_bar
    from ntrader.services.checking import check_store

    with progress_bar(app, task="Check", unit="runs") as progress:
        return app.call(
            lambda workspace: check_store(workspace, runs=runs, repair=repair, progress=progress)
        )


def show_report(app: App, report: CheckReport) -> None:
    """Print what was checked, each problem, and what to do."""
    for problem in report.problems:
        run = "" if problem.run_id is None else f"run {problem.run_id}: "
        place = "" if problem.file is None or problem.file in problem.what else f" ({problem.file})"
        app.say(f"{problem.kind}: {run}{problem.what}{place}")
    if report.total > len(report.problems):
        app.say(f"... and {report.total - len(report.problems):,} more.")
    for repair in report.repairs:
        app.say(repair)
    app.say(_summary(report))
    for hint in dict.fromkeys(problem.hint for problem in report.problems):
        app.note(hint)
    for text in _notes(report):
        app.note(text)


def _notes(report: CheckReport) -> Iterator[str]:
    """Tell of what is no problem, but could be taken for one."""
    if report.running:
        yield f"{report.running:,} of the journal's runs are at work."
    if report.waiting:
        yield f"{report.waiting:,} of the journal's runs wait for another database."
    if report.other_files:
        yield (
            f"{report.other_files:,} of the files have no row here. Other databases use this home "
            "too, as its file `databases` says, and may know them."
        )
    if report.recent_files:
        yield (
            f"{report.recent_files:,} of the files have no row yet and are less than an hour old: "
            "their runs may be about to be saved."
        )
    if report.absent_datasets:
        yield (
            f"{report.absent_datasets:,} of the datasets came without data: "
            "their imported runs can be read, but not reproduced."
        )


def _summary(report: CheckReport) -> str:
    runs, files = counted(report.runs, "run"), counted(report.files, "file")
    datasets, sources = counted(report.datasets, "dataset"), counted(report.sources, "kept source")
    verdict = "all is well" if report.clean else counted(report.total, "problem")
    return f"Checked {runs}, {files}, {datasets} and {sources}: {verdict}."
