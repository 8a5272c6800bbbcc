"""The repository of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import batched
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, any_, bindparam, delete, select

from ntrader.domain.annotations import NOTHING_SAID, Annotations
from ntrader.domain.artifacts import Artifact
from ntrader.domain.events import Event, EventType
from ntrader.domain.queries import Count, Cursor, Page, RunFilter, RunOrder
from ntrader.domain.results import Outcome
from ntrader.domain.runs import BacktestRun, RunMode
from ntrader.domain.summaries import StrategySummary
from ntrader.errors import AmbiguousReferenceError, ConflictError, NotFoundError
from ntrader.storage import rows
from ntrader.storage.bulk import BATCH, copy_runs
from ntrader.storage.database import Database
from ntrader.storage.pages import Pages
from ntrader.storage.queries import count_statement
from ntrader.storage.references import Newest, Prefix, parse_prefix, parse_reference
from ntrader.storage.run_rows import run_from, runs_with_details
from ntrader.storage.saving import NewRun, save_run
from ntrader.storage.summaries import summary_from, summary_statement
from ntrader.storage.tables import artifacts_table, events_table, runs_table
from ntrader.storage.transactions import Transaction

COUNT_CAP = 1_000

_CANDIDATES = 10
_EVENT = (events_table.c.event_type, events_table.c.timestamp, events_table.c.payload)


class RunRepository:
    """Runs, with their metrics, files and events.

    A run is never changed once it is saved. Every method raises `DatabaseUnavailableError` where
    the database cannot be reached.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pages = Pages(database)

    async def get(self, run_id: UUID) -> BacktestRun:
        """Return the run.

        Raises:
            NotFoundError: there is none.
        """
        run = await self.find(run_id)
        if run is None:
            raise NotFoundError(f"There is no run {run_id}.", hint=_LIST)
        return run

    async def find(self, run_id: UUID) -> BacktestRun | None:
        """Return the run, or None."""
        found = await self._runs(_one_run(), run_id=run_id)
        return found[0] if found else None

    async def get_many(self, run_ids: Sequence[UUID]) -> tuple[BacktestRun, ...]:
        """Return the runs in the order of `run_ids`, read by one query.

        Raises:
            NotFoundError: one of them is not there; the message names it.
        """
        found = await self._runs(_many_runs(), run_ids=list(run_ids))
        by_id = {run.run_id: run for run in found}
        for run_id in run_ids:
            if run_id not in by_id:
                raise NotFoundError(f"There is no run {run_id}.", hint=_LIST)
        return tuple(by_id[run_id] for run_id in run_ids)

    async def resolve(self, reference: str) -> BacktestRun:
        """Return the run that a user means.

        `reference` is an id, at least the first four characters of one, `@` for the newest run,
        or `@~N` for the one that is N runs older.

        Raises:
            UsageError: it is none of these.
            NotFoundError: there is no such run.
            AmbiguousReferenceError: several ids begin so; the hint lists them.
        """
        match parse_reference(reference):
            case Newest(back):
                return await self._newest(reference, back)
            case Prefix(whole) as prefix if prefix.is_whole:
                return await self.get(whole)
            case Prefix() as prefix:
                return await self._by_prefix(reference, prefix)

    async def beginning(self, text: str, *, limit: int) -> tuple[BacktestRun, ...]:
        """Return the newest runs whose id begins so, at most `limit`; none if no id can."""
        prefix = parse_prefix(text, shortest=0)
        if prefix is None:
            return ()
        within = runs_table.c.run_id.between(prefix.first, prefix.last)
        return await self._runs(_newest_first().where(within).limit(limit))

    async def resolve_many(self, references: Sequence[str]) -> tuple[BacktestRun, ...]:
        """Return the runs that a user means, in order; whole ids are read by one query.

        Raises: as `resolve`.
        """
        wanted = [parse_reference(reference) for reference in references]
        whole = [each.first for each in wanted if isinstance(each, Prefix) and each.is_whole]
        by_id = {run.run_id: run for run in await self.get_many(whole)} if whole else {}
        return tuple(
            [
                by_id[each.first]
                if isinstance(each, Prefix) and each.is_whole
                else await self.resolve(reference)
                for each, reference in zip(wanted, references, strict=True)
            ]
        )

    async def page(
        self, where: RunFilter, order: RunOrder, *, limit: int, after: Cursor | None = None
    ) -> Page[BacktestRun]:
        """Return one page of the runs that match `where`.

        Undefined values come last in both directions, failed runs among them; of equal runs the
        newer one comes first.

        Raises:
            CursorMismatchError: `after` was issued for another order or filter.
        """
        found = await self._pages.rows(where, order, limit=limit + 1, after=after)
        items = tuple(run_from(row) for row in found[:limit])
        if len(found) <= limit or not items:
            return Page(items, None)
        last = found[limit - 1]
        scope = Cursor.scope_of(where, order)
        return Page(items, Cursor(scope, rows.order_text(last["order_value"]), last["id"]))

    async def count(self, where: RunFilter, *, cap: int = COUNT_CAP) -> Count:
        """Return how many runs match `where`, counted up to `cap`."""
        value = (await self._database.fetch(count_statement(where, cap=cap)))[0][0]
        return Count(min(value, cap), value > cap)

    async def summaries(self, where: RunFilter) -> tuple[StrategySummary, ...]:
        """Return what the matching runs of each strategy amount to, by the strategy's name."""
        found = await self._database.fetch(summary_statement(where))
        return tuple(summary_from(row) for row in found)

    async def same_question(self, fingerprint: str, limit: int) -> tuple[BacktestRun, ...]:
        """Return the newest runs that asked the same question, failed ones included."""
        return await self._runs(
            _newest_first().where(runs_table.c.fingerprint == fingerprint).limit(limit)
        )

    async def reproductions(self, run_ids: Iterable[UUID]) -> tuple[UUID, ...]:
        """Return the runs that reproduced one of these, oldest first."""
        found = await self._database.fetch(
            select(runs_table.c.run_id)
            .where(runs_table.c.reproduced_from_run_id.in_(list(run_ids)))
            .order_by(runs_table.c.id)
        )
        return tuple(row.run_id for row in found)

    async def artifacts(self, run_id: UUID) -> tuple[Artifact, ...]:
        """Return what is known of the run's files, by name."""
        statement = select(*artifacts_table.columns).where(artifacts_table.c.run_id == run_id)
        found = await self._database.fetch(statement.order_by(artifacts_table.c.filename))
        return tuple(rows.artifact_from(row) for row in found)

    async def artifacts_of(self, run_ids: Sequence[UUID]) -> dict[UUID, tuple[Artifact, ...]]:
        """Return what is known of the files of each run, by name, read by one query."""
        statement = select(*artifacts_table.columns).where(artifacts_table.c.run_id.in_(run_ids))
        found = await self._database.fetch(statement.order_by(artifacts_table.c.filename))
        artifacts = [rows.artifact_from(row) for row in found]
        return {
            run_id: tuple(each for each in artifacts if each.run_id == run_id) for run_id in run_ids
        }

    async def events(self, run_id: UUID, *, of_type: EventType | None = None) -> tuple[Event, ...]:
        """Return the run's events, all or of one type, in the order of their recording."""
        where = [events_table.c.run_id == run_id]
        if of_type is not None:
            where.append(events_table.c.event_type == of_type)
        found = await self._database.fetch(
            select(*_EVENT).where(*where).order_by(events_table.c.id)
        )
        return tuple(rows.event_from(row) for row in found)

    async def event_page(
        self, run_id: UUID, *, limit: int, after: int = 0
    ) -> tuple[tuple[Event, ...], int | None]:
        """Return `limit` of the run's events in the order of their recording, and what follows.

        `after` is where the page before said that this one follows; None is said at the end.
        """
        # The run's events are found by the run and sorted: without the fence the planner may walk
        # all events in the order of their ids instead, and look for those of one run.
        mine = (
            select(*_EVENT, events_table.c.id)
            .where(events_table.c.run_id == run_id, events_table.c.id > after)
            .cte("mine")
            .prefix_with("MATERIALIZED")
        )
        found = await self._database.fetch(select(mine).order_by(mine.c.id).limit(limit + 1))
        shown = found[:limit]
        events = tuple(rows.event_from(row) for row in shown)
        return events, shown[-1].id if len(found) > limit else None

    async def add(
        self,
        outcome: Outcome,
        *,
        dataset_id: UUID,
        strategy_id: UUID,
        data_source: str,
        artifacts: Sequence[Artifact] = (),
        events: Sequence[Event] = (),
        reproduced_from: UUID | None = None,
        annotations: Annotations = NOTHING_SAID,
        mode: RunMode = RunMode.BACKTEST,
    ) -> bool:
        """Save a run and all that belongs to it in one transaction; return whether it was new.

        A run that is there already stays as it is, so that saving again is safe. An original that
        was deleted meanwhile is forgotten, the run is not.

        Raises:
            ConflictError: the dataset or the strategy does not exist.
            DatabaseError: a value breaks one of the store's rules.
        """
        return await self._add_one(
            NewRun(
                outcome=outcome,
                dataset_id=dataset_id,
                strategy_id=strategy_id,
                data_source=data_source,
                artifacts=artifacts,
                events=events,
                reproduced_from=reproduced_from,
                annotations=annotations,
                mode=mode,
            )
        )

    async def add_many(self, runs: Sequence[NewRun]) -> int:
        """Save many runs by COPY, in transactions of `BATCH` runs; return how many were new.

        Those that are there already stay as they are. Errors as for `add`.
        """
        return sum([await self._add_batch(batch) for batch in batched(runs, BATCH)])

    async def _add_batch(self, runs: Sequence[NewRun]) -> int:
        try:
            return await self._database.run(lambda transaction: copy_runs(transaction, runs))
        except ConflictError:
            # One was saved meanwhile, or is wrong; `add` tells which.
            return sum([await self._add_one(run) for run in runs])

    async def _add_one(self, run: NewRun) -> bool:
        return await self._database.run(lambda transaction: save_run(transaction, run))

    async def delete(self, run_ids: Iterable[UUID]) -> tuple[Artifact, ...]:
        """Delete runs with all that belongs to them; return the files to remove.

        Raises:
            NotFoundError: one of them is not there; then none is deleted.
        """
        wanted = frozenset(run_ids)
        # What an attempt removed whose confirmation was lost: the next one finds nothing.
        removed: tuple[Artifact, ...] | None = None

        async def remove(transaction: Transaction) -> tuple[Artifact, ...]:
            nonlocal removed
            files = await transaction.execute(
                delete(artifacts_table)
                .where(artifacts_table.c.run_id.in_(wanted))
                .returning(*artifacts_table.columns)
            )
            artifacts = tuple(rows.artifact_from(row) for row in files)
            deleted = await transaction.execute(
                delete(runs_table)
                .where(runs_table.c.run_id.in_(wanted))
                .returning(runs_table.c.run_id)
            )
            missing = wanted.difference(deleted.scalars())
            if removed is not None and missing == wanted:
                return removed
            if missing:
                raise NotFoundError(f"There is no run {min(missing)}.", hint=_LIST)
            removed = artifacts
            return artifacts

        return await self._database.run(remove)

    async def _newest(self, reference: str, back: int) -> BacktestRun:
        found = await self._runs(_newest_first().offset(back).limit(1))
        if not found:
            message = f"There is no run {reference}." if back else "There is no run yet."
            raise NotFoundError(message, hint=_LIST if back else "Begin with `ntrader run`.")
        return found[0]

    async def _by_prefix(self, reference: str, prefix: Prefix) -> BacktestRun:
        found = await self._runs(
            _newest_first()
            .where(runs_table.c.run_id.between(prefix.first, prefix.last))
            .limit(_CANDIDATES + 1)
        )
        if not found:
            raise NotFoundError(f"There is no run {reference}.", hint=_LIST)
        if len(found) > 1:
            more = [] if len(found) <= _CANDIDATES else ["and more"]
            candidates = [_candidate(run) for run in found[:_CANDIDATES]]
            raise AmbiguousReferenceError(
                f"{reference!r} is the beginning of more than one run.",
                hint="\n".join(["Give more characters. It may be:", *candidates, *more]),
            )
        return found[0]

    async def _runs(self, statement: Select[Any], **values: Any) -> tuple[BacktestRun, ...]:
        return tuple(run_from(row) for row in await self._database.read(statement, **values))


_LIST = "`ntrader history` lists the runs."


@cache
def _one_run() -> Select[Any]:
    return runs_with_details().where(runs_table.c.run_id == bindparam("run_id"))


@cache
def _many_runs() -> Select[Any]:
    wanted = bindparam("run_ids", type_=ARRAY(Uuid))
    return runs_with_details().where(runs_table.c.run_id == any_(wanted))


def _newest_first() -> Select[Any]:
    return runs_with_details().order_by(runs_table.c.created_at.desc(), runs_table.c.id.desc())


def _candidate(run: BacktestRun) -> str:
    return f"  {run.run_id}  {run.strategy_name}  {run.symbol}  {run.created_at:%Y-%m-%d %H:%M:%S}Z"
