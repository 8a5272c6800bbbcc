"""What an operator asks of a service: whether it is ready, and how it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ntrader.domain.figures import EndedRun, ServiceFigures
from ntrader.errors import DatabaseError
from ntrader.storage.figures import is_queue_there, newest_position, read_figures
from ntrader.storage.migrations import schema_version

if TYPE_CHECKING:
    from ntrader.services.jobs import Jobs

PATIENCE_SECONDS = 3.0
"""For the database, which is otherwise waited for: whoever asks wants an answer now."""

LATE_SECONDS = 120.0
"""A run may be saved so long after one with a higher position, no longer: a transaction's life."""


async def readiness(jobs: Jobs) -> dict[str, bool]:
    """Return what the service needs and whether it is there: database, migrations, queue."""
    database = jobs.submissions.database

    async def migrated() -> bool:
        return (await schema_version(database)).up_to_date

    current = await _answer(migrated)
    queue = await _answer(lambda: is_queue_there(database, jobs.submissions.queue))
    return {
        "database": current is not None,
        "migrations": bool(current),
        "queue": bool(queue),
    }


async def _answer(ask: Callable[[], Awaitable[bool]]) -> bool | None:
    """Return what the database says; None where it does not answer."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await ask()
    except (DatabaseError, TimeoutError):
        return None


class Figures:
    """Reads the figures, each run that ends among them once."""

    def __init__(self, jobs: Jobs, since: int) -> None:
        self._jobs = jobs
        self._since = since
        self._seen: dict[int, float] = {}

    @classmethod
    async def from_now_on(cls, jobs: Jobs) -> Figures:
        """Return figures of which no run is part that has ended before."""
        return cls(jobs, await newest_position(jobs.submissions.database))

    async def read(self) -> ServiceFigures | None:
        """Return the figures of now; None where the database does not answer."""
        submissions = self._jobs.submissions
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await read_figures(
                    submissions.database, submissions.queue, since=self._since
                )
        except (DatabaseError, TimeoutError):
            return None

    def new(self, ended: ServiceFigures) -> list[EndedRun]:
        """Return the runs among the figures that were not among those before.

        Positions are given out before runs are saved, so a lower one may come later.
        """
        now = time.monotonic()
        new = [run for run in ended.ended if run.position not in self._seen]
        self._seen.update((run.position, now) for run in new)
        settled = [place for place, at in self._seen.items() if now - at > LATE_SECONDS]
        if settled:
            self._since = max(settled)
            self._seen = {place: at for place, at in self._seen.items() if place > self._since}
        return new
