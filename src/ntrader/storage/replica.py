"""A read replica: lists are read from it, and it is done without where it cannot serve."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ntrader import logs
from ntrader.errors import DatabaseError

if TYPE_CHECKING:
    from ntrader.storage.database import Database
    from ntrader.storage.store import Store

AVOID_SECONDS = 10.0
"""So long a replica that has failed is not asked again: its patience would slow every list."""


class Replica:
    """A copy of the database that lags behind it, a moment or more.

    Args:
        url: where it is; see `DatabaseUrl`.
        pooled: keep as many connections as a service needs.
    """

    def __init__(self, url: str, *, pooled: bool = False) -> None:
        self.url = url
        self._pooled = pooled
        self._database: Database | None = None
        self._store: Store | None = None
        self._avoided_until = 0.0

    def check(self) -> None:
        """Make sure that the URL is one.

        Raises:
            InvalidConfigError: it is not the URL of a PostgreSQL database.
        """
        from ntrader.storage.urls import DatabaseUrl

        DatabaseUrl.parse(self.url)

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._database is not None:
            await self._database.close()

    async def read[T](self, work: Callable[[Store], Awaitable[T]], *, instead: Store) -> T:
        """Return what `work` reads here, or from `instead` where the replica cannot serve."""
        if time.monotonic() < self._avoided_until:
            return await work(instead)
        try:
            store = await self._ready()
            if store is not None:
                return await work(store)
        except DatabaseError as error:
            logs.logger().warning("replica_avoided", reason=error.message)
        self._avoided_until = time.monotonic() + AVOID_SECONDS
        return await work(instead)

    async def _ready(self) -> Store | None:
        """Return the replica's store, or None while it has not followed a migration yet."""
        from ntrader.storage.database import Database
        from ntrader.storage.migrations import schema_version
        from ntrader.storage.store import Store

        if self._database is None:
            self._database = Database(self.url, pooled=self._pooled)
        if self._store is None and (await schema_version(self._database)).up_to_date:
            self._store = Store.of(self._database)
        return self._store
