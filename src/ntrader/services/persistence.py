"""Persistence: an outcome becomes a saved run, with its files and its events.

Before the engine starts, the run is in the journal; its result replaces it there before the
database is touched, and the entry goes when the database has committed. See specs/journal.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ntrader.domain.documents import number
from ntrader.domain.events import Event, EventType
from ntrader.domain.identity import instant_text
from ntrader.domain.pending import Ending
from ntrader.domain.results import BacktestFailure, EnhancedBacktestResult, Outcome, Trade
from ntrader.errors import ConflictError, JournalError, NtraderError
from ntrader.services.run_files import write_run_files

if TYPE_CHECKING:
    from ntrader.domain.artifacts import Artifact
    from ntrader.domain.datasets import Dataset
    from ntrader.domain.pending import PendingRun
    from ntrader.services.workspace import Workspace
    from ntrader.storage.journal import Entry
    from ntrader.storage.store import Store

MAX_TRADE_EVENTS = 1_000
"""So many closed trades of a run are events; its file of trades has all. See specs/queries.md."""

ENDING = "ending"
"""The member of a journal entry's document that says how the run ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What became of an outcome.

    `error` says why it is not saved; `waiting` that it waits in the journal for the next command.
    """

    artifacts: tuple[Artifact, ...] = ()
    error: NtraderError | None = None
    waiting: bool = False


def begin_run(workspace: Workspace, pending: PendingRun) -> Entry:
    """Write the run to the journal, and hold its entry while it runs.

    Raises:
        JournalError: it cannot be written down, so it must not begin.
    """
    return workspace.journal.begin(pending.metadata.run_id, pending.to_json())


async def keep_outcome(
    workspace: Workspace, entry: Entry, pending: PendingRun, outcome: Outcome
) -> Kept:
    """Save the outcome of a run that was begun, or leave it in the journal."""
    try:
        artifacts = _written_files(workspace, outcome)
    except OSError as error:
        return await _without_files(workspace, entry, pending, outcome, error)
    try:
        entry.finish(
            {**pending.to_json(), ENDING: Ending.of(outcome, artifacts).to_json()},
        )
        waiting = True
    except JournalError:
        # The database may have the room that the journal lacks.
        waiting = False
    try:
        await save_run(await workspace.store(), pending, outcome, artifacts)
    except NtraderError as error:
        return Kept(error=_waiting(error) if waiting else error, waiting=waiting)
    with suppress(JournalError):
        # A file that cannot be removed is saved again, to no effect.
        entry.remove()
    return Kept(artifacts=artifacts)


def _waiting(error: NtraderError) -> NtraderError:
    """Return the error that kept a run from being saved, with the hint that it is not lost."""
    waits = "It waits in the journal; the next command that reaches the database saves it."
    return type(error)(error.message, hint=f"{waits} {error.hint}" if error.hint else waits)


def _written_files(workspace: Workspace, outcome: Outcome) -> tuple[Artifact, ...]:
    if isinstance(outcome, EnhancedBacktestResult):
        return write_run_files(workspace.artifacts, outcome)
    return ()


async def _without_files(
    workspace: Workspace, entry: Entry, pending: PendingRun, outcome: Outcome, error: OSError
) -> Kept:
    """Save a run whose result cannot be stored as the failure that it is."""
    reason = f"The files of the run cannot be written: {error.strerror or error}."
    with suppress(OSError):
        workspace.artifacts.discard(pending.metadata.run_id)
    kept = await keep_outcome(
        workspace,
        entry,
        pending,
        BacktestFailure(
            metadata=outcome.metadata,
            message=f"It ran to its end, and its result was lost. {reason}",
            traceback="",
            finished_at=outcome.finished_at,
            duration_seconds=outcome.duration_seconds,
            bars_done=0,
        ),
    )
    return Kept(
        error=kept.error
        or NtraderError(f"{reason} It is recorded as failed.", hint="Free some space."),
    )


async def save_run(
    store: Store, pending: PendingRun, outcome: Outcome, artifacts: tuple[Artifact, ...]
) -> bool:
    """Save a run whose files are written: its strategy's source, then all rows in one transaction.

    Saving it again changes nothing. Returns whether it was new.

    Raises:
        DatabaseUnavailableError: the database cannot be reached, or the connection broke: the run
            may be saved all the same.
    """
    strategy = await store.strategies.ensure(pending.strategy)
    if pending.source is not None:
        await store.sources.keep(pending.source)

    async def add(dataset: Dataset) -> bool:
        return await store.runs.add(
            outcome,
            dataset_id=dataset.id,
            strategy_id=strategy.id,
            data_source=pending.dataset.source,
            artifacts=artifacts,
            events=tuple(events_of(outcome)),
            reproduced_from=pending.reproduced_from,
            annotations=pending.annotations,
        )

    try:
        return await add(pending.dataset)
    except ConflictError:
        # The dataset was deleted while the run ran: what is known of it is kept for the run.
        return await add(await store.datasets.add(pending.dataset))


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
            for trade in outcome.trades[:MAX_TRADE_EVENTS]:
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
                    **_trades_left_out(outcome),
                },
            )
        case BacktestFailure():
            yield Event(
                type=EventType.FAILED,
                timestamp=outcome.finished_at,
                payload={"message": outcome.message, "bars_done": outcome.bars_done},
            )


def _trades_left_out(outcome: EnhancedBacktestResult) -> dict[str, int]:
    left_out = len(outcome.trades) - MAX_TRADE_EVENTS
    return {"trades_left_out": left_out} if left_out > 0 else {}


def _trade_payload(trade: Trade) -> dict[str, Any]:
    return {
        "opened_at": instant_text(trade.opened_at),
        "quantity": number(trade.quantity),
        "entry_price": number(trade.entry_price),
        "exit_price": number(trade.exit_price),
        "profit": number(trade.profit),
    }
