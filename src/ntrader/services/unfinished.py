"""Unfinished work on files and rows: what a process begins and does not end, the next one settles.

Files and rows cannot change in one step. While they do, the journal says which, so that a process
that ends in between leaves nothing half done for longer than until the next command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from ntrader.domain.pending import dataset_from_json, dataset_to_json
from ntrader.errors import ConflictError, DamagedError, JournalError, NotFoundError
from ntrader.storage import places

if TYPE_CHECKING:
    from ntrader.domain.datasets import Dataset
    from ntrader.services.workspace import Workspace
    from ntrader.storage.journal import Entry
    from ntrader.storage.store import Store

UNFINISHED = "unfinished"
"""The member of a journal entry's document that marks it as one of these."""


@contextmanager
def unfinished(
    workspace: Workspace,
    *,
    runs: Iterable[UUID] = (),
    dataset: Dataset | None = None,
    removed: Dataset | None = None,
) -> Iterator[None]:
    """Have the block's work settled by the next command if it does not come to its end.

    `runs` are those whose files and rows come or go: files that have no row then are removed. If
    the bars of `dataset` are stored by then, it gets its row. The bars of `removed` go unless it
    still has its row.
    """
    work = {
        "runs": [str(run_id) for run_id in runs],
        "dataset": None if dataset is None else dataset_to_json(dataset),
        "removed": None if removed is None else removed.content_hash,
    }
    document = {"database": workspace.place, UNFINISHED: work}
    with ExitStack() as held:
        entry: Entry | None = None
        # Without room for the entry the work is done all the same: deleting makes room.
        with suppress(JournalError):
            entry = held.enter_context(workspace.journal.begin(uuid4(), document))
        try:
            yield
        except (ConflictError, NotFoundError):
            # The database refused all of it: there is nothing to settle.
            _remove(entry)
            raise
        _remove(entry)


def _remove(entry: Entry | None) -> None:
    with suppress(JournalError):
        if entry is not None:
            entry.remove()


async def settle(workspace: Workspace, store: Store, document: Mapping[str, Any]) -> None:
    """Settle what a process left behind; doing it again changes nothing.

    Raises:
        DamagedError: another version of ntrader wrote it.
    """
    try:
        work = document[UNFINISHED]
        runs = [UUID(run_id) for run_id in work["runs"]]
        dataset = None if work["dataset"] is None else dataset_from_json(work["dataset"])
        removed = work["removed"]
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedError(f"Another version of ntrader wrote it ({error}).") from error
    for run_id in runs:
        if await store.runs.find(run_id) is None:
            workspace.artifacts.discard(run_id)
    if dataset is not None:
        with suppress(NotFoundError):
            workspace.catalog.path(dataset.content_hash)
            await store.datasets.add(dataset)
    if removed is not None and await store.datasets.find_by_hash(removed) is None:
        remove_bars(workspace, removed)


def remove_bars(workspace: Workspace, content_hash: str) -> None:
    """Remove the bars of a dataset that has no row any more, if they are on this machine.

    In a home that several databases use they stay: a dataset of another may have the same.
    """
    if places.known(workspace.home) - {workspace.place}:
        return
    with suppress(NotFoundError):
        workspace.catalog.delete(content_hash)
