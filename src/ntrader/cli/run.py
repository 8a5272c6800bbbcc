"""`ntrader run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_dataset, complete_strategy
from ntrader.cli.options import json_option, parameter_option, parse_parameters
from ntrader.errors import UsageError

if TYPE_CHECKING:
    from ntrader.services.backtests import RunReport


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--strategy",
    metavar="NAME",
    shell_complete=complete_strategy,
    help="A registered name, or path/to/file.py:Class.",
)
@parameter_option("A parameter of the strategy; may be repeated.")
@click.option("--symbol", help="What to trade; the sample data have IBM and GOOG.")
@click.option(
    "--dataset",
    metavar="REF",
    shell_complete=complete_dataset,
    help="A dataset by name, hash or id.",
)
@click.option("--timeframe", metavar="BAR", help="The bars to use, such as 1d or 15m.")
@click.option("--start", metavar="DATE", help="First day or instant (UTC).")
@click.option("--end", metavar="DATE", help="Last day, or the instant at which to stop (UTC).")
@click.option("--capital", metavar="MONEY", help="Starting cash.  [default: 100000]")
@click.option(
    "--equity-fraction", metavar="X", help="Part of the equity an entry uses.  [default: 0.9]"
)
@click.option("--fee", metavar="X", help="Fraction of the traded value a fill pays.  [default: 0]")
@click.option(
    "--fill",
    type=click.Choice(["next-open", "close"]),
    help="Where a decision made on a close is filled.  [default: next-open]",
)
@click.option("--slippage", metavar="X", help="Fraction of the price an order loses.  [default: 0]")
@click.option("--seed", metavar="N", help="Seed of everything random.  [default: 0]")
@click.option("--reuse", is_flag=True, help="Show an identical successful run instead.")
@click.option("--tag", "tags", multiple=True, help="Put a tag on the run; may be repeated.")
@click.option("--note", help="Write a note on the run.")
@click.option("--no-save", is_flag=True, help="Do not save the run.")
@click.option("--progress/--no-progress", default=None, help="Show a progress bar.")
@json_option
@pass_app
def run(
    app: App,
    /,
    config: Path | None,
    parameters: tuple[str, ...],
    reuse: bool,
    tags: tuple[str, ...],
    note: str | None,
    no_save: bool,
    progress: bool | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Run a backtest, show it and save it.

    What is not said comes from CONFIG, a YAML file, and else from the defaults. Without data
    options the sample data are used.

    \b
    ntrader run --strategy sma
    ntrader run --strategy rsi --symbol GOOG -p rsi_period=7 --fee 0.001
    ntrader run my-run.yaml --start 2010-01-01
    """
    from ntrader.cli.progress import progress_bar
    from ntrader.domain.annotations import Annotations
    from ntrader.services.backtests import run_backtest
    from ntrader.services.requests import build_request

    said = Annotations.checked(tags, note)
    if said and no_save:
        raise UsageError(
            "A run that is not saved takes no tag and no note.", hint="Leave --no-save out."
        )
    overrides = {name: value for name, value in options.items() if value is not None}
    request = build_request(config, overrides, parse_parameters(parameters))
    with progress_bar(app, wanted=progress) as tell:
        report = app.call(
            lambda workspace: run_backtest(
                workspace,
                request,
                config_path=config,
                save=not no_save,
                reuse=reuse,
                annotations=said,
                progress=tell,
            )
        )
    if as_json:
        _show_json(app, report)
    else:
        _show(app, report, saving=not no_save)
    _shout(app, report)
    if report.save_error is not None:
        return report.save_error.exit_code
    return 0 if report.details.run.error is None else 1


def _show_json(app: App, report: RunReport) -> None:
    from ntrader.domain.documents import error_document
    from ntrader.domain.run_documents import details_document

    app.show_json(
        {
            **details_document(report.details, saved=report.saved),
            "duplicates": [str(run.run_id) for run in report.duplicates],
            "save_error": None
            if report.save_error is None
            else error_document(report.save_error)["error"],
            "waiting": report.waiting,
        }
    )


def _show(app: App, report: RunReport, *, saving: bool) -> None:
    from ntrader.cli.formats import short_id
    from ntrader.cli.views import run_view

    run = report.details.run
    app.show(run_view(report.details, width=app.console.width, ascii_only=app.ascii_only))
    if report.duplicates and not report.reused:
        app.note(_duplicates_note(report))
    if report.save_error is not None:
        error = report.save_error
        app.complain(f"The run is NOT saved. {error.message}", error.hint)
    elif report.reused:
        app.note(f"Not run again: this is run {short_id(run)} of the same question.")
    elif saving:
        app.note(f"Saved. See it again with `ntrader show {short_id(run)}`.")


def _shout(app: App, report: RunReport) -> None:
    if report.contradictions:
        others = ", ".join(str(run.run_id)[:8] for run in report.contradictions)
        app.complain(
            f"One question, two answers: run {others} had this fingerprint and another result.",
            "The strategy is not deterministic, or its environment changed: a seed, a clock, a "
            "network, a library. Compare the runs before you trust either.",
        )


def _duplicates_note(report: RunReport) -> str:
    from ntrader.cli.formats import percent, short_id

    newest = report.duplicates[0]
    gave = "failed" if newest.metrics is None else f"gave {percent(newest.metrics.total_return)}"
    return (
        f"The same question was asked {_times(len(report.duplicates))} before, "
        f"last by run {short_id(newest)}, which {gave}."
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
