"""Documents: the JSON objects that users and other programs get. Their keys are a contract."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from ntrader.domain.artifacts import Artifact
from ntrader.domain.datasets import Dataset
from ntrader.domain.identity import canonical_json, instant_text
from ntrader.domain.queries import Page
from ntrader.domain.results import METRICS, Fill, PerformanceMetrics, Trade
from ntrader.domain.runs import BacktestRun, RunDetails
from ntrader.domain.strategies import StrategySpec
from ntrader.errors import NtraderError


def run_document(run: BacktestRun, *, saved: bool = True) -> dict[str, Any]:
    """Return a run as one object."""
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
            "parameters": strategy["parameters"],
        },
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
        "undefined_metrics": run.metadata.get("undefined_metrics", {}),
        "fingerprint": run.fingerprint,
        "result_digest": run.result_digest,
        "reproduced_from": None if run.reproduced_from is None else str(run.reproduced_from),
        "tags": [],
        "note": None,
        "error": None
        if run.error is None
        else {"message": run.error.message, "traceback": run.error.traceback},
        "saved": saved,
    }


def details_document(details: RunDetails, *, saved: bool = True) -> dict[str, Any]:
    """Return a run with its fills and files."""
    return {
        **run_document(details.run, saved=saved),
        "fills": None if details.fills is None else [fill_document(fill) for fill in details.fills],
        "artifacts": [artifact_document(artifact) for artifact in details.artifacts],
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
)


def csv_row(run: BacktestRun) -> list[Any]:
    """Return a run as the cells of `CSV_COLUMNS`; undefined is empty, parameters are JSON."""
    metrics = {} if run.metrics is None else metrics_document(run.metrics)
    return [
        str(run.run_id),
        run.status.value,
        instant_text(run.created_at),
        run.strategy_name,
        run.symbol,
        run.timeframe,
        instant_text(run.start),
        instant_text(run.end),
        canonical_json(run.config["strategy"]["parameters"]),
        *(metrics.get(name) for name in METRICS),
    ]


def history_document(page: Page[BacktestRun]) -> dict[str, Any]:
    """Return a page of runs, and the cursor of the next."""
    return {
        "runs": [run_document(run) for run in page.items],
        "next": None if page.next is None else page.next.encode(),
    }


def metrics_document(metrics: PerformanceMetrics) -> dict[str, Any]:
    """Return the metrics by name; an undefined one is None."""
    return {name: plain(value) for name, value in metrics.values().items()}


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


def strategy_document(spec: StrategySpec) -> dict[str, Any]:
    """Return a strategy with its parameters."""
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "version": spec.version,
        "type": spec.type,
        "description": spec.description,
        "path": spec.path,
        "source_hash": spec.source_hash,
        "parameters": [parameter.to_dict() for parameter in spec.parameters],
    }


def error_document(error: NtraderError) -> dict[str, Any]:
    """Return an error."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def number(value: Decimal) -> int | float:
    """Return a decimal as a JSON number: an integer where it is one."""
    return int(value) if value == value.to_integral_value() else float(value)


def plain(value: Any) -> Any:
    """Return a domain's scalar as JSON."""
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, datetime):
        return instant_text(value)
    return value
