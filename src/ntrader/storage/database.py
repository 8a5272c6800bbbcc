"""The way to PostgreSQL: connections, transactions, and its errors as ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Self

import asyncpg
from sqlalchemy import Executable, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ntrader.errors import (
    ConflictError,
    DatabaseError,
    DatabaseUnavailableError,
    InvalidConfigError,
    NtraderError,
    SchemaError,
)
from ntrader.storage.urls import DatabaseUrl

OLDEST_MAJOR = 16

_SERVER_SETTINGS = {
    "application_name": "ntrader",
    "timezone": "UTC",
    # A statement that is used often would else get one plan for all values: a filter on the
    # configuration then takes seconds instead of milliseconds.
    "plan_cache_mode": "force_custom_plan",
}
# A connection takes ten times as long to make as a query to answer: a command keeps its one.
_COMMAND_POOL: dict[str, Any] = {"pool_size": 1, "max_overflow": 9}
_SERVICE_POOL: dict[str, Any] = {"pool_size": 20, "max_overflow": 10, "pool_recycle": 3600}
# Between the attempts to reach a server that can be revived: 6 seconds in all.
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.8)

# A connection that cannot be made, that breaks, or whose server goes: SQLSTATE or its class.
_UNAVAILABLE = ("08", "28", "3D000", "53300", "57P")
_SERVER_RUNS = "Check that the server runs and that the database URL is right."
_HINTS = {
    "08": _SERVER_RUNS,
    "28": "Check the user and the password in the database URL.",
    "3D000": "Create the database first, for example with createdb.",
    "53300": "Close other programs that use the database, or raise its max_connections.",
    "57P": "The server is starting or stopping: try again.",
    "53100": "Free some space on the server's disk.",
    "25006": "The server is a read-only replica: use its primary.",
    "42501": "The user of the database URL needs more rights on the database.",
    "42P01": "Run `ntrader db upgrade`.",
    "42703": "Run `ntrader db upgrade`.",
}


class Database:
    """A PostgreSQL database.

    Nothing is connected before it is needed. What is raised is ours: DatabaseUnavailableError
    where the server cannot be reached or goes away, ConflictError where another row needs a row
    as it is, SchemaError where a table or column is missing, DatabaseError for all else.

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
        # A statement on its own needs no BEGIN and COMMIT around it.
        self._reading: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            isolation_level="AUTOCOMMIT",
            async_creator=self._connect,
            hide_parameters=True,
            json_serializer=partial(json.dumps, allow_nan=False, separators=(",", ":")),
            pool_pre_ping=True,
            **(_SERVICE_POOL if pooled else _COMMAND_POOL),
        )
        # The same connections, in transactions.
        self._writing = self._reading.execution_options(isolation_level="READ COMMITTED")

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
        await self._reading.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction, which is committed unless the block raises."""
        connection = await self._persistently(self._checked_out)
        try:
            with translated_errors():
                async with connection.begin():
                    yield connection
        finally:
            await connection.close()

    async def run[T](self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return what `work` returns in a transaction of its own.

        Where the server can be revived, work that lost its connection is done again: it must be
        such that doing it twice is the same as once.
        """

        async def attempt() -> T:
            with translated_errors():
                async with self._writing.begin() as connection:
                    return await work(connection)

        return await self._persistently(attempt)

    async def fetch(self, statement: Executable) -> Sequence[Row[Any]]:
        """Return all rows of one statement that reads."""

        async def attempt() -> Sequence[Row[Any]]:
            with translated_errors():
                async with self._reading.connect() as connection:
                    return (await connection.execute(statement)).all()

        return await self._persistently(attempt)

    async def _checked_out(self) -> AsyncConnection:
        with translated_errors():
            return await self._writing.connect()

    async def _persistently[T](self, attempt: Callable[[], Awaitable[T]]) -> T:
        if self._revive is not None:
            for pause in _PAUSES:
                try:
                    return await attempt()
                except DatabaseUnavailableError:
                    await asyncio.sleep(pause)
                    await asyncio.to_thread(self._revive)
        return await attempt()

    async def _connect(self) -> asyncpg.Connection:
        try:
            connection = await asyncpg.connect(
                self.url.dsn,
                timeout=self.url.connect_seconds,
                server_settings=_SERVER_SETTINGS,
            )
        except asyncpg.ClientConfigurationError as error:
            raise InvalidConfigError(
                f"The database URL {self.url} cannot be used: {error}."
            ) from error
        except asyncpg.PostgresError as error:
            raise self._unreachable(error.args[0], _hint(error.sqlstate)) from error
        except TimeoutError as error:
            seconds = f"{self.url.connect_seconds:g} s"
            raise self._unreachable(f"no answer within {seconds}", _SERVER_RUNS) from error
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise self._unreachable(reason, _SERVER_RUNS) from error
        except ValueError:
            # asyncpg parsed the URL; its message may quote the password.
            raise InvalidConfigError(f"The database URL {self.url} cannot be used.") from None
        version = connection.get_server_version()
        if version.major < OLDEST_MAJOR:
            await connection.close()
            raise DatabaseError(
                f"The server at {self.url} is PostgreSQL {version.major}.",
                hint=f"ntrader needs PostgreSQL {OLDEST_MAJOR} or later.",
            )
        return connection

    def _unreachable(self, reason: str, hint: str | None) -> DatabaseUnavailableError:
        return DatabaseUnavailableError(
            f"The database at {self.url} cannot be reached: {reason}.", hint=hint
        )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the errors of SQLAlchemy and asyncpg into ours."""
    try:
        yield
    except NtraderError:
        raise
    except DBAPIError as error:
        raise _translated(error) from error
    except (ConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _lost(error) from error
    except asyncpg.PostgresError as error:
        raise _explained(error) from error


def _translated(error: DBAPIError) -> NtraderError:
    cause = error.orig.__cause__ if error.orig is not None else None
    if isinstance(cause, asyncpg.PostgresError):
        return _explained(cause)
    if error.connection_invalidated or isinstance(cause, asyncpg.InternalClientError):
        return _lost(cause or error)
    return DatabaseError(f"The database refused it: {cause or error.orig}.")


def _explained(error: asyncpg.PostgresError) -> NtraderError:
    state, message = error.sqlstate or "", error.args[0]
    if state.startswith(_UNAVAILABLE):
        return DatabaseUnavailableError(
            f"The database cannot be reached: {message}.", hint=_hint(state)
        )
    if state in ("42P01", "42703", "42704"):
        return SchemaError(f"The database's schema is not ours: {message}.", hint=_hint(state))
    if state in ("23001", "23503", "23505"):
        return ConflictError(f"The database refused it: {message}.")
    return DatabaseError(f"The database refused it: {message}.", hint=_hint(state))


def _lost(error: BaseException) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"The connection to the database was lost: {error}.", hint=_SERVER_RUNS
    )


def _hint(state: str | None) -> str | None:
    return next((hint for key, hint in _HINTS.items() if (state or "").startswith(key)), None)
