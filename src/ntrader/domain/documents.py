"""Documents: the JSON objects that users and other programs get. Their keys are a contract."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ntrader.domain.artifacts import Artifact
from ntrader.domain.columns import cells
from ntrader.domain.datasets import Dataset, DatasetDetails, ImportedDataset, Verification
from ntrader.domain.deletion import Deletion
from ntrader.domain.events import Event
from ntrader.domain.identity import instant_text
from ntrader.domain.pins import Pin
from ntrader.domain.queries import RunList
from ntrader.domain.reproduction import Attribution, Divergence, Finding, Reproduction
from ntrader.domain.results import METRICS, Fill, PerformanceMetrics, Trade
from ntrader.domain.runs import UNDEFINED_METRICS, BacktestRun, RunDetails
from ntrader.domain.strategies import StrategySpec
from ntrader.errors import NtraderError

if TYPE_CHECKING:
    from ntrader.domain.bundles import Exported, Imported
    from ntrader.domain.comparison import ComparisonReport
    from ntrader.domain.significance import Interval, Significance


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


def history_document(found: RunList) -> dict[str, Any]:
    """Return a page of runs, and the cursor of the next."""
    page = found.page
    return {
        "runs": [run_document(run, stale=found.stale.get(run.run_id, ())) for run in page.items],
        "next": None if page.next is None else page.next.encode(),
    }


def metrics_document(metrics: PerformanceMetrics) -> dict[str, Any]:
    """Return the metrics by name; an undefined one is None."""
    return {name: plain(value) for name, value in metrics.values().items()}


def compare_document(report: "ComparisonReport") -> dict[str, Any]:
    """Return runs side by side.

    Values and deltas are by run id; a delta is to the first run. `max_drawdown_at` is an instant,
    every other metric a number. `better` is null where neither direction is.
    """
    comparison = report.comparison
    ids = [str(run.run_id) for run in comparison.runs]

    def by_run(values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(ids, map(plain, values), strict=True))

    return {
        "runs": [run_document(run) for run in comparison.runs],
        "metrics": {
            metric.name: {
                "values": by_run(metric.values),
                "deltas": by_run(metric.deltas),
                "better": metric.rule.better,
                "best": [str(run.run_id) for run in comparison.runs if run.run_id in metric.best],
            }
            for metric in comparison.metrics
        },
        "config_differences": {each.path: by_run(each.values) for each in comparison.differences},
        "config_shared": {
            each.path: plain(each.values[0]) for each in comparison.settings if not each.differs
        },
        "significance": None
        if report.significance is None
        else significance_document(report.significance),
        "warnings": list(comparison.warnings),
    }


def significance_document(significance: "Significance") -> dict[str, Any]:
    """Return what is known of the difference between two runs (second minus first)."""
    return {
        "method": "studentised circular block bootstrap",
        "confidence": significance.confidence,
        "resamples": significance.resamples,
        "seed": significance.seed,
        "common_returns": significance.returns,
        **{
            name: None if interval is None else _interval_document(interval)
            for name, interval in (
                ("mean_daily_return", significance.mean_daily_return),
                ("sharpe_ratio", significance.sharpe_ratio),
            )
        },
        "undefined": dict(significance.undefined),
    }


def _interval_document(interval: "Interval") -> dict[str, Any]:
    return {
        "difference": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "p_value": interval.p_value,
        "distinguishable": interval.is_distinguishable,
        "block_length": interval.block_length,
        "years": interval.years,
        "years_needed": interval.years_needed,
    }


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


def reproduction_document(found: Reproduction) -> dict[str, Any]:
    """Return a reproduction with its verdict."""
    return {
        "original": str(found.original.run_id),
        "run": str(found.run.run_id),
        "verdict": found.verdict.value,
        "checked": {check.pin.value: check.state.value for check in found.checks},
        "details": {check.pin.value: check.detail for check in found.checks if check.detail},
        **_finding(found.finding),
        "errors": {"original": _message(found.original), "run": _message(found.run)},
        "attribution": [_attribution(each) for each in found.attributions or ()],
        "saved": found.save_error is None,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "metric_differences": {
            difference.name: {
                "original": plain(difference.original),
                "run": plain(difference.run),
            }
            for difference in finding.differences
        },
        "first_divergence": _divergence(finding.divergence),
    }


def _attribution(attribution: Attribution) -> dict[str, Any]:
    run, finding = attribution.run, attribution.finding
    return {
        "pin": attribution.pin.value,
        "verdict": None if finding is None else finding.verdict.value,
        "result_digest": None if run is None else run.result_digest,
        "first_divergence": None if finding is None else _divergence(finding.divergence),
        "error": attribution.problem if run is None else _message(run),
    }


def _message(run: BacktestRun) -> str | None:
    return None if run.error is None else run.error.message


def _divergence(divergence: Divergence | None) -> dict[str, Any] | None:
    if divergence is None:
        return None
    return {
        "kind": divergence.kind,
        "index": divergence.index,
        "time": instant_text(divergence.time),
        "original": _plain_values(divergence.original),
        "run": _plain_values(divergence.run),
    }


def _plain_values(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else {name: plain(value) for name, value in values.items()}


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
