"""`ntrader data`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ntrader.cli.app import App, pass_app
from ntrader.cli.completion import complete_dataset
from ntrader.cli.options import csv_option, json_option, refuse_both


@click.group()
def data() -> None:
    """Import and look after market data.

    A dataset is named by its name (the newest of that name), its hash or a prefix of it, or its id.
    """


@data.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--symbol", required=True, help="What the prices are of: IBM, EUR/USD, BTC/USDT.")
@click.option("--venue", required=True, help="Where it is traded: NYSE, BINANCE.")
@click.option("--kind", type=click.Choice(["equity", "fx", "crypto"]), required=True)
@click.option("--timeframe", required=True, metavar="BAR", help="The bars: 1d, 4h, 15m, 1w.")
@click.option("--name", help="The dataset's name.  [default: SYMBOL-BAR]")
@click.option("--description", default="", help="Anything worth knowing of it.")
@click.option("--currency", help="What prices are in.  [default: USD, or from the symbol]")
@click.option("--price-precision", type=click.IntRange(0, 8), help="Decimals of prices.")
@click.option("--size-precision", type=click.IntRange(0, 8), help="Decimals of sizes.")
@click.option("--timezone", metavar="ZONE", help="Zone of times without one.  [default: UTC]")
@click.option(
    "--columns",
    metavar="NAMES",
    help="The file's columns in order, - for one to pass over.  [default: from the header]",
)
@click.option(
    "--dayfirst/--monthfirst",
    "day_first",
    default=None,
    help="What dates such as 01/02/2020 begin with.  [default: from the file]",
)
@json_option
@pass_app
def import_(
    app: App, /, file: Path, kind: str, timeframe: str, as_json: bool, **described: Any
) -> None:
    """Import bars from a CSV or Parquet FILE.

    Columns may have any order and case: a time (date, Date, timestamp, Time, an epoch), open, high,
    low, close and volume. One bad line refuses the whole file.

    \b
    ntrader data import IBM.csv --symbol IBM --venue NYSE --kind equity --timeframe 1d
    """
    from ntrader.domain.datasets import InstrumentKind
    from ntrader.domain.timeframes import Timeframe
    from ntrader.services.datasets import ImportRequest, import_dataset

    request = ImportRequest(
        path=file, kind=InstrumentKind(kind), timeframe=Timeframe.parse(timeframe), **described
    )
    imported = app.call(lambda workspace: import_dataset(workspace, request))
    if as_json:
        from ntrader.domain.dataset_documents import imported_dataset_document

        app.show_json(imported_dataset_document(imported))
        return
    from ntrader.cli.dataset_tables import dataset_facts

    for warning in imported.warnings:
        app.note(f"Warning: {warning}")
    if not imported.is_new:
        app.note("The same content was imported before; this is that dataset.")
    app.show(dataset_facts(imported.dataset))


@data.command("list")
@click.option("--symbol", help="Datasets of this symbol.")
@click.option("--venue", help="Datasets of this venue.")
@click.option(
    "--kind", type=click.Choice(["equity", "fx", "crypto"]), help="Datasets of this kind."
)
@click.option("--timeframe", metavar="BAR", help="Datasets of these bars.")
@csv_option
@json_option
@pass_app
def list_(
    app: App,
    symbol: str | None,
    venue: str | None,
    kind: str | None,
    timeframe: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List the datasets, newest first."""
    from ntrader.domain.datasets import DatasetFilter, InstrumentKind
    from ntrader.domain.timeframes import Timeframe
    from ntrader.services.datasets import EVERY_DATASET, list_datasets

    refuse_both(as_csv=as_csv, as_json=as_json)
    where = DatasetFilter(
        symbol=symbol,
        venue=venue,
        kind=None if kind is None else InstrumentKind(kind),
        timeframe=None if timeframe is None else Timeframe.parse(timeframe),
    )
    datasets = app.call(lambda workspace: list_datasets(workspace, where))
    if as_json or as_csv:
        from ntrader.domain.dataset_documents import DATASET_KEYS, dataset_document

        documents = [dataset_document(dataset) for dataset in datasets]
        if as_json:
            app.show_json({"datasets": documents})
        else:
            app.show_csv(DATASET_KEYS, [list(document.values()) for document in documents])
    elif datasets:
        from ntrader.cli.dataset_tables import datasets_table

        app.show(datasets_table(datasets))
    elif where != EVERY_DATASET:
        app.note("No dataset matches. `ntrader data list` without options lists all.")
    else:
        app.note("There are no datasets. `ntrader data import` makes one; `run` has sample data.")


@data.command()
@click.argument("dataset", shell_complete=complete_dataset)
@json_option
@pass_app
def show(app: App, dataset: str, as_json: bool) -> None:
    """Show a dataset: range, rows, precision and gaps."""
    from ntrader.services.datasets import show_dataset

    details = app.call(lambda workspace: show_dataset(workspace, dataset))
    if as_json:
        from ntrader.domain.dataset_documents import dataset_details_document

        app.show_json(dataset_details_document(details))
        return
    from ntrader.cli.dataset_tables import dataset_details_view

    app.show(dataset_details_view(details))


@data.command()
@click.argument("dataset", shell_complete=complete_dataset)
@json_option
@pass_app
def verify(app: App, dataset: str, as_json: bool) -> int:
    """Recompute a dataset's hash from the stored bars."""
    from ntrader.services.datasets import verify_dataset

    verification = app.call(lambda workspace: verify_dataset(workspace, dataset))
    recorded = verification.dataset.content_hash
    if as_json:
        from ntrader.domain.dataset_documents import verification_document

        app.show_json(verification_document(verification))
    elif verification.is_intact:
        app.show(f"Intact: {verification.dataset.name} is what was imported ({recorded[:16]}).")
    else:
        app.complain(
            f"{verification.dataset.name} has changed: its bars now hash to "
            f"{verification.computed_hash[:16]}, not to {recorded[:16]}.",
            "Import the original file again: that replaces the damaged copy.",
        )
    return 0 if verification.is_intact else 1


@data.command()
@click.argument("dataset", shell_complete=complete_dataset)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def delete(app: App, dataset: str, yes: bool, as_json: bool) -> None:
    """Delete a dataset that no run uses."""
    from ntrader.services.datasets import delete_dataset

    app.confirm(f"Delete the dataset {dataset}?", yes=yes)
    deleted = app.call(lambda workspace: delete_dataset(workspace, dataset))
    if as_json:
        from ntrader.domain.dataset_documents import dataset_document

        app.show_json(dataset_document(deleted))
    else:
        app.show(f"Deleted {deleted.name} ({deleted.content_hash[:8]}).")
