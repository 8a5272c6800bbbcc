"""History: finding and reading saved runs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from ntrader.domain.events import Event, EventType
from ntrader.domain.queries import Cursor, Page, RunFilter, RunList, RunOrder
from ntrader.domain.runs import BacktestRun, RunDetails, RunStatus
from ntrader.domain.strategies import ClassInFile, StrategyType
from ntrader.errors import DamagedError, NotFoundError, UsageError
from ntrader.services.run_files import read_equity, read_fills, read_trades
from ntrader.services.staleness import stale_pins
from ntrader.services.strategies import registered_name

if TYPE_CHECKING:
    from ntrader.domain.results import Trade
    from ntrader.domain.summaries import StrategySummary
    from ntrader.services.workspace import Workspace
    from ntrader.storage.store import Store


async def list_runs(
    workspace: Workspace,
    where: RunFilter,
    order: RunOrder,
    *,
    limit: int,
    after: Cursor | None = None,
) -> RunList:
    """Return one page of the runs that match, and which of them are stale.

    Raises:
        CursorMismatchError: `after` belongs to another filter or order.
        UsageError: no strategy is of the type that is wanted.
    """

    async def page_of(store: Store) -> Page[BacktestRun]:
        found = await store.runs.page(where, order, limit=limit, after=after)
        if not found.items and where.strategy_type is not None:
            await _refuse_unknown_type(store, where.strategy_type)
        return found

    page = await workspace.read(page_of)
    return RunList(page, stale_pins(page.items))


async def _refuse_unknown_type(store: Store, wanted: str) -> None:
    """Tell a type that no run has from one that no run has under the other conditions."""
    if wanted in StrategyType:
        return
    of_type = await store.runs.page(RunFilter(strategy_type=wanted), RunOrder(), limit=1)
    if not of_type.items:
        raise UsageError(
            f"No run is of a strategy of type {wanted!r}.",
            hint=f"The types are {', '.join(StrategyType)}, and what your own strategies declare.",
        )


async def runs_beginning(
    workspace: Workspace, beginning: str, *, limit: int
) -> tuple[BacktestRun, ...]:
    """Return the newest runs whose id begins so, at most `limit`; none for what is no beginning."""
    store = await workspace.store()
    return await store.runs.beginning(beginning, limit=limit)


async def summarize_runs(workspace: Workspace, where: RunFilter) -> tuple[StrategySummary, ...]:
    """Return what the matching runs of each strategy amount to, by the strategy's name."""
    return await workspace.read(lambda store: store.runs.summaries(where))


async def find_run(workspace: Workspace, reference: str) -> BacktestRun:
    """Return a run; errors as for `read_run`."""
    store = await workspace.store()
    return await store.runs.resolve(reference)


async def trades_of(workspace: Workspace, reference: str) -> tuple[BacktestRun, tuple[Trade, ...]]:
    """Return a run and its closed trades; none for a failed one. Errors as for `read_run`."""
    store = await workspace.store()
    run = await store.runs.resolve(reference)
    if run.status is RunStatus.FAILED:
        return run, ()
    return run, read_trades(workspace.artifacts, await store.runs.artifacts(run.run_id))


async def events_of_run(workspace: Workspace, reference: str) -> tuple[Event, ...]:
    """Return what happened in a run's life, in order. Errors as for `read_run`."""
    store = await workspace.store()
    run = await store.runs.resolve(reference)
    return await store.runs.events(run.run_id)


async def read_run(workspace: Workspace, reference: str) -> RunDetails:
    """Return a run with its files and what they hold; unreadable files are told, not raised.

    Raises:
        NotFoundError: there is no such run.
        AmbiguousReferenceError: the reference fits more than one run.
    """
    store = await workspace.store()
    run = await store.runs.resolve(reference)
    artifacts = await store.runs.artifacts(run.run_id)
    stale = stale_pins([run]).get(run.run_id, ())
    if run.status is RunStatus.FAILED:
        return RunDetails(run=run, artifacts=artifacts, stale=stale)
    noted = await store.runs.events(run.run_id, of_type=EventType.WARNING)
    details = RunDetails(
        run=run,
        artifacts=artifacts,
        warnings=tuple(str(event.payload["message"]) for event in noted),
        stale=stale,
    )
    try:
        return replace(
            details,
            fills=read_fills(workspace.artifacts, artifacts),
            equity=read_equity(workspace.artifacts, artifacts),
        )
    except (NotFoundError, DamagedError) as error:
        return replace(details, problem=error.with_hint)


def strategy_filter(text: str) -> RunFilter:
    """Return the filter for the runs of a strategy, named as `ntrader run` takes it.

    Runs keep a strategy's name, whichever alias was used, and for a class in a file its path too.

    Raises:
        NotFoundError: `text` names a file and no class in it.
    """
    in_file = ClassInFile.parse(text)
    if in_file is not None:
        return RunFilter(strategy_path=str(in_file.located()))
    return RunFilter(strategy=registered_name(text) or text)


def parameter_value(text: str) -> int | float | bool | str:
    """Read a parameter's value as it is stored: an integer, a float, a truth value or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        # What is stored is JSON, which has no NaN and no infinity.
        return value if math.isfinite(value) else text
    return text
