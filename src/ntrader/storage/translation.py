"""The errors of SQLAlchemy, asyncpg and PostgreSQL, as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ntrader.errors import (
    ConflictError,
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnavailableError,
    NtraderError,
    SchemaError,
    UsageError,
)

SERVER_RUNS = "Check that the server runs and that the database URL is right."

# What follows are SQLSTATEs or their first characters.
# A connection that cannot be made, that breaks, or whose server goes.
_UNAVAILABLE = ("08", "25P03", "28", "3D000", "53300", "57P")
# Somebody else is in the way, or the work takes too long.
_BUSY = ("40", "55P03", "57014")
_FOREIGN_SCHEMA = ("42P01", "42703", "42704", "42883")
_CONFLICT = ("23001", "23503", "23505")
# A NUL, or half of a surrogate pair, which is how bytes arrive that are no text.
_NO_TEXT = ("22021", "22P02", "22P05")
# The same may well succeed a moment later: a server that starts or stops, connections or rows
# that others use.
_TRANSIENT = ("08", "25P03", "40", "53300", "57P01", "57P02", "57P03", "57P05")
_NOT_TRANSIENT = ("08P01",)

_BROKEN_FILES = "The server's files are damaged: look at its log, and restore a backup."
_UPGRADE = "Run `ntrader db upgrade`. If it finds nothing to do, restore a backup of the database."
_HINTS = {
    "08": SERVER_RUNS,
    "25006": "The database is read-only: a replica, or default_transaction_read_only is on. "
    "Use the primary, or a user that may write.",
    "28": "Check the user and the password in the database URL.",
    "3D000": "Create the database first, for example with createdb.",
    "40": "Others change the same rows: try again.",
    "42501": "The user of the database URL needs more rights on the database.",
    "42704": _UPGRADE,
    "42883": _UPGRADE,
    "42P01": _UPGRADE,
    "42703": _UPGRADE,
    "53100": "Free some space on the server's disk, and try again.",
    "53200": "The server is out of memory: close other programs on it, and try again.",
    "53300": "Close other programs that use the database, or raise its max_connections.",
    "55P03": "Somebody else holds a lock: a migration, a backup, or an open session. "
    "Try again when it is done.",
    "57014": "It took too long, or somebody cancelled it. Try again, ask for less, or put a longer "
    "statement_timeout (such as 5min) into the database URL.",
    "57P": "The server is starting or stopping: try again.",
    "58": _BROKEN_FILES,
    "XX": _BROKEN_FILES,
}


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the errors of SQLAlchemy and asyncpg into ours."""
    try:
        yield
    except NtraderError:
        raise
    except DBAPIError as error:
        raise _translated(error) from error
    except PoolTimeoutError as error:
        raise DatabaseBusyError(
            "All connections to the database are in use.", hint="Try again in a moment."
        ) from error
    except (ConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _lost(error) from error
    except asyncpg.PostgresError as error:
        if isinstance(error.__cause__, UnicodeEncodeError):
            raise _no_text() from error
        raise _explained(error) from error


def hint_for(state: str | None) -> str | None:
    """Return what a user can do about an error with this SQLSTATE."""
    return next((hint for key, hint in _HINTS.items() if (state or "").startswith(key)), None)


def is_transient(state: str | None) -> bool:
    """Whether what failed with this SQLSTATE may well succeed a moment later."""
    text = state or ""
    return text.startswith(_TRANSIENT) and text not in _NOT_TRANSIENT


def _translated(error: DBAPIError) -> NtraderError:
    cause = error.orig.__cause__ if error.orig is not None else None
    if cause is not None and isinstance(cause.__cause__, UnicodeEncodeError):
        return _no_text()
    if isinstance(cause, asyncpg.PostgresError):
        return _explained(cause)
    if error.connection_invalidated or isinstance(cause, asyncpg.InternalClientError):
        return _lost(cause or error)
    return DatabaseError(f"The database refused it: {cause or error.orig}.")


def _explained(error: asyncpg.PostgresError) -> NtraderError:
    state, message = error.sqlstate or "", error.args[0]
    hint = hint_for(state)
    if state.startswith(_UNAVAILABLE):
        return DatabaseUnavailableError(
            f"The database cannot be reached: {message}.", hint=hint, transient=is_transient(state)
        )
    if state.startswith(_BUSY):
        return DatabaseBusyError(
            f"The database did not get to it: {message}.", hint=hint, transient=is_transient(state)
        )
    if state in _FOREIGN_SCHEMA:
        return SchemaError(f"The database's schema is not ours: {message}.", hint=hint)
    if state in _NO_TEXT:
        return _no_text()
    if state in _CONFLICT:
        return ConflictError(f"The database refused it: {message}.")
    return DatabaseError(f"The database refused it: {message}.", hint=hint)


def _no_text() -> UsageError:
    return UsageError(
        "What is asked for is no text that a database can hold.",
        hint="Text is UTF-8, without NUL.",
    )


def _lost(error: BaseException) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"The connection to the database was lost: {error}.", hint=SERVER_RUNS, transient=True
    )
