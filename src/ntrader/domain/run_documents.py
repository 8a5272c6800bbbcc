"""What is told of runs, and of what belongs to them, as JSON and as CSV."""

from collections.abc import Sequence
from typing import Any

from ntrader.domain.artifacts import Artifact
from ntrader.domain.columns import cells
from ntrader.domain.deletion import Deletion
from ntrader.domain.documents import number, plain
from ntrader.domain.events import Event
from ntrader.domain.identity import instant_text
from ntrader.domain.pins import Pin
from ntrader.domain.queries import RunList
from ntrader.domain.results import METRICS, Fill, PerformanceMetrics, Trade
from ntrader.domain.runs import (
    UNDEFINED_METRICS,
    BacktestRun,
    RunDetails,
    StrategyReference,
)


def run_document(
    run: BacktestRun, *, saved: bool = True, stale: Sequence[Pin] = ()
) -> dict[str, Any]:
    """Return a run as one object; `stale` is what it rests on and has changed since."""
    config = run.config
    strategy = config["strategy"]
    instrument = config["instrument"]
    return {
        "run_id": str(run.run_id),
        "status": run.status.value,
        "created_at": instant_text(run.created_at),
        "duration_seconds": run.duration_seconds,
        "strategy": {
            "name": strategy["name"],
            "version": strategy["version"],
            "type": strategy["type"],
            "parameters": run.parameters,
        },
        "configuration": _configuration(run.configuration),
        "instrument": f"{instrument['symbol']}.{instrument['venue']}",
        "symbol": run.symbol,
        "timeframe": run.timeframe,
        "start": instant_text(run.start),
        "end": instant_text(run.end),
        "initial_capital": number(run.initial_capital),
        "currency": instrument["currency"],
        "equity_fraction": float(config["equity_fraction"]),
        "fee": float(config["fee"]),
        "fill": config["fill"],
        "slippage": float(config["slippage"]),
        "seed": config["seed"],
        "data_source": run.data_source,
        "dataset": None
        if run.dataset is None
        else {"name": run.dataset.name, "content_hash": run.dataset.content_hash},
        "metrics": None if run.metrics is None else metrics_document(run.metrics),
        "undefined_metrics": run.metadata.get(UNDEFINED_METRICS, {}),
        "fingerprint": run.fingerprint,
        "result_digest": run.result_digest,
        "reproduced_from": None if run.reproduced_from is None else str(run.reproduced_from),
        "tags": list(run.tags),
        "note": run.note,
        "error": None
        if run.error is None
        else {"message": run.error.message, "traceback": run.error.traceback},
        "stale": [pin.value for pin in stale],
        "saved": saved,
    }


def _configuration(found: StrategyReference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"id": str(found.id), "name": found.name, "version": found.version}


def details_document(details: RunDetails, *, saved: bool = True) -> dict[str, Any]:
    """Return a run with where it was made, its fills and its files."""
    return {
        **run_document(details.run, saved=saved, stale=details.stale),
        "environment": details.run.metadata.get("environment", {}),
        "imported": details.run.imported,
        "warnings": list(details.warnings),
        "fills": None if details.fills is None else [fill_document(fill) for fill in details.fills],
        "artifacts": [artifact_document(artifact) for artifact in details.artifacts],
    }


def history_document(found: RunList) -> dict[str, Any]:
    """Return a page of runs, and the cursor of the next."""
    page = found.page
    return {
        "runs": [run_document(run, stale=found.stale.get(run.run_id, ())) for run in page.items],
        "next": None if page.next is None else page.next.encode(),
    }


CSV_COLUMNS = (
    "run_id",
    "status",
    "created_at",
    "strategy",
    "symbol",
    "timeframe",
    "start",
    "end",
    "parameters",
    *METRICS,
    "tags",
    "note",
)
"""What CSV has of a run where nothing else is asked for."""


def csv_row(run: BacktestRun, columns: Sequence[str] = CSV_COLUMNS) -> list[Any]:
    """Return a run as the cells of `columns`; undefined is empty, parameters are JSON."""
    return [plain(value) for value in cells(run, columns)]


def metrics_document(metrics: PerformanceMetrics) -> dict[str, Any]:
    """Return the metrics by name; an undefined one is None."""
    return {name: plain(getattr(metrics, name)) for name in METRICS}


def fill_document(fill: Fill) -> dict[str, Any]:
    """Return a fill."""
    return {
        "time": instant_text(fill.time),
        "side": fill.side.value,
        "quantity": number(fill.quantity),
        "price": number(fill.price),
        "fee": number(fill.fee),
    }


def trade_document(trade: Trade) -> dict[str, Any]:
    """Return a closed trade."""
    return {
        "opened_at": instant_text(trade.opened_at),
        "closed_at": instant_text(trade.closed_at),
        "quantity": number(trade.quantity),
        "entry_price": number(trade.entry_price),
        "exit_price": number(trade.exit_price),
        "fees": number(trade.fees),
        "profit": number(trade.profit),
        "return": trade.return_,
    }


TRADE_KEYS = (
    "opened_at",
    "closed_at",
    "quantity",
    "entry_price",
    "exit_price",
    "fees",
    "profit",
    "return",
)
"""The keys of `trade_document`, for a list that may be empty."""


def event_document(event: Event) -> dict[str, Any]:
    """Return an event."""
    return {
        "type": event.type.value,
        "timestamp": instant_text(event.timestamp),
        "payload": event.payload,
    }


def artifact_document(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact's row."""
    return {
        "id": str(artifact.id),
        "kind": artifact.kind.value,
        "filename": artifact.filename,
        "storage_path": artifact.storage_path,
        "mime_type": artifact.mime_type,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
    }


def annotations_document(run: BacktestRun) -> dict[str, Any]:
    """Return what is said of a run."""
    return {"run_id": str(run.run_id), "tags": list(run.tags), "note": run.note}


def deletion_document(deletion: Deletion) -> dict[str, Any]:
    """Return what is deleted, or would be."""
    return {
        "deleted": deletion.done,
        "runs": [str(run.run_id) for run in deletion.runs],
        "files": [file.storage_path for file in deletion.files],
        "bytes": deletion.bytes,
        "reproductions": [str(run_id) for run_id in deletion.reproductions],
        "not_removed": [file.storage_path for file in deletion.left],
    }
