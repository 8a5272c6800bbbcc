"""What there is to watch, as cheap SQL: nothing here reads all runs."""

from typing import Any

from sqlalchemy import BigInteger, TextClause, bindparam, func, select, text

from ntrader.domain.figures import EndedRun, ServiceFigures
from ntrader.domain.runs import RunStatus
from ntrader.domain.submissions import SubmissionStatus
from ntrader.storage.database import Database
from ntrader.storage.jobs_queue import JobQueue
from ntrader.storage.jobs_rescue import STALLED_SECONDS
from ntrader.storage.jobs_schema import quoted
from ntrader.storage.tables import runs_table as runs
from ntrader.storage.transactions import Transaction

MOST_ENDED = 10_000

# Each run is counted once by its total return, undefined or not, or as a failed one.
_RUNS = text(
    "SELECT strategy_name AS strategy, subject, sum(runs)::bigint AS runs FROM run_statistics"
    " WHERE subject IN ('failed', 'total_return') GROUP BY 1, 2"
)
_QUEUE = text(
    "SELECT status::text AS status, count(*) AS runs,"
    " coalesce(extract(epoch FROM now() - min(submitted_at)), 0)::float8 AS age"
    " FROM submissions WHERE status IN ('queued', 'running', 'cancelling') GROUP BY 1"
)
_DELIVERIES = text(
    "SELECT count(*) AS deliveries,"
    " coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age"
    " FROM webhook_deliveries WHERE status = 'pending'"
)
_OPEN = (SubmissionStatus.QUEUED, SubmissionStatus.RUNNING, SubmissionStatus.CANCELLING)


async def newest_position(database: Database) -> int:
    """Return the position of the run that was saved last, 0 without one."""
    found = await database.fetch(select(func.coalesce(func.max(runs.c.id), 0)))
    return int(found[0][0])


async def read_figures(database: Database, queue: JobQueue, *, since: int) -> ServiceFigures:
    """Return the figures of now, with the runs that were saved after position `since`."""

    async def work(transaction: Transaction) -> ServiceFigures:
        saved = await transaction.execute(_RUNS)
        waiting = {row.status: row for row in await transaction.execute(_QUEUE)}
        deliveries = (await transaction.execute(_DELIVERIES)).one()
        ended = await transaction.execute(
            select(
                runs.c.id,
                runs.c.strategy_name,
                runs.c.execution_status,
                runs.c.execution_duration_seconds,
            )
            .where(runs.c.id > bindparam("since", since, type_=BigInteger))
            .order_by(runs.c.id)
            .limit(MOST_ENDED)
        )
        queued = waiting.get(SubmissionStatus.QUEUED.value)
        return ServiceFigures(
            runs={(row.strategy, _status_of(row.subject)): row.runs for row in saved},
            queue={
                each.value: waiting[each.value].runs if each.value in waiting else 0
                for each in _OPEN
            },
            queue_age_seconds=0.0 if queued is None else queued.age,
            deliveries=deliveries.deliveries,
            deliveries_age_seconds=deliveries.age,
            workers=await transaction.scalar(_workers(queue.schema)) or 0,
            ended=[_ended(row) for row in ended],
        )

    return await database.run(work)


async def is_queue_there(database: Database, queue: JobQueue) -> bool:
    """Whether jobs can be put into the queue."""
    table = f"{quoted(queue.schema)}.procrastinate_jobs"
    found = await database.fetch(text("SELECT to_regclass(:table)").bindparams(table=table))
    return found[0][0] is not None


def _workers(schema: str) -> TextClause:
    return text(
        f"SELECT count(*) FROM {quoted(schema)}.procrastinate_workers"  # noqa: S608
        f" WHERE last_heartbeat > now() - interval '{STALLED_SECONDS} seconds'"
    )


def _status_of(subject: str) -> str:
    return (RunStatus.FAILED if subject == "failed" else RunStatus.SUCCESS).value


def _ended(row: Any) -> EndedRun:
    return EndedRun(
        row.id,
        row.strategy_name,
        row.execution_status.value,
        float(row.execution_duration_seconds or 0),
    )
