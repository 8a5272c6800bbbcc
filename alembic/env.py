"""How Alembic reaches the database.

ntrader hands its own connection over when it migrates by itself. The `alembic` command finds the
database as ntrader does: DATABASE_URL, or else the embedded server of NTRADER_HOME.
"""

import asyncio
from contextlib import ExitStack
from typing import Any

from alembic import context
from sqlalchemy import Connection

from ntrader.storage.jobs_tables import SERVICE_SCHEMA
from ntrader.storage.migrations import VERSION_TABLE, take_migration_lock
from ntrader.storage.service_tables import SERVICE_TABLES
from ntrader.storage.tables import SCHEMA, TABLES


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Look at our own tables only: the database may be shared."""
    return kind != "table" or name in TABLES | SERVICE_TABLES


def migrate(connection: Connection | None = None) -> None:
    """Run the migrations on `connection`, or write them as SQL where there is none."""
    context.configure(
        connection=connection,
        dialect_name=None if connection else "postgresql",
        literal_binds=connection is None,
        target_metadata=[SCHEMA, SERVICE_SCHEMA],
        version_table=VERSION_TABLE,
        include_name=include_name,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_database() -> None:
    """Run the migrations on the database of ntrader's settings."""
    from ntrader.config import load_settings
    from ntrader.storage.database import Database

    settings = load_settings()
    with ExitStack() as stack:
        if settings.database_url is not None:
            url = settings.database_url
        else:
            from ntrader.storage.embedded import EmbeddedServer

            server = EmbeddedServer(settings.home, pg_bin=settings.pg_bin)
            url = stack.enter_context(server).dsn
        async with Database.open(url) as database, database.transaction() as connection:
            await take_migration_lock(connection)
            await connection.run_sync(migrate)


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
elif context.is_offline_mode():
    migrate()
else:
    asyncio.run(migrate_database())
