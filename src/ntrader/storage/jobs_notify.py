"""Hearing of changes of submissions, whoever makes them and on whichever machine."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text

from ntrader.errors import DatabaseError
from ntrader.storage.backoff import backoff
from ntrader.storage.database import Database
from ntrader.storage.jobs import CHANNEL
from ntrader.storage.timeouts import CONNECT_SECONDS

_ALIVE = text("SELECT 1")
_ALIVE_SECONDS = 10.0


class Listener:
    """Listens on one connection for as long as `listen` runs, and makes a new one when it is lost.

    Args:
        database: where to listen.
        heard: is called with the run whose submission has changed.
        missed: is called when some changes may have gone unheard.
    """

    def __init__(
        self, database: Database, heard: Callable[[UUID], None], missed: Callable[[], None]
    ) -> None:
        self._database = database
        self._heard = heard
        self._missed = missed

    async def listen(self) -> None:
        """Listen until cancelled."""
        pauses = backoff(CONNECT_SECONDS)
        while True:
            try:
                # This waits for a server that is away, and starts our own one again.
                await self._database.fetch(_ALIVE)
                connection = await asyncpg.connect(
                    self._database.url.dsn,
                    timeout=CONNECT_SECONDS,
                    server_settings={"application_name": "ntrader listener"},
                )
            except (DatabaseError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await asyncio.sleep(next(pauses, 5.0))
                continue
            pauses = backoff(CONNECT_SECONDS)
            await self._listen_on(connection)

    async def _listen_on(self, connection: asyncpg.Connection) -> None:
        try:
            await connection.add_listener(CHANNEL, self._notified)
            # What happened before we listened is not told again.
            self._missed()
            while True:
                await asyncio.sleep(_ALIVE_SECONDS)
                await connection.execute("SELECT 1", timeout=CONNECT_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            # It is lost; the caller makes another.
            return
        finally:
            connection.terminate()

    def _notified(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        try:
            run_id = UUID(str(payload))
        except ValueError:
            return  # anybody may send on a channel
        self._heard(run_id)
