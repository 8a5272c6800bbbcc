"""Annotations: what a user says of a saved run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ntrader.domain.annotations import Annotations, checked_note, checked_tags
from ntrader.domain.runs import BacktestRun

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace


async def tag_run(workspace: Workspace, reference: str, tags: Sequence[str]) -> BacktestRun:
    """Put tags on a run and return it; those that it has stay.

    Raises:
        UsageError: a tag is not one word of printable characters.
        NotFoundError: there is no such run.
        AmbiguousReferenceError: the reference fits more than one run.
    """
    said = Annotations(tags=checked_tags(tags))
    store = await workspace.store()
    run = await store.runs.resolve(reference)
    await store.annotations.add(run.run_id, said)
    return await store.runs.get(run.run_id)


async def untag_run(workspace: Workspace, reference: str, tags: Sequence[str]) -> BacktestRun:
    """Take tags off a run and return it; errors as for `tag_run`."""
    unwanted = checked_tags(tags)
    store = await workspace.store()
    run = await store.runs.resolve(reference)
    await store.annotations.remove_tags(run.run_id, unwanted)
    return await store.runs.get(run.run_id)


async def note_run(workspace: Workspace, reference: str, note: str | None) -> BacktestRun:
    """Write a run's note, or clear it (None), and return the run.

    Raises:
        UsageError: the note is empty, too long, or has control characters.
        NotFoundError: there is no such run.
        AmbiguousReferenceError: the reference fits more than one run.
    """
    said = None if note is None else Annotations(note=checked_note(note))
    store = await workspace.store()
    run = await store.runs.resolve(reference)
    if said is None:
        await store.annotations.clear_note(run.run_id)
    else:
        await store.annotations.add(run.run_id, said)
    return await store.runs.get(run.run_id)
