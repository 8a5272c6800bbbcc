"""Deletion of runs: their rows, then their files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from ntrader.domain.artifacts import Artifact
from ntrader.domain.deletion import Deletion
from ntrader.domain.runs import BacktestRun
from ntrader.services.unfinished import unfinished

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace


async def plan_deletion(workspace: Workspace, references: Sequence[str]) -> Deletion:
    """Return what deleting these runs would take; nothing is changed.

    Raises:
        NotFoundError: there is no such run.
        AmbiguousReferenceError: a reference fits more than one run.
    """
    store = await workspace.store()
    runs: dict[UUID, BacktestRun] = {}
    for reference in references:
        run = await store.runs.resolve(reference)
        runs[run.run_id] = run
    files: list[Artifact] = []
    for run_id in runs:
        files += await store.runs.artifacts(run_id)
    reproductions = await store.runs.reproductions(runs)
    return Deletion(
        runs=tuple(runs.values()),
        files=tuple(files),
        reproductions=tuple(run_id for run_id in reproductions if run_id not in runs),
    )


async def delete_runs(workspace: Workspace, plan: Deletion) -> Deletion:
    """Delete the runs of a plan: all rows in one transaction, then the files.

    What a process leaves that ends between the two, the next command removes.

    Raises:
        NotFoundError: a run is gone already; then none is deleted.
    """
    store = await workspace.store()
    wanted = [run.run_id for run in plan.runs]
    with unfinished(workspace, runs=wanted):
        files = await store.runs.delete(wanted)
        left = tuple(_not_removed(workspace, files))
    return replace(plan, files=files, left=left, done=True)


def _not_removed(workspace: Workspace, files: Iterable[Artifact]) -> Iterable[Artifact]:
    for file in files:
        try:
            workspace.artifacts.remove([file])
        except OSError:
            yield file
