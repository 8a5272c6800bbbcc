"""The queue as our own transactions use it: a job is there exactly if what it is for is there.

Jobs are put in and cancelled by procrastinate's own functions of the database, through our
connection; `ntrader.storage.jobs_consumer` takes them out.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Text, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from ntrader.storage.jobs_schema import quoted

RUNS = "ntrader_runs"
"""The queue of runs."""

RUN_TASK = "run"
"""The task that carries out a run; its argument is `run_id`."""

_PATH = text(
    "SELECT set_config('search_path', :schema || ', ' || current_setting('search_path'), true)"
)
_DEFER = text(
    "SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW(:queue, :task, 0, NULL, NULL, :args, :at)"
    "::procrastinate_job_to_defer_v1])) AS job_id"
).bindparams(
    bindparam("queue", type_=Text),
    bindparam("task", type_=Text),
    bindparam("args", type_=JSONB),
    bindparam("at", type_=DateTime(timezone=True)),
)
_CANCEL = text("SELECT procrastinate_cancel_job_v1(:job_id, true, false)").bindparams(
    bindparam("job_id", type_=BigInteger)
)


@dataclass(frozen=True, slots=True)
class JobQueue:
    """The queue in one schema; every method works within the caller's transaction."""

    schema: str

    async def put(
        self,
        connection: AsyncConnection,
        task: str,
        arguments: dict[str, Any],
        *,
        queue: str = RUNS,
        at: datetime | None = None,
    ) -> int:
        """Put a job into a queue, to be done now or from `at` on; return its id."""
        await self.enter(connection)
        job_id: int = (
            await connection.execute(
                _DEFER, {"queue": queue, "task": task, "args": arguments, "at": at}
            )
        ).scalar_one()
        return job_id

    async def put_run(self, connection: AsyncConnection, run_id: UUID) -> int:
        """Put a run into the queue; return the job's id."""
        return await self.put(connection, RUN_TASK, {"run_id": str(run_id)})

    async def cancel(self, connection: AsyncConnection, job_id: int) -> None:
        """Take a waiting job out, or ask the worker that has it to stop; what has ended stays."""
        await self.enter(connection)
        await connection.execute(_CANCEL, {"job_id": job_id})

    async def enter(self, connection: AsyncConnection) -> None:
        """Let what follows in the transaction find the queue, and its triggers each other."""
        await connection.execute(_PATH, {"schema": quoted(self.schema)})
