"""The worker: takes accepted runs out of the queue and has them carried out in its slots."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from ntrader import logs, tracing
from ntrader.domain.submissions import MAX_ATTEMPTS, RunProgress, Submission, SubmissionStatus
from ntrader.errors import DatabaseError, DatabaseUnavailableError
from ntrader.services.jobs_attempts import Attempt, AttemptOutcome, AttemptWatcher, NoWatcher
from ntrader.services.jobs_execution import Ended, RunTask, saved_ending
from ntrader.services.jobs_slots import RunProcessLostError, Slots
from ntrader.storage.jobs_consumer import CancelledByUserError, Consumer, Delivery, TryAgainError
from ntrader.storage.jobs_queue import RUN_TASK, RUNS
from ntrader.storage.jobs_rescue import rescue

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from ntrader.services.jobs import Jobs

GRACE_SECONDS = 30.0
"""For which runs may go on that are at work when the worker has to stop."""

PROGRESS_SECONDS = 0.25
RESCUE_SECONDS = 3.0


class Worker:
    """Carries out runs, up to `slots` at a time, until it is stopped."""

    def __init__(
        self,
        jobs: Jobs,
        *,
        slots: int,
        grace_seconds: float = GRACE_SECONDS,
        watcher: AttemptWatcher | None = None,
    ) -> None:
        self._jobs = jobs
        self._watcher = watcher or NoWatcher()
        self._submissions = jobs.submissions
        self._slots = Slots(jobs.workspace, slots)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._consumer = Consumer(
            jobs.workspace.direct_database().url,
            self._submissions.queue.schema,
            {RUN_TASK: self._take},
            queues=[RUNS],
            slots=slots,
            name=self.name,
            grace_seconds=grace_seconds,
        )
        self._log = logs.logger().bind(worker=self.name)

    def stop(self) -> None:
        """Take no more runs; what is at work ends, or is given back when the grace is over."""
        self._consumer.stop()

    async def run(self) -> None:
        """Work until `stop`; a database that goes away is waited for."""
        rescuing = asyncio.create_task(self._rescue_forever())
        try:
            await self._slots.warm_up()
            self._log.info("worker_started")
            await self._consumer.run_until_stopped(self._queue_lost)
        finally:
            rescuing.cancel()
            with suppress(asyncio.CancelledError):
                await rescuing
            await self._slots.close()
            self._log.info("worker_stopped")

    def _queue_lost(self, reason: str) -> None:
        self._log.warning("queue_lost", reason=reason)

    async def _rescue_forever(self) -> None:
        """Put back what dead workers left; beside the queue, so that it needs no free slot."""
        while True:
            try:
                if count := await rescue(self._submissions.database, self._submissions.queue):
                    self._log.warning("jobs_rescued", count=count)
            except DatabaseError as error:
                self._log.warning("rescue_failed", reason=error.message)
            await asyncio.sleep(RESCUE_SECONDS)

    async def _take(self, delivery: Delivery) -> None:
        submission = await self._begin(UUID(delivery.arguments["run_id"]))
        if submission is None:
            return
        said = {
            "run_id": str(submission.run_id),
            "request_id": submission.request_id,
            "attempt": submission.attempts,
        }
        with (
            tracing.span("run", within=submission.trace, **said) as span,
            self._watcher.attempt(submission.strategy) as attempt,
        ):
            await self._carry_out(submission, delivery, attempt, self._log.bind(**said))
            span.set("ntrader.outcome", attempt.outcome.value)

    async def _carry_out(
        self,
        submission: Submission,
        delivery: Delivery,
        attempt: Attempt,
        log: FilteringBoundLogger,
    ) -> None:
        run_id = submission.run_id
        log.info("run_begun")
        try:
            ended = await self._ended(submission)
        except asyncio.CancelledError:
            # From here on this job goes on as if it had not been cancelled: it has to tell.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            if delivery.is_shutdown():
                attempt.outcome = AttemptOutcome.GIVEN_BACK
                log.info("run_given_back")
                await self._submissions.give_back(run_id)
                raise TryAgainError from None
            ended = await self._end_cancelled(run_id)
            attempt.outcome = AttemptOutcome(ended.status)
            log.info("run_cancelled")
            raise CancelledByUserError from None
        except DatabaseUnavailableError as error:
            attempt.outcome = AttemptOutcome.GIVEN_BACK
            log.warning("run_not_saved", reason=error.message)
            await self._submissions.give_back(run_id)
            raise TryAgainError(seconds=2) from error
        except RunProcessLostError as error:
            log.warning("run_process_lost", reason=error.message)
            raise TryAgainError(seconds=submission.attempts) from error
        attempt.outcome = AttemptOutcome(ended.status)
        await self._submissions.end(run_id, ended.status, error=ended.error)
        log.info("run_ended", status=ended.status.value)

    async def _begin(self, run_id: UUID) -> Submission | None:
        submission = await self._submissions.begin(run_id, self.name)
        if submission is None:
            # It has ended, or was cancelled between two workers.
            found = await self._submissions.find(run_id)
            if found is not None and found.status is SubmissionStatus.CANCELLING:
                await self._end_cancelled(run_id)
        return submission

    async def _ended(self, submission: Submission) -> Ended:
        """Carry out a run; one that has ended its workers too often is saved as failed."""
        if submission.attempts <= MAX_ATTEMPTS:
            return await self._in_a_slot(submission, failure=None)
        failure = f"The run ended its worker {MAX_ATTEMPTS} times and is not tried again."
        try:
            return await self._in_a_slot(submission, failure=failure)
        except RunProcessLostError:
            # Looking at its data is enough to end a process: it is told without a run.
            return Ended(status=SubmissionStatus.FAILED, error=failure)

    async def _in_a_slot(self, submission: Submission, *, failure: str | None) -> Ended:
        task = RunTask(
            run_id=submission.run_id,
            kind=submission.kind,
            request=submission.request,
            strategy_id=submission.strategy_id,
            original=submission.original,
            failure=failure,
        )
        teller = _ProgressTeller(self._jobs, submission.run_id)
        try:
            return await self._slots.carry_out(task, teller.tell)
        finally:
            await teller.close()

    async def _end_cancelled(self, run_id: UUID) -> Ended:
        """Note that a run is cancelled, unless it was saved before it could be stopped."""
        ended = await saved_ending(self._jobs.workspace, run_id)
        if ended is None:
            ended = Ended(status=SubmissionStatus.CANCELLED)
        await self._submissions.end(run_id, ended.status, error=ended.error)
        return ended


class _ProgressTeller:
    """Notes how far a run is: the newest state only, and not too often."""

    def __init__(self, jobs: Jobs, run_id: UUID) -> None:
        self._submissions = jobs.submissions
        self._run_id = run_id
        self._newest: RunProgress | None = None
        self._is_new = asyncio.Event()
        self._telling = asyncio.create_task(self._tell_forever())

    def tell(self, progress: RunProgress) -> None:
        """Take the newest state."""
        self._newest = progress
        self._is_new.set()

    async def close(self) -> None:
        """Tell no more."""
        self._telling.cancel()
        with suppress(asyncio.CancelledError):
            await self._telling

    async def _tell_forever(self) -> None:
        while True:
            await self._is_new.wait()
            self._is_new.clear()
            if self._newest is not None:
                # Progress that is not told is no reason to end a run.
                with suppress(DatabaseError):
                    await self._submissions.tell_progress(self._run_id, self._newest)
            await asyncio.sleep(PROGRESS_SECONDS)
