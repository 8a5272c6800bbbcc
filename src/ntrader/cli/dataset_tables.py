"""Tables of datasets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntrader.cli.formats import SHORT_ID, day, plain_text
from ntrader.cli.layout import Facts, plain_table
from ntrader.domain.datasets import Dataset, DatasetDetails


def datasets_table(datasets: Iterable[Dataset]) -> Table:
    """List datasets."""
    table = plain_table("DATASET", "HASH", "INSTRUMENT", "BARS", "FROM", "TO", right=("ROWS",))
    for dataset in datasets:
        table.add_row(
            plain_text(dataset.name),
            Text(dataset.content_hash[:SHORT_ID], style="cyan"),
            plain_text(dataset.instrument.id),
            str(dataset.timeframe),
            f"{dataset.start:%Y-%m-%d}",
            f"{dataset.last_moment:%Y-%m-%d}",
            f"{dataset.rows:,}",
        )
    return table


def dataset_facts(dataset: Dataset, *more: tuple[str, Any]) -> Facts:
    """Show one dataset, and below it what else is known."""
    instrument = dataset.instrument
    return Facts(
        ("Dataset", Text(dataset.name, style="cyan")),
        ("Hash", dataset.content_hash),
        ("Instrument", f"{instrument.id} ({instrument.kind}, prices in {instrument.currency})"),
        (
            "Precision",
            f"{instrument.price_precision} decimals of price, {instrument.size_precision} of size",
        ),
        ("Bars", f"{dataset.rows:,} of {dataset.timeframe}"),
        (
            "Range",
            f"{dataset.start:%Y-%m-%d %H:%M} to {dataset.last_moment:%Y-%m-%d %H:%M} UTC",
        ),
        ("Source", dataset.source),
        *([("Description", dataset.description)] if dataset.description else []),
        *more,
    )


def dataset_details_view(details: DatasetDetails) -> RenderableType:
    """Show one dataset with its gaps and its use."""
    gaps = details.gaps
    facts = dataset_facts(
        details.dataset,
        ("Used by", "1 run" if details.runs == 1 else f"{details.runs:,} runs"),
        ("Files", details.path),
        ("Gaps", f"{gaps.count:,}, {gaps.missing:,} bars missing" if gaps.count else "none"),
    )
    if not gaps.count:
        return facts
    table = plain_table("GAP AFTER", "NEXT BAR")
    table.add_column("MISSING", justify="right")
    for gap in gaps.largest:
        table.add_row(day(gap.after), day(gap.before), f"{gap.missing:,}")
    return Group(facts, Text(), table)
