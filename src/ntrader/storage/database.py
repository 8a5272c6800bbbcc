"""The way to PostgreSQL: connections, transactions, and patience with both."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

import asyncpg
from sqlalchemy import CompoundSelect, Connection, Executable, Row, Select, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import greenlet_spawn

from ntrader.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnavailableError,
    InvalidConfigError,
)
from ntrader.storage.backoff import backoff
from ntrader.storage.plans import Expected, expected_of_parts
from ntrader.storage.statements import Statements
from ntrader.storage.timeouts import CLOSE_SECONDS, IDLE_SECONDS, LOCK_SECONDS, STATEMENT_SECONDS
from ntrader.storage.transactions import Transaction, transaction_on
from ntrader.storage.translation import SERVER_RUNS, hint_for, is_transient, translated_errors
from ntrader.storage.urls import DatabaseUrl

OLDEST_MAJOR = 16

_SERVER_SETTINGS = {
    "application_name": "ntrader",
    "timezone": "UTC",
    # A statement that is used often would else get one plan for all values: a filter on the
    # configuration then takes seconds instead of milliseconds.
    "plan_cache_mode": "force_custom_plan",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
}
# What a pooler keeps for each of its clients; it refuses all other settings of a connection.
_POOLER_SETTINGS = frozenset({"application_name", "timezone"})
_POOLER_HINT = "Is it PgBouncer? Then add pgbouncer=true to the database URL."
# A connection takes ten times as long to make as a query to answer: a command keeps its one.
_COMMAND_POOL: dict[str, Any] = {"pool_size": 1, "max_overflow": 9}
_SERVICE_POOL: dict[str, Any] = {"pool_size": 20, "max_overflow": 10, "pool_recycle": 3600}


class _Connection(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types
    """A connection that ends although its server does not answer."""

    async def close(self, *, timeout: float | None = None) -> None:
        # After the time is up it is aborted, and that is all there is to say.
        with suppress(TimeoutError):
            await super().close(timeout=CLOSE_SECONDS if timeout is None else timeout)


def _refuse_closed(_adapted: Any, record: Any, _proxy: Any) -> None:
    """Have the pool make another connection for one that has ended since it was last used.

    The server says so when it goes. To ask it each time would double the ways of what is read; who
    finds that it went without a word does its work again.
    """
    if record.driver_connection.is_closed():
        raise DisconnectionError


def _reader_of_json(*, pooled: bool) -> Callable[[str], Any]:
    """Return what reads JSON: a service does it in a third of the time, by what it has loaded."""
    if not pooled:
        return json.loads
    from pydantic_core import from_json

    return from_json


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a pool's message is any: that a command ends while it closes a connection is not."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class Database:
    """A PostgreSQL database.

    Nothing is connected before it is needed. What is raised is ours: DatabaseUnavailableError
    where the server cannot be reached or goes away, DatabaseBusyError where it does not get to the
    work in time, ConflictError where another row needs a row as it is, SchemaError where a table
    or column is missing, DatabaseError for all else.

    What may well succeed a moment later is tried again for as long as a connection may take: a
    server that starts, that has gone after it had answered, or that has no connection free. A
    wrong password, name or address fails at once. `run` and
    `fetch` last no longer than the URL's `command_timeout`.

    Args:
        url: where it is; see `DatabaseUrl`.
        pooled: keep as many connections as a service needs; a command keeps one.
        revive: makes a server of our own answer again; it is called in a thread between attempts.
    """

    def __init__(
        self, url: str, *, pooled: bool = False, revive: Callable[[], object] | None = None
    ) -> None:
        self.url = DatabaseUrl.parse(url)
        self._revive = revive
        self._answered = False
        # A statement on its own needs no BEGIN and COMMIT around it. Behind a pooler it does: the
        # next message may reach another server process, which does not know the statement.
        self._engine = create_engine(
            "postgresql+asyncpg://",
            isolation_level="READ COMMITTED" if self.url.is_pooler else "AUTOCOMMIT",
            creator=self._created,
            hide_parameters=True,
            json_serializer=partial(json.dumps, allow_nan=False, separators=(",", ":")),
            json_deserializer=_reader_of_json(pooled=pooled),
            **(_SERVICE_POOL if pooled else _COMMAND_POOL),
        )
        # The same connections, in transactions.
        self._writing = self._engine.execution_options(isolation_level="READ COMMITTED")
        self._statements = Statements(self._engine.dialect)
        event.listen(self._engine, "checkout", _refuse_closed)
        pool = type(self._engine.pool)
        logging.getLogger(f"{pool.__module__}.{pool.__qualname__}").addFilter(_is_news)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, pooled: bool = False, revive: Callable[[], object] | None = None
    ) -> AsyncIterator[Self]:
        """Give a database, and close what it keeps open afterwards."""
        database = cls(url, pooled=pooled, revive=revive)
        try:
            yield database
        finally:
            await database.close()

    async def close(self) -> None:
        """Close the connections that are kept; the next use makes new ones."""
        await greenlet_spawn(self._engine.dispose)

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are in use now, and how many are kept besides."""
        pool = self._engine.pool
        if not isinstance(pool, QueuePool):
            return 0, 0
        return pool.checkedout(), pool.checkedin()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Give a transaction, which is committed unless the block raises."""
        connection = await self._persistently(self._checked_out)
        with translated_errors():
            async with transaction_on(connection) as transaction:
                yield transaction

    async def run[T](
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        seconds: float | None = None,
    ) -> T:
        """Return what `work` returns in a transaction of its own, which may last `seconds`.

        Work that lost its connection is done again: it must be such that doing it twice is the
        same as once.
        """

        async def attempt() -> T:
            connection = await self._checked_out()
            with translated_errors():
                async with transaction_on(connection) as transaction:
                    return await work(transaction)

        return await self._persistently(attempt, seconds=seconds)

    async def fetch(self, statement: Executable) -> Sequence[Row[Any]]:
        """Return all rows of one statement that reads."""

        def ask() -> Sequence[Row[Any]]:
            with self._engine.connect() as connection:
                return connection.execute(statement).all()

        async def attempt() -> Sequence[Row[Any]]:
            with translated_errors():
                return await greenlet_spawn(ask)

        return await self._persistently(attempt)

    async def read(self, statement: Select[Any], **values: Any) -> Sequence[asyncpg.Record]:
        """Return all rows of one statement as the driver has them: a third of the work of `fetch`.

        `values` are those of its named parameters. A member of an enum is its value in the rows.
        See `Statements` for what cannot be asked.
        """
        text, arguments = self._statements.prepared(statement, **values)

        async def attempt() -> Sequence[asyncpg.Record]:
            with translated_errors():
                async with self._driver() as driver:
                    found: Sequence[asyncpg.Record] = await driver.fetch(text, *arguments)
                    return found

        return await self._persistently(attempt)

    async def expected(self, statement: CompoundSelect[Any]) -> tuple[Expected, ...]:
        """Return what the planner expects of each part of a UNION ALL; nothing is carried out.

        A part that cannot have rows is left out. Parallel workers are: they would share the parts
        in an order of their own.
        """
        text, arguments = self._statements.prepared(statement)

        async def attempt() -> tuple[Expected, ...]:
            with translated_errors():
                async with self._driver(transaction=True) as driver:
                    await driver.execute("SET LOCAL max_parallel_workers_per_gather = 0")
                    ((plan,),) = await driver.fetch(f"EXPLAIN (FORMAT JSON) {text}", *arguments)
                    return expected_of_parts(plan[0]["Plan"])

        return await self._persistently(attempt)

    @asynccontextmanager
    async def _driver(self, *, transaction: bool = False) -> AsyncIterator[asyncpg.Connection]:
        """Give a connection without what SQLAlchemy has around it."""
        pooled = await greenlet_spawn(self._engine.raw_connection)
        driver: asyncpg.Connection = pooled.driver_connection
        try:
            if transaction or self.url.is_pooler:
                async with driver.transaction():
                    yield driver
            else:
                yield driver
        finally:
            # Who is cancelled twice does not wait for the end of the transaction.
            dirty = driver.is_in_transaction()
            await greenlet_spawn(pooled.invalidate if dirty else pooled.close)

    async def _checked_out(self) -> Connection:
        with translated_errors():
            return await greenlet_spawn(self._writing.connect)

    async def _persistently[T](
        self, attempt: Callable[[], Awaitable[T]], *, seconds: float | None = None
    ) -> T:
        limit = self.url.command_seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit) as scope:
                return await self._repeatedly(attempt)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise DatabaseBusyError(
                f"The database at {self.url} did not answer within {limit:g} s.",
                hint="Check that the server is well. For work that takes longer, put "
                "command_timeout=SECONDS into the database URL.",
            ) from error

    async def _repeatedly[T](self, attempt: Callable[[], Awaitable[T]]) -> T:
        pauses = backoff(self.url.connect_seconds)
        while True:
            try:
                return await attempt()
            except DatabaseUnavailableError as error:
                pause = next(pauses, None) if error.transient else None
                if pause is None:
                    raise
            await asyncio.sleep(pause)
            if self._revive is not None:
                await asyncio.to_thread(self._revive)

    @property
    def _expected_back(self) -> bool:
        """Whether a server that cannot be reached is worth waiting for.

        Ours can be revived; any other must have been there once, or its address may be wrong.
        """
        return self._answered or self._revive is not None

    def _created(self) -> Any:
        """Return a connection as SQLAlchemy has it; statements have no names behind a pooler."""
        nameless = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
        return self._engine.dialect.dbapi.connect(  # type: ignore[union-attr]
            async_creator_fn=self._connect, **(nameless if self.url.is_pooler else {})
        )

    async def _connect(self) -> asyncpg.Connection:
        connection = await self._connected()
        self._answered = True
        version = connection.get_server_version()
        if version.major < OLDEST_MAJOR:
            connection.terminate()
            raise DatabaseError(
                f"The server at {self.url} is PostgreSQL {version.major}.",
                hint=f"ntrader needs PostgreSQL {OLDEST_MAJOR} or later.",
            )
        return connection

    async def _connected(self) -> asyncpg.Connection:
        settings = {
            name: value
            for name, value in _SERVER_SETTINGS.items()
            if name not in self.url.settings
            and (name in _POOLER_SETTINGS or not self.url.is_pooler)
        }
        cache = {"statement_cache_size": 0} if self.url.is_pooler else {}
        try:
            return await asyncpg.connect(
                self.url.dsn,
                timeout=self.url.connect_seconds,
                server_settings=settings,
                connection_class=_Connection,
                **cache,
            )
        except asyncpg.ClientConfigurationError as error:
            raise InvalidConfigError(
                f"The database URL {self.url} cannot be used: {error}."
            ) from error
        except asyncpg.PostgresConnectionError as error:
            raise self._not_connected(error) from error
        except asyncpg.PostgresError as error:
            raise self._unreachable(
                error.args[0], hint_for(error.sqlstate), transient=is_transient(error.sqlstate)
            ) from error
        except TimeoutError as error:
            seconds = f"{self.url.connect_seconds:g} s"
            raise self._unreachable(f"no answer within {seconds}", SERVER_RUNS) from error
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise self._not_connected(error) from error
        except ValueError:
            # asyncpg parsed the URL; its message may quote the password.
            raise InvalidConfigError(f"The database URL {self.url} cannot be used.") from None

    def _not_connected(self, error: Exception) -> DatabaseUnavailableError:
        reason = _reason(error)
        hint = _POOLER_HINT if reason.startswith("unsupported startup parameter") else SERVER_RUNS
        return self._unreachable(reason, hint, transient=self._expected_back)

    def _unreachable(
        self, reason: str, hint: str | None, *, transient: bool = False
    ) -> DatabaseUnavailableError:
        return DatabaseUnavailableError(
            f"The database at {self.url} cannot be reached: {reason}.",
            hint=hint,
            transient=transient,
        )


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    # asyncio replaces the system's words by "Connect call failed" and the address; those of a
    # name that does not resolve it leaves.
    if error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)
