"""The workspace: where a user's runs, market data and artifacts live."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ntrader.storage.embedded import EmbeddedServer
from ntrader.storage.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ntrader.engine.catalog import Catalog
    from ntrader.storage.artifacts import ArtifactStore
    from ntrader.storage.database import Database
    from ntrader.storage.journal import Journal
    from ntrader.storage.store import Store

EMBEDDED = "embedded"
"""The place of the embedded server's database; see `Workspace.place`."""


class Workspace:
    """Opens what a service needs when it needs it, and closes it all at the end.

    Args:
        home: the directory of everything that is kept outside of the database.
        database_url: a PostgreSQL server; None for the embedded one below `home`.
        pg_bin: the binaries of the embedded server, if not those that come with the package.
        tell: is told what else was done for the user, a line at a time.
        pooled: keep as many connections to the database as a service needs.
        listen_url: the same database without a pooler in between, to LISTEN on.
        read_url: a replica of it, which lists are read from.
    """

    def __init__(
        self,
        home: Path,
        *,
        database_url: str | None = None,
        pg_bin: Path | None = None,
        tell: Callable[[str], None] | None = None,
        pooled: bool = False,
        listen_url: str | None = None,
        read_url: str | None = None,
    ) -> None:
        self.home = home
        self._pooled = pooled
        self._tell = tell
        self.database_url = database_url
        self._pg_bin = pg_bin
        self._store: Store | None = None
        self._database: Database | None = None
        self._listen_url = listen_url
        self._direct: Database | None = None
        self._replica = None if read_url is None else Replica(read_url, pooled=pooled)

    async def __aenter__(self) -> Self:
        if self._replica is not None:
            self._replica.check()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            for opened in (self._database, self._direct, self._replica):
                if opened is not None:
                    await opened.close()
        finally:
            if self.database_url is None:
                self.server.release()

    @cached_property
    def server(self) -> EmbeddedServer:
        """The embedded server; it starts when the database is first used."""
        return EmbeddedServer(self.home, pg_bin=self._pg_bin)

    @cached_property
    def catalog(self) -> Catalog:
        """The market data."""
        from ntrader.engine.catalog import Catalog

        return Catalog(self.home / "datasets")

    @property
    def spool_directory(self) -> Path | None:
        """Where what does not fit into memory waits: the system's own directory may be memory.

        It is the home, or what the home will be made in; None if neither can be written to.
        """
        nearest = next(each for each in (self.home, *self.home.absolute().parents) if each.is_dir())
        return nearest if os.access(nearest, os.W_OK) else None

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The files of runs."""
        from ntrader.storage.artifacts import ArtifactStore

        return ArtifactStore(str(self.home / "artifacts"))

    @cached_property
    def journal(self) -> Journal:
        """What is begun and not yet saved."""
        from ntrader.storage.journal import Journal

        return Journal(self.home / "journal")

    @cached_property
    def place(self) -> str:
        """Which database it is: what waits in the journal belongs to one of them."""
        if self.database_url is None:
            return EMBEDDED
        from ntrader.storage.urls import DatabaseUrl

        return DatabaseUrl.parse(self.database_url).place

    def censored(self, text: str) -> str:
        """Return a text without the passwords of the database URLs."""
        from ntrader.storage.urls import censored

        replica = None if self._replica is None else self._replica.url
        for url in (self.database_url, self._listen_url, replica):
            if url is not None:
                text = censored(text, url)
        return text

    def recipe(self) -> dict[str, str | None]:
        """Return what another process opens the same workspace with, as JSON values.

        It may hold the database's password, and is never shown.
        """
        return {
            "home": str(self.home),
            "database_url": self.database_url,
            "pg_bin": None if self._pg_bin is None else str(self._pg_bin),
        }

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, str | None]) -> Self:
        """Return the workspace that `recipe` describes, for a process or thread of its own."""
        pg_bin = recipe["pg_bin"]
        return cls(
            Path(recipe["home"] or ""),
            database_url=recipe["database_url"],
            pg_bin=None if pg_bin is None else Path(pg_bin),
        )

    def tell(self, text: str) -> None:
        """Tell the user, if anybody listens."""
        if self._tell is not None:
            self._tell(text)

    def database(self) -> Database:
        """Return the database; the embedded server is started for it.

        Raises:
            DatabaseUnavailableError: the embedded server cannot be started.
        """
        from ntrader.storage.database import Database

        if self._database is None:
            if self.database_url is None:
                address = self.server.acquire()
                self._database = Database(
                    address.dsn, pooled=self._pooled, revive=self.server.acquire
                )
            else:
                self._database = Database(self.database_url, pooled=self._pooled)
        return self._database

    def direct_database(self) -> Database:
        """Return the database without a pooler in between: LISTEN works on it.

        Raises:
            DatabaseUnavailableError: the embedded server cannot be started.
        """
        from ntrader.storage.database import Database

        if self._listen_url is None:
            return self.database()
        if self._direct is None:
            self._direct = Database(self._listen_url, pooled=self._pooled)
        return self._direct

    async def read[T](self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Return what `work` reads, which may be a moment old: from the replica if there is one.

        A replica that is away, or whose schema is another one, is done without.
        """
        store = await self.store()
        if self._replica is None:
            return await work(store)
        return await self._replica.read(work, instead=store)

    async def store(self) -> Store:
        """Return the store, its schema brought to this version.

        When it is first opened, what waits in the journal is saved.

        Raises:
            DatabaseUnavailableError: the database cannot be reached.
            SchemaError: a newer ntrader made the schema.
        """
        if self._store is None:
            from ntrader.storage import places
            from ntrader.storage.migrations import ensure_schema
            from ntrader.storage.store import Store

            database = self.database()
            await ensure_schema(database)
            places.remember(self.home, self.place)
            self._store = Store.of(database)
            if self.journal.has_work():
                from ntrader.services.sweeping import sweep

                await sweep(self, self._store)
        return self._store
