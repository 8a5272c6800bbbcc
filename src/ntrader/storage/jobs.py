"""The repository of submissions, and of what is told when one changes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    delete,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from ntrader.domain.submissions import (
    FINAL,
    NewSubmission,
    RunProgress,
    Submission,
    SubmissionStatus,
)
from ntrader.errors import NotFoundError
from ntrader.storage.database import Database
from ntrader.storage.jobs_queue import JobQueue
from ntrader.storage.jobs_tables import submissions_table as submissions
from ntrader.storage.transactions import Transaction
from ntrader.storage.webhooks import announce

CHANNEL = "ntrader_submissions"
"""Where the database tells that a submission has changed; the message is the run's id."""

_RESERVED = {"job_id"}
_COLUMNS = [each for each in submissions.columns if each.name not in _RESERVED]
_CANCELLABLE = (SubmissionStatus.QUEUED, SubmissionStatus.RUNNING, SubmissionStatus.CANCELLING)
_BEGINNABLE = (SubmissionStatus.QUEUED, SubmissionStatus.RUNNING)

# Several times a second for each run: one statement does it all.
_PROGRESS = text(
    "WITH told AS (UPDATE submissions SET progress = :progress, version = version + 1"
    " WHERE run_id = :run_id AND status = 'running' RETURNING run_id)"
    " SELECT pg_notify(:channel, run_id::text) FROM told"
).bindparams(
    bindparam("run_id", type_=Uuid),
    bindparam("progress", type_=JSONB),
    bindparam("channel", CHANNEL, type_=Text),
)


class SubmissionRepository:
    """Runs that the service has accepted.

    Whoever listens on `CHANNEL` hears of every change when it is committed. Every method raises
    `DatabaseUnavailableError` where the database cannot be reached.
    """

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self.database = database
        self.queue = queue

    async def add(self, new: NewSubmission) -> Submission:
        """Accept a run and put it into the queue; one that is accepted already stays as it is."""

        async def accept(transaction: Transaction) -> Submission:
            values = {
                "run_id": new.run_id,
                "kind": new.kind,
                "request": new.request,
                "strategy_id": new.strategy_id,
                "dataset_id": new.dataset_id,
                "original_run_id": new.original,
                "request_id": new.request_id,
            }
            statement = insert(submissions).values(values).on_conflict_do_nothing()
            if (await transaction.execute(statement)).rowcount:
                job_id = await self.queue.put_run(transaction, new.run_id)
                await transaction.execute(
                    update(submissions).where(_is(new.run_id)).values(job_id=job_id)
                )
                await _tell(transaction, new.run_id)
            return _submission((await transaction.execute(_select().where(_is(new.run_id)))).one())

        return await self.database.run(accept)

    async def find(self, run_id: UUID) -> Submission | None:
        """Return the submission, or None."""
        found = await self.database.fetch(_select().where(_is(run_id)))
        return _submission(found[0]) if found else None

    async def get(self, run_id: UUID) -> Submission:
        """Return the submission.

        Raises:
            NotFoundError: there is none.
        """
        found = await self.find(run_id)
        if found is None:
            raise NotFoundError(f"There is no run {run_id}.")
        return found

    async def page(
        self,
        statuses: Sequence[SubmissionStatus],
        *,
        limit: int,
        after: tuple[datetime, UUID] | None = None,
    ) -> tuple[Submission, ...]:
        """Return submissions with one of these statuses (all if there is none), newest first.

        `after` is the instant and the run of the last submission of the page before.
        """
        key = (submissions.c.submitted_at, submissions.c.run_id)
        statement = _select().order_by(*(each.desc() for each in key)).limit(limit)
        if statuses:
            statement = statement.where(submissions.c.status.in_(statuses))
        if after is not None:
            statement = statement.where(tuple_(*key) < tuple_(*after))
        return tuple(_submission(row) for row in await self.database.fetch(statement))

    async def begin(self, run_id: UUID, worker: str) -> Submission | None:
        """Note that a worker begins the run; None where it has ended or is to be cancelled."""
        return await self._change(
            _set(
                run_id,
                status=SubmissionStatus.RUNNING,
                attempts=submissions.c.attempts + 1,
                worker=worker,
                started_at=func.now(),
                progress=None,
            ).where(submissions.c.status.in_(_BEGINNABLE))
        )

    async def give_back(self, run_id: UUID) -> None:
        """Note that a worker stops the run to have it begun again; the attempt does not count."""
        await self._change(
            _set(
                run_id,
                status=SubmissionStatus.QUEUED,
                attempts=func.greatest(submissions.c.attempts - 1, 0),
                worker=None,
                started_at=None,
                progress=None,
            ).where(submissions.c.status == SubmissionStatus.RUNNING)
        )

    async def tell_progress(self, run_id: UUID, progress: RunProgress) -> None:
        """Note how far the run has come."""

        async def note(transaction: Transaction) -> None:
            await transaction.execute(_PROGRESS, {"run_id": run_id, "progress": progress.to_dict()})

        await self.database.run(note)

    async def end(
        self, run_id: UUID, status: SubmissionStatus, *, error: str | None = None
    ) -> Submission | None:
        """Note how the run has ended; None where it had ended before, or is unknown."""
        return await self._change(
            _set(run_id, status=status, error=error, finished_at=func.now()).where(
                submissions.c.status.not_in(FINAL)
            )
        )

    async def cancel(self, run_id: UUID) -> Submission | None:
        """Cancel the run: at once where it waits, else its worker is asked to stop it.

        Returns None where it has ended before, or is unknown.
        """

        async def work(transaction: Transaction) -> Submission | None:
            waits = submissions.c.status == SubmissionStatus.QUEUED
            cancelled, cancelling = SubmissionStatus.CANCELLED, SubmissionStatus.CANCELLING
            status = submissions.c.status.type
            statement = (
                _set(
                    run_id,
                    status=case(
                        (waits, bindparam("now", cancelled, type_=status)),
                        else_=bindparam("soon", cancelling, type_=status),
                    ),
                    finished_at=case((waits, func.now())),
                )
                .where(submissions.c.status.in_(_CANCELLABLE))
                .returning(*_COLUMNS, submissions.c.job_id)
            )
            row = (await transaction.execute(statement)).one_or_none()
            if row is None:
                return None
            if row.job_id is not None:
                await self.queue.cancel(transaction, row.job_id)
            return await self._told(transaction, row)

        return await self.database.run(work)

    async def delete(self, run_id: UUID) -> bool:
        """Forget a submission that has ended; return whether there was one."""

        async def work(transaction: Transaction) -> bool:
            statement = delete(submissions).where(_is(run_id), submissions.c.status.in_(FINAL))
            deleted = (await transaction.execute(statement)).rowcount > 0
            if deleted:
                await _tell(transaction, run_id)
            return deleted

        return await self.database.run(work)

    async def _change(self, statement: Update) -> Submission | None:
        async def work(transaction: Transaction) -> Submission | None:
            row = (await transaction.execute(statement.returning(*_COLUMNS))).one_or_none()
            if row is None:
                return None
            return await self._told(transaction, row)

        return await self.database.run(work)

    async def _told(self, transaction: Transaction, row: Row[Any]) -> Submission:
        """Return a submission that has changed, after telling of it who listens for that."""
        await _tell(transaction, row.run_id)
        changed = _submission(row)
        if changed.status.is_final:
            await announce(transaction, self.queue, changed)
        return changed


def _set(run_id: UUID, **values: Any) -> Update:
    return (
        update(submissions)
        .where(and_(_is(run_id)))
        .values({**values, "version": submissions.c.version + 1})
    )


def _is(run_id: UUID) -> ColumnElement[bool]:
    return submissions.c.run_id == run_id


def _select() -> Select[Any]:
    return select(*_COLUMNS)


async def _tell(transaction: Transaction, run_id: UUID) -> None:
    await transaction.execute(select(func.pg_notify(CHANNEL, str(run_id))))


def _submission(row: Row[Any]) -> Submission:
    return Submission(
        run_id=row.run_id,
        kind=row.kind,
        status=row.status,
        request=row.request,
        strategy_id=row.strategy_id,
        dataset_id=row.dataset_id,
        original=row.original_run_id,
        request_id=row.request_id,
        attempts=row.attempts,
        progress=None if row.progress is None else RunProgress.from_dict(row.progress),
        error=row.error,
        worker=row.worker,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        version=row.version,
    )
