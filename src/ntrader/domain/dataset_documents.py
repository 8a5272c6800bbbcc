"""What is told of datasets, as JSON."""

from typing import Any

from ntrader.domain.datasets import Dataset, DatasetDetails, ImportedDataset, Verification
from ntrader.domain.identity import instant_text


def dataset_document(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset."""
    return {
        "id": str(dataset.id),
        "name": dataset.name,
        "description": dataset.description,
        "content_hash": dataset.content_hash,
        "instrument": dataset.instrument.id,
        **dataset.instrument.to_dict(),
        "timeframe": str(dataset.timeframe),
        "start": instant_text(dataset.start),
        "end": instant_text(dataset.end),
        "rows": dataset.rows,
        "source": dataset.source,
        "created_at": instant_text(dataset.created_at),
    }


DATASET_KEYS = (
    "id",
    "name",
    "description",
    "content_hash",
    "instrument",
    "symbol",
    "venue",
    "kind",
    "currency",
    "base_currency",
    "price_precision",
    "size_precision",
    "timeframe",
    "start",
    "end",
    "rows",
    "source",
    "created_at",
)
"""The keys of `dataset_document`, for a list that may be empty."""


def imported_dataset_document(imported: ImportedDataset) -> dict[str, Any]:
    """Return the dataset of an imported file, and whether it is new."""
    return {
        **dataset_document(imported.dataset),
        "new": imported.is_new,
        "warnings": list(imported.warnings),
    }


def dataset_details_document(details: DatasetDetails) -> dict[str, Any]:
    """Return a dataset with its use and its gaps."""
    return {
        **dataset_document(details.dataset),
        "runs": details.runs,
        "path": details.path,
        "gaps": {
            "count": details.gaps.count,
            "missing_bars": details.gaps.missing,
            "largest": [
                {
                    "after": instant_text(gap.after),
                    "before": instant_text(gap.before),
                    "missing_bars": gap.missing,
                }
                for gap in details.gaps.largest
            ],
        },
    }


def verification_document(verification: Verification) -> dict[str, Any]:
    """Return whether a dataset still is what was imported."""
    return {
        "dataset": verification.dataset.name,
        "content_hash": verification.dataset.content_hash,
        "computed_hash": verification.computed_hash,
        "intact": verification.is_intact,
    }
