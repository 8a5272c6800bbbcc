"""The database as a user looks after it: status, the embedded server, the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ntrader.errors import DatabaseUnavailableError, NtraderError, UsageError
from ntrader.services.waiting import JournalStatus, journal_status

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace

STOP_TEXTS: Mapping[str, str] = {
    "stopped": "The embedded server has stopped.",
    "in_use": "The embedded server is in use; it stops with its last user.",
    "kept": "The embedded server is kept running.",
    "stopping": "The embedded server is stopping.",
    "not_running": "The embedded server was not running.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseStatus:
    """Where the database is and in which state.

    `embedded` is None for a server of the user's own. `schema` is None where the database is empty
    or cannot be asked because its server is not running; `problem` says why a server of the user's
    own is not.
    """

    url: str
    running: bool
    schema: str | None
    needed_schema: str
    embedded: dict[str, Any] | None
    journal: JournalStatus
    problem: NtraderError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return {
            "kind": "server" if self.embedded is None else "embedded",
            "url": self.url,
            "running": self.running,
            "schema": self.schema,
            "needed_schema": self.needed_schema,
            "embedded": self.embedded,
            "journal": self.journal.to_dict(),
        }

    def facts(self) -> list[tuple[str, str]]:
        """Return the status as named facts."""
        facts = [
            ("Database", "embedded server" if self.embedded is not None else "server"),
            ("URL", self.url),
            ("Running", self._running()),
            ("Schema", f"{self.schema or 'unknown'} (this ntrader needs {self.needed_schema})"),
        ]
        if self.embedded is not None:
            facts += [
                (name.replace("_", " ").capitalize(), _word(value))
                for name, value in self.embedded.items()
                if value is not None
            ]
        return facts + self.journal.facts()

    def _running(self) -> str:
        if self.running:
            return "yes"
        return "no" if self.embedded is None else "no; it starts when it is needed"


def _word(value: Any) -> str:
    return str(value) if not isinstance(value, bool) else "yes" if value else "no"


async def database_status(workspace: Workspace) -> DatabaseStatus:
    """Return the state of the database without starting or changing anything.

    Raises:
        JournalError: the journal cannot be read.
    """
    from ntrader.storage.database import Database
    from ntrader.storage.migrations import HEAD, schema_version
    from ntrader.storage.urls import DatabaseUrl

    journal = journal_status(workspace)
    if workspace.database_url is not None:
        problem, current = None, None
        try:
            current = (await schema_version(workspace.database())).current
        except DatabaseUnavailableError as error:
            problem = error
        return DatabaseStatus(
            url=str(DatabaseUrl.parse(workspace.database_url)),
            running=problem is None,
            schema=current,
            needed_schema=HEAD,
            embedded=None,
            journal=journal,
            problem=problem,
        )
    server = workspace.server.status()
    schema = None
    if server.running:
        # Not as a user of the server: the last user stops it when it leaves.
        async with Database.open(workspace.server.address.dsn) as database:
            schema = (await schema_version(database)).current
    return DatabaseStatus(
        url=workspace.server.address.dsn,
        running=server.running,
        schema=schema,
        needed_schema=HEAD,
        embedded={
            "kept": server.kept,
            "pid": server.pid,
            "version": server.version,
            "data": str(server.data_directory),
            "log": str(server.log_file),
            "binaries": None if server.binaries is None else str(server.binaries),
        },
        journal=journal,
    )


async def keep_running(workspace: Workspace) -> str:
    """Start the embedded server, keep it, and return its URL.

    Raises:
        UsageError: the database is a server of the user's own.
    """
    _refuse_own_server(workspace)
    return workspace.server.keep_running().dsn


async def stop_server(workspace: Workspace) -> str:
    """Stop keeping the embedded server and return what became of it, a key of `STOP_TEXTS`.

    Raises:
        UsageError: the database is a server of the user's own.
    """
    _refuse_own_server(workspace)
    return workspace.server.stop().value


async def database_url(workspace: Workspace) -> str:
    """Return the URL of the database, without a password.

    Raises:
        DatabaseUnavailableError: the embedded server has never been started.
    """
    from ntrader.storage.urls import DatabaseUrl

    if workspace.database_url is not None:
        return str(DatabaseUrl.parse(workspace.database_url))
    return workspace.server.address.dsn


async def upgrade_schema(workspace: Workspace) -> tuple[str | None, str | None]:
    """Bring the schema to this version and return the versions before and after.

    Raises:
        SchemaError: a newer ntrader made the schema.
    """
    from ntrader.storage.migrations import schema_version, upgrade

    database = workspace.database()
    before = await schema_version(database)
    await upgrade(database)
    return before.current, (await schema_version(database)).current


def _refuse_own_server(workspace: Workspace) -> None:
    if workspace.database_url is not None:
        raise UsageError(
            "DATABASE_URL names a server of your own; ntrader does not start or stop it.",
            hint="Unset DATABASE_URL to use the embedded server.",
        )
