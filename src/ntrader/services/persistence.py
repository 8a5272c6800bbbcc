"""Persistence: an outcome becomes a saved run, with its files and its events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader.domain.annotations import NOTHING_SAID, Annotations
from ntrader.domain.documents import number
from ntrader.domain.events import Event, EventType
from ntrader.domain.identity import instant_text
from ntrader.domain.results import BacktestFailure, EnhancedBacktestResult, Outcome, Trade
from ntrader.errors import DatabaseUnavailableError
from ntrader.services.run_files import write_run_files

if TYPE_CHECKING:
    from ntrader.domain.datasets import Dataset
    from ntrader.domain.sources import StrategySource
    from ntrader.domain.strategies import StrategySpec
    from ntrader.services.workspace import Workspace


async def save_outcome(
    workspace: Workspace,
    outcome: Outcome,
    dataset: Dataset,
    strategy: StrategySpec,
    *,
    reproduced_from: UUID | None = None,
    source: StrategySource | None = None,
    annotations: Annotations = NOTHING_SAID,
) -> bool:
    """Save an outcome as a run: its strategy's source, its files, then all rows in one transaction.

    Saving the same outcome again changes nothing. Returns whether the run was new.

    Raises:
        DatabaseUnavailableError: the database cannot be reached; nothing is saved.
    """
    store = await workspace.store()
    run_id = outcome.metadata.run_id
    record = await store.strategies.ensure(strategy)
    if source is not None:
        await store.sources.keep(source)
    artifacts = (
        write_run_files(workspace.artifacts, outcome)
        if isinstance(outcome, EnhancedBacktestResult)
        else ()
    )
    try:
        return await store.runs.add(
            outcome,
            dataset_id=dataset.id,
            strategy_id=record.id,
            data_source=dataset.source,
            artifacts=artifacts,
            events=tuple(events_of(outcome)),
            reproduced_from=reproduced_from,
            annotations=annotations,
        )
    except DatabaseUnavailableError:
        # The connection broke: the run may be saved all the same, and then needs its files.
        raise
    except BaseException:
        # Files without a row would belong to nobody.
        workspace.artifacts.discard(run_id)
        raise


def events_of(outcome: Outcome) -> Iterator[Event]:
    """Tell the life of a run: started, each trade closed, warnings, finished or failed."""
    metadata = outcome.metadata
    yield Event(
        type=EventType.STARTED,
        timestamp=metadata.started_at,
        payload={"fingerprint": metadata.fingerprint},
    )
    match outcome:
        case EnhancedBacktestResult():
            for trade in outcome.trades:
                yield Event(
                    type=EventType.TRADE_CLOSED,
                    timestamp=trade.closed_at,
                    payload=_trade_payload(trade),
                )
            for warning in outcome.warnings:
                yield Event(
                    type=EventType.WARNING,
                    timestamp=outcome.finished_at,
                    payload={"message": warning},
                )
            yield Event(
                type=EventType.FINISHED,
                timestamp=outcome.finished_at,
                payload={
                    "duration_seconds": round(outcome.duration_seconds, 6),
                    "fills": len(outcome.fills),
                    "result_digest": outcome.result_digest,
                },
            )
        case BacktestFailure():
            yield Event(
                type=EventType.FAILED,
                timestamp=outcome.finished_at,
                payload={"message": outcome.message, "bars_done": outcome.bars_done},
            )


def _trade_payload(trade: Trade) -> dict[str, Any]:
    return {
        "opened_at": instant_text(trade.opened_at),
        "quantity": number(trade.quantity),
        "entry_price": number(trade.entry_price),
        "exit_price": number(trade.exit_price),
        "profit": number(trade.profit),
    }
