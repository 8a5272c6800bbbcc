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

from ntrader.storage.jobs_schema import quoted
from ntrader.storage.transactions import Transaction

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
        transaction: Transaction,
        task: str,
        arguments: dict[str, Any],
        *,
        queue: str = RUNS,
        at: datetime | None = None,
    ) -> int:
        """Put a job into a queue, to be done now or from `at` on; return its id."""
        await self.enter(transaction)
        job_id: int = (
            await transaction.execute(
                _DEFER, {"queue": queue, "task": task, "args": arguments, "at": at}
            )
        ).scalar_one()
        return job_id

    async def put_run(self, transaction: Transaction, run_id: UUID) -> int:
        """Put a run into the queue; return the job's id."""
        return await self.put(transaction, RUN_TASK, {"run_id": str(run_id)})

    async def cancel(self, transaction: Transaction, job_id: int) -> None:
        """Take a waiting job out, or ask the worker that has it to stop; what has ended stays."""
        await self.enter(transaction)
        await transaction.execute(_CANCEL, {"job_id": job_id})

    async def enter(self, transaction: Transaction) -> None:
        """Let what follows in the transaction find the queue, and its triggers each other."""
        await transaction.execute(_PATH, {"schema": quoted(self.schema)})
