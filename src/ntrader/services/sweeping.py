"""Sweeping: what earlier processes left in the journal is saved, once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ntrader.domain.pending import Ending, PendingRun
from ntrader.domain.results import BacktestFailure, Outcome
from ntrader.errors import (
    DamagedError,
    DatabaseUnavailableError,
    JournalError,
    NotFoundError,
    NtraderError,
)
from ntrader.services.persistence import ENDING, save_run
from ntrader.services.run_files import read_equity, read_fills, read_trades
from ntrader.services.unfinished import UNFINISHED, settle

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace
    from ntrader.storage.journal import Entry
    from ntrader.storage.store import Store

ENDED_EARLY = (
    "The process ended before the run could finish: it was killed, or the machine stopped."
)

_AS_IT_ENDED = "as it ended"
_AS_FAILED = "as failed, because its process ended before it could finish"


async def sweep(workspace: Workspace, store: Store) -> None:
    """Save what waits in the journal for this database and whose process is gone.

    It never fails: what cannot be saved stays, what cannot be read is set aside, and the user is
    told of both.
    """
    saved: Counter[str] = Counter()
    try:
        workspace.journal.remove_remains()
        for run_id in workspace.journal.run_ids():
            entry = workspace.journal.claim(run_id)
            if entry is not None:
                with entry:
                    saved.update(await _save_entry(workspace, store, entry))
    except DatabaseUnavailableError:
        # All else would fail too, and the command itself tells of it.
        pass
    except JournalError as error:
        workspace.tell(error.with_hint)
    if saved:
        workspace.tell(_told(saved))


async def _save_entry(workspace: Workspace, store: Store, entry: Entry) -> list[str]:
    """Save an entry; return how, or nothing where it stays or was removed."""
    try:
        ended, document = entry.read()
        if document.get("database") != workspace.place:
            return []
        if UNFINISHED in document:
            await settle(workspace, store, document)
            entry.remove()
            return []
        pending = _pending(document)
        if ended:
            return await _save_ended(workspace, store, entry, pending, document)
        return await _save_abandoned(workspace, store, entry, pending)
    except (DamagedError, NotFoundError) as error:
        aside = entry.set_aside()
        workspace.tell(
            f"The journal's entry {entry.run_id} cannot be saved: {error.message} "
            f"It was set aside as {aside}; `ntrader db status` counts it."
        )
    except DatabaseUnavailableError:
        raise
    except NtraderError as error:
        workspace.tell(f"{entry.run_id} stays in the journal: {error.message}")
    return []


async def _save_ended(
    workspace: Workspace, store: Store, entry: Entry, pending: PendingRun, document: dict[str, Any]
) -> list[str]:
    ending = Ending.from_json(document[ENDING])
    outcome = _outcome(workspace, pending, ending)
    is_new = await save_run(store, pending, outcome, ending.artifacts)
    entry.remove()
    return [_AS_IT_ENDED] if is_new else []


def _outcome(workspace: Workspace, pending: PendingRun, ending: Ending) -> Outcome:
    failure = ending.failure(pending.metadata)
    if failure is not None:
        return failure
    files = workspace.artifacts, ending.artifacts
    return ending.result(
        pending.metadata,
        fills=read_fills(*files),
        trades=read_trades(*files),
        equity=read_equity(*files),
    )


async def _save_abandoned(
    workspace: Workspace, store: Store, entry: Entry, pending: PendingRun
) -> list[str]:
    run_id = pending.metadata.run_id
    is_new = await store.runs.find(run_id) is None
    if is_new:
        # Its process may have ended among its files. They are no result: one is missing at least.
        workspace.artifacts.discard(run_id)
        await save_run(store, pending, _ended_early(pending), ())
    entry.remove()
    return [_AS_FAILED] if is_new else []


def _ended_early(pending: PendingRun) -> BacktestFailure:
    return BacktestFailure(
        metadata=pending.metadata,
        message=ENDED_EARLY,
        traceback="",
        finished_at=datetime.now(UTC),
        duration_seconds=0.0,
        bars_done=0,
    )


def _pending(document: dict[str, Any]) -> PendingRun:
    try:
        return PendingRun.from_json(document)
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedError(f"Another version of ntrader wrote it ({error}).") from error


def _told(saved: Counter[str]) -> str:
    total = saved.total()
    runs = "1 run" if total == 1 else f"{total:,} runs"
    ways = [way if count == total else f"{count:,} {way}" for way, count in saved.items()]
    return f"Saved {runs} that waited in the journal: {', '.join(ways)}."
