"""Watching runs: any number of watchers in any number of service processes.

A process listens once for changes and reads a changed run once, however many watch it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader.domain.submissions import SubmissionStatus
from ntrader.errors import DatabaseError, NotFoundError
from ntrader.services.jobs import Jobs, run_state
from ntrader.storage.jobs_notify import Listener

if TYPE_CHECKING:
    from ntrader.storage.database import Database

LOOK_SECONDS = 10.0
"""So often a watched run is looked at even if nothing is heard of it."""


class Watchtower:
    """Hears of changes, and tells those who watch the run."""

    def __init__(self, jobs: Jobs, *, listen_on: Database | None = None) -> None:
        self._jobs = jobs
        self._watched: dict[UUID, _Watched] = {}
        self._listener = Listener(
            listen_on or jobs.submissions.database, self._changed, self._missed
        )
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._listening = asyncio.create_task(self._listener.listen())

    async def close(self) -> None:
        """End every watch: the watchers come again, here or elsewhere."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        for watched in list(self._watched.values()):
            watched.close()

    async def watch(self, run_id: UUID) -> AsyncIterator[dict[str, Any]]:
        """Give the state of a run now and at every change, until it has ended.

        A watcher that is slow misses what lies between, never the end. The iteration also ends
        where the run is deleted or the service stops.

        Raises:
            NotFoundError: there is no such run.
        """
        watched = self._watched.get(run_id)
        if watched is None:
            watched = self._watched[run_id] = _Watched(self._jobs, run_id)
        watched.watchers += 1
        try:
            async for state in watched.states():
                yield state
        finally:
            watched.watchers -= 1
            if watched.watchers == 0:
                watched.close()
                if self._watched.get(run_id) is watched:
                    del self._watched[run_id]

    def _changed(self, run_id: UUID) -> None:
        watched = self._watched.get(run_id)
        if watched is not None:
            watched.look()

    def _missed(self) -> None:
        for watched in self._watched.values():
            watched.look()


class _Watched:
    """One run that somebody watches: its newest state, read when it is said to have changed."""

    def __init__(self, jobs: Jobs, run_id: UUID) -> None:
        self._jobs = jobs
        self._run_id = run_id
        self._state: dict[str, Any] | None = None
        self._error: NotFoundError | None = None
        self._closed = False
        self._must_look = asyncio.Event()
        self._news = asyncio.Condition()
        self._must_look.set()
        self.watchers = 0
        self._looking = asyncio.create_task(self._look_forever())

    def look(self) -> None:
        """Read the state soon."""
        self._must_look.set()

    def close(self) -> None:
        """End all watches."""
        self._closed = True
        self._looking.cancel()

    async def states(self) -> AsyncIterator[dict[str, Any]]:
        """Give the newest state whenever it is a new one."""
        seen = -1
        while True:
            async with self._news:
                while not self._is_news(seen):
                    await self._news.wait()
                state, error, closed = self._state, self._error, self._closed
            if error is not None and seen == -1:
                raise error
            if state is None or error is not None or (closed and state["version"] <= seen):
                return
            seen = state["version"]
            yield state
            if SubmissionStatus(state["status"]).is_final:
                return

    def _is_news(self, seen: int) -> bool:
        if self._closed or self._error is not None:
            return True
        return self._state is not None and self._state["version"] > seen

    async def _look_forever(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._must_look.wait(), LOOK_SECONDS)
                self._must_look.clear()
                await self._look()
        finally:
            self._closed = True
            async with self._news:
                self._news.notify_all()

    async def _look(self) -> None:
        try:
            self._state = await run_state(self._jobs, self._run_id)
        except NotFoundError as error:
            self._error = error
        except DatabaseError:
            # It is looked at again before long.
            return
        async with self._news:
            self._news.notify_all()
