"""What is told of an export and of an import, as JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntrader.domain.bundles import Exported, Imported


def export_document(done: "Exported") -> dict[str, Any]:
    """Return what an export wrote."""
    return {
        "file": done.file,
        "size_bytes": done.size_bytes,
        "runs": [str(run_id) for run_id in done.runs],
        "sources": list(done.sources),
        "datasets": _bundled_datasets(done.datasets),
    }


def import_document(done: "Imported") -> dict[str, Any]:
    """Return what an import stored; `data` says whether a dataset's bars are on this machine."""
    return {
        "file": done.file,
        "changed": done.changed,
        "imported": [str(run_id) for run_id in done.new],
        "known": [str(run_id) for run_id in done.known],
        "datasets": _bundled_datasets(done.datasets),
        "data_stored": list(done.new_data),
    }


def _bundled_datasets(datasets: Mapping[str, bool]) -> list[dict[str, Any]]:
    return [{"content_hash": key, "data": data} for key, data in sorted(datasets.items())]
