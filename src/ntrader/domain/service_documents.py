"""Documents that the service alone gives; see `ntrader.domain.documents` for those of commands."""

from collections.abc import Sequence
from typing import Any

from ntrader.domain.identity import instant_text
from ntrader.domain.results import EquityCurve, Trade
from ntrader.domain.run_documents import run_document, trade_document
from ntrader.domain.runs import BacktestRun, RunDetails
from ntrader.domain.sampling import extremes
from ntrader.domain.strategies import StrategyRecord


def service_run_document(run: BacktestRun, **more: Any) -> dict[str, Any]:
    """Return a run as commands show it, with what the service knows of it beside."""
    return {
        **run_document(run, **more),
        "mode": run.mode.value,
        "dataset_id": None if run.dataset is None else str(run.dataset.id),
        "strategy_id": None if run.strategy is None else str(run.strategy.id),
    }


def stored_strategy_document(record: StrategyRecord) -> dict[str, Any]:
    """Return a stored strategy: its values, and the specification that a form is drawn from."""
    return {
        "id": str(record.id),
        "name": record.name,
        "version": record.version,
        "description": record.description,
        "implementation": record.implementation,
        "parameters": record.params,
        "parameter_spec": record.param_spec,
        "source_hash": record.source_hash,
        "created_at": instant_text(record.created_at),
        "updated_at": instant_text(record.updated_at),
    }


def report_document(
    details: RunDetails,
    trades: Sequence[Trade],
    *,
    points: int | None,
    trades_from: int,
    trades_limit: int,
) -> dict[str, Any]:
    """Return a run with its curve and a part of its trades.

    With `points` the curve has at most so many, its extremes among them.
    """
    shown = trades[trades_from : trades_from + trades_limit]
    more = trades_from + len(shown)
    return {
        "run": service_run_document(details.run, stale=details.stale),
        "warnings": list(details.warnings),
        "problem": details.problem,
        "equity": None if details.equity is None else _curve(details.equity, points),
        "trades": {
            "total": len(trades),
            "items": [trade_document(trade) for trade in shown],
            "next": more if more < len(trades) else None,
        },
    }


def _curve(curve: EquityCurve, points: int | None) -> dict[str, Any]:
    indices = range(len(curve)) if points is None else extremes(curve.values, points)
    values = curve.values.tolist()
    return {
        "total": len(curve),
        "times": [instant_text(curve.time_at(index)) for index in indices],
        "values": [round(values[index], 4) for index in indices],
    }
