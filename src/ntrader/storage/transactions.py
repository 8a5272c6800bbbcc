"""A transaction as our own code uses it: SQLAlchemy's, awaited.

SQLAlchemy has the same in `sqlalchemy.ext.asyncio`, which brings its ORM along: 51 modules that
nothing of ours uses, and a twentieth of the time of a short backtest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy import Connection, CursorResult, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import greenlet_spawn


class Transaction:
    """A transaction on a connection of its own, for one task at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> CursorResult[Any]:
        """Return the result of a statement, whose rows are all there."""
        return await greenlet_spawn(self._connection.execute, statement, parameters)

    async def scalar(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the first column of a statement's first row; None where there is none."""
        return (await self.execute(statement, parameters)).scalar()

    async def run_sync[*Ts, T](self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """Return what `work` returns, which knows nothing of asyncio."""
        return await greenlet_spawn(work, self._connection, *args)

    @property
    def driver(self) -> asyncpg.Connection:
        """The driver's own connection, for what SQLAlchemy has no words for, such as COPY.

        The transaction may not have begun on the server before the first `execute`.
        """
        return self._connection.connection.driver_connection


@asynccontextmanager
async def transaction_on(connection: Connection) -> AsyncIterator[Transaction]:
    """Give a transaction that is committed unless the block raises; close the connection."""
    try:
        begun = await greenlet_spawn(connection.begin)
        yield Transaction(connection)
        await greenlet_spawn(begun.commit)
    except BaseException:
        # What is not committed is rolled back by it; a connection that is lost besides is no news.
        with suppress(DBAPIError):
            await greenlet_spawn(connection.close)
        raise
    await greenlet_spawn(connection.close)
