"""The schema's versions: which one a database has, and how it comes to ours.

Alembic does the work. It is imported only when there is work: it takes longer to load than
everything else that a command needs from the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Select, column, select, table, text
from sqlalchemy.exc import DBAPIError

import ntrader
from ntrader.errors import SchemaError
from ntrader.storage.database import Database
from ntrader.storage.timeouts import MIGRATION_LOCK_FACTOR, MIGRATION_SECONDS

if TYPE_CHECKING:
    from alembic.config import Config

    from ntrader.storage.transactions import Transaction

VERSION_TABLE = "ntrader_alembic_version"
HEAD = "0007"
"""The newest revision; a test holds it against the scripts."""

_VERSION: Select[tuple[str]] = select(column("version_num")).select_from(table(VERSION_TABLE))
_LOCK_KEY = int.from_bytes(b"ntrader")
_WAIT_LONGER = text(
    "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout',"
    " (CAST(:factor AS int) * extract(epoch FROM CAST(current_setting('lock_timeout') AS interval))"
    " * 1000)::bigint::text, true)"
).bindparams(factor=MIGRATION_LOCK_FACTOR)
# Duplicate table, duplicate type, duplicate function.
_TAKEN = frozenset({"42P07", "42710", "42723"})


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """What the database has (None for an empty one), and what this program needs."""

    current: str | None
    head: str = HEAD

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return self.current == self.head


async def ensure_schema(database: Database) -> None:
    """Bring the database to our version; one cheap query where it has it.

    Any number of processes may do so at once: one migrates, the others wait for it.

    Raises:
        SchemaError: a newer program made the schema, or tables of that name are there already.
    """
    if not (await schema_version(database)).up_to_date:
        await upgrade(database)


async def schema_version(database: Database) -> SchemaVersion:
    """Return which version the database has; nothing is changed."""
    try:
        rows = await database.fetch(_VERSION)
    except SchemaError:
        # There is no such table.
        return SchemaVersion(None)
    return SchemaVersion(rows[0][0] if rows else None)


async def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate to `revision`, all in one transaction.

    Raises:
        SchemaError: as `ensure_schema`.
    """
    await database.run(
        lambda transaction: _migrate(transaction, _upgrade, revision), seconds=MIGRATION_SECONDS
    )


async def downgrade(database: Database, revision: str) -> None:
    """Migrate back to `revision`; `base` removes everything, the runs included."""
    await database.run(
        lambda transaction: _migrate(transaction, _downgrade, revision), seconds=MIGRATION_SECONDS
    )


def script_directory() -> Path:
    """Return where the migrations are: in the package, or in the checkout."""
    packed = Path(ntrader.__file__).parent / "migrations"
    return packed if packed.is_dir() else Path(__file__).parents[3] / "alembic"


async def take_migration_lock(transaction: Transaction) -> None:
    """Wait until nobody else migrates; the lock lasts until the transaction ends.

    A statement of this transaction may then take as long as it needs.

    Raises:
        DatabaseBusyError: somebody migrates for longer than we wait.
    """
    usual = await transaction.scalar(text("SHOW lock_timeout"))
    await transaction.execute(_WAIT_LONGER)
    await transaction.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"))
    # Whoever waits for the lock of a table holds up all who come later: not for long.
    await transaction.execute(
        text("SELECT set_config('lock_timeout', :usual, true)"), {"usual": usual}
    )


def revisions() -> tuple[str, ...]:
    """Return all versions that this program knows, the oldest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(script_directory())).walk_revisions()
    return tuple(script.revision for script in scripts)[::-1]


async def bring_to(transaction: Transaction, revision: str) -> None:
    """Migrate to `revision` in a transaction that has the migration lock and does more.

    A database that is further goes back: it must be empty.
    """
    current = await current_version(transaction)
    if current == revision:
        return
    known = revisions()
    back = current in known and known.index(current) > known.index(revision)
    await transaction.run_sync(_with_alembic, _downgrade if back else _upgrade, revision)


async def _migrate(
    transaction: Transaction, command: Callable[[Config, str], None], revision: str
) -> None:
    await take_migration_lock(transaction)
    current = await current_version(transaction)
    # Somebody else may have done it while we waited.
    if revision == "head" and SchemaVersion(current).up_to_date:
        return
    try:
        await transaction.run_sync(_with_alembic, command, revision)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in _TAKEN:
            raise
        raise _taken(current, error) from error


async def current_version(transaction: Transaction) -> str | None:
    """Return which version the database has, within a transaction."""
    # A query that fails would end the transaction.
    if await transaction.scalar(text(f"SELECT to_regclass('{VERSION_TABLE}')")) is None:
        return None
    version: str | None = await transaction.scalar(_VERSION)
    return version


def _taken(current: str | None, error: DBAPIError) -> SchemaError:
    if current is None:
        return SchemaError(
            f"The database holds something else by one of our names: {error.orig}.",
            hint="Use a database of its own, or one whose search_path names an empty schema.",
        )
    return SchemaError(
        f"The database's schema is not that of version {current}, as it says: {error.orig}.",
        hint="It was changed by hand or restored by half. Restore a whole backup.",
    )


def _with_alembic(
    connection: Connection, command: Callable[[Config, str], None], revision: str
) -> None:
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(script_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command(config, revision)
    except CommandError as error:
        raise SchemaError(
            f"The database's schema is of a version that this ntrader does not know: {error}.",
            hint="A newer ntrader made it: upgrade this one.",
        ) from error


def _upgrade(config: Config, revision: str) -> None:
    from alembic import command

    command.upgrade(config, revision)


def _downgrade(config: Config, revision: str) -> None:
    from alembic import command

    command.downgrade(config, revision)
