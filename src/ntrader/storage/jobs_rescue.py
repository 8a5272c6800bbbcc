"""The rescue of runs whose worker is gone, and of runs whose job is."""

from uuid import UUID

from sqlalchemy import TextClause, bindparam, select, text, update
from sqlalchemy.types import Float

from ntrader.storage.database import Database
from ntrader.storage.jobs import CHANNEL
from ntrader.storage.jobs_queue import JobQueue
from ntrader.storage.jobs_schema import quoted
from ntrader.storage.jobs_tables import submissions_table as submissions
from ntrader.storage.transactions import Transaction

STALLED_SECONDS = 12.0
"""A worker that has not been heard of for so long is gone."""

_KEY = int.from_bytes(b"rescue")


async def rescue(database: Database, queue: JobQueue) -> int:
    """Put back what nobody works on any more; return how many jobs that were.

    Any number of workers may do so at once: one of them does.
    """

    async def work(transaction: Transaction) -> int:
        if not await transaction.scalar(text(f"SELECT pg_try_advisory_xact_lock({_KEY})")):
            return 0
        await queue.enter(transaction)
        freed = (
            await transaction.execute(_free(queue.schema), {"seconds": STALLED_SECONDS})
        ).rowcount
        lost = (await transaction.execute(_lost(queue.schema))).scalars().all()
        for run_id in lost:
            await _put_again(transaction, queue, run_id)
        return freed + len(lost)

    return await database.run(work)


async def _put_again(transaction: Transaction, queue: JobQueue, run_id: UUID) -> None:
    job_id = await queue.put_run(transaction, run_id)
    await transaction.execute(
        update(submissions).where(submissions.c.run_id == run_id).values(job_id=job_id)
    )
    await transaction.execute(select(text(f"pg_notify('{CHANNEL}', '{run_id}')")))


def _free(schema: str) -> TextClause:
    """Return the statement that frees jobs of workers that are gone.

    procrastinate lists such jobs and puts them back one by one: of two workers that do so at once,
    the slower one would put back a job that a third has begun meanwhile. One statement looks again
    at what it changes.
    """
    at = quoted(schema)
    return text(
        f"UPDATE {at}.procrastinate_jobs AS job"  # noqa: S608
        " SET status = 'todo', attempts = attempts + 1, worker_id = NULL, abort_requested = false"
        " WHERE job.status = 'doing' AND NOT EXISTS ("
        f"   SELECT FROM {at}.procrastinate_workers AS worker WHERE worker.id = job.worker_id"
        "    AND worker.last_heartbeat > now() - make_interval(secs => :seconds))"
    ).bindparams(bindparam("seconds", type_=Float))


def _lost(schema: str) -> TextClause:
    """Return the query for runs that are not over and whose job is: the queue was emptied, say."""
    at = quoted(schema)
    return text(
        "SELECT run_id FROM submissions AS submission"  # noqa: S608
        " WHERE status IN ('queued', 'running', 'cancelling')"
        " AND submitted_at < now() - interval '5 seconds' AND NOT EXISTS ("
        f"  SELECT FROM {at}.procrastinate_jobs AS job"
        "   WHERE job.id = submission.job_id AND job.status IN ('todo', 'doing'))"
    )
