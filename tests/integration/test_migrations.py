"""How a database comes to our schema, and back."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, text

from ntrader.domain.annotations import Annotations
from ntrader.domain.queries import RunFilter
from ntrader.errors import SchemaError
from ntrader.storage import migrations
from ntrader.storage.database import Database
from ntrader.storage.jobs_tables import SERVICE_SCHEMA
from ntrader.storage.runs import RunRepository
from ntrader.storage.service_tables import SERVICE_TABLES
from ntrader.storage.tables import SCHEMA, TABLES
from ntrader.storage.transactions import Transaction
from support.database import execute
from support.outcomes import make_result
from support.saving import Saver, SaveRun

CHECKOUT = Path(__file__).parents[2]

# What a schema consists of, as PostgreSQL itself writes it down.
CATALOG = {
    "columns": """
        SELECT table_name, column_name, ordinal_position, data_type, udt_name, is_nullable,
            column_default, identity_generation, numeric_precision, numeric_scale
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "enums": """
        SELECT enumtypid::regtype::text, enumlabel, enumsortorder FROM pg_enum ORDER BY 1, 3""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace ORDER BY 1""",
    "triggers": """
        SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
}


async def schema_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    return {
        part: [tuple(row) for row in await database.fetch(text(query))]
        for part, query in CATALOG.items()
    }


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Database]:
    async with Database.open(empty_database_url) as opened:
        yield opened


def difference(connection: Connection) -> list[Any]:
    """Return what autogenerate would change."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    options = {
        "version_table": migrations.VERSION_TABLE,
        "compare_server_default": True,
        "include_name": lambda name, kind, _: kind != "table" or name in TABLES | SERVICE_TABLES,
    }
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, cast(Any, [SCHEMA, SERVICE_SCHEMA])))


async def test_upgrade_downgrade_upgrade_leaves_no_difference(empty: Database) -> None:
    untouched = await schema_of(empty)
    await migrations.upgrade(empty)
    first = await schema_of(empty)
    await migrations.downgrade(empty, "base")
    emptied = await schema_of(empty)
    await migrations.upgrade(empty)

    assert await schema_of(empty) == first
    assert all(first.values())
    assert [row for row in emptied["columns"] if row[0] != migrations.VERSION_TABLE] == []
    for part in ("enums", "functions", "triggers", "views"):
        assert emptied[part] == untouched[part]


async def test_autogenerate_finds_no_difference(database: Database) -> None:
    async with database.transaction() as transaction:
        assert await transaction.run_sync(difference) == []


async def test_the_migrations_make_the_tables_that_the_program_describes(
    empty: Database, database: Database
) -> None:
    await empty.run(lambda transaction: transaction.run_sync(SCHEMA.create_all))
    await empty.run(lambda transaction: transaction.run_sync(SERVICE_SCHEMA.create_all))
    described, migrated = await schema_of(empty), await schema_of(database)
    for part in ("constraints", "indexes", "enums"):
        ours = [row for row in migrated[part] if migrations.VERSION_TABLE not in str(row)]
        assert described[part] == ours


async def test_autogenerate_sees_a_difference(database: Database) -> None:
    await database.run(
        lambda transaction: transaction.execute(text("DROP INDEX ix_events_payload"))
    )
    async with database.transaction() as transaction:
        assert len(await transaction.run_sync(difference)) == 1


def test_the_newest_revision_is_the_one_that_the_program_expects() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations.script_directory()))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


async def test_an_empty_database_has_no_version(empty: Database) -> None:
    version = await migrations.schema_version(empty)
    assert (version.current, version.up_to_date) == (None, False)


async def test_ensure_schema_migrates_an_empty_database(empty: Database) -> None:
    await migrations.ensure_schema(empty)
    assert (await migrations.schema_version(empty)).up_to_date


async def test_ensure_schema_keeps_what_is_there(database: Database, save_run: SaveRun) -> None:
    save_run()
    await migrations.ensure_schema(database)
    assert (await database.fetch(text("SELECT count(*) FROM backtest_runs")))[0][0] == 1


async def test_eight_at_once_migrate_an_empty_database_once(empty_database_url: str) -> None:
    async def ensure() -> None:
        async with Database.open(empty_database_url) as database:
            await migrations.ensure_schema(database)

    await asyncio.gather(*(ensure() for _ in range(8)))

    async with Database.open(empty_database_url) as database:
        versions = await database.fetch(text(f"SELECT * FROM {migrations.VERSION_TABLE}"))
        assert [row.version_num for row in versions] == [migrations.HEAD]


async def test_the_schema_of_a_newer_program_is_refused(
    database: Database, database_url: str
) -> None:
    await execute(database_url, f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(SchemaError, match="does not know") as caught:
        await migrations.ensure_schema(database)
    assert "upgrade" in (caught.value.hint or "")


async def test_who_migrates_waits_for_others_longer_than_for_a_table(
    empty_database_url: str,
) -> None:
    async def limits(transaction: Transaction) -> list[str]:
        names = ("lock_timeout", "statement_timeout")
        return [await transaction.scalar(text(f"SHOW {name}")) for name in names]

    async with Database.open(f"{empty_database_url}&lock_timeout=300ms") as database:
        async with database.transaction() as transaction:
            await migrations.take_migration_lock(transaction)
            assert await limits(transaction) == ["300ms", "0"]
        assert await database.run(limits) == ["300ms", "1min"]


async def test_tables_of_others_are_left_alone(empty: Database, empty_database_url: str) -> None:
    await execute(
        empty_database_url,
        "CREATE TABLE users (id int)",
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('theirs')",
    )
    await migrations.upgrade(empty)
    async with empty.transaction() as transaction:
        assert await transaction.run_sync(difference) == []
    await migrations.downgrade(empty, "base")
    rows = await empty.fetch(text("SELECT version_num FROM alembic_version, (SELECT FROM users)"))
    assert rows == []
    assert (await empty.fetch(text("SELECT * FROM alembic_version")))[0][0] == "theirs"


async def test_a_name_that_is_taken_is_an_error_that_leaves_nothing(
    empty: Database, empty_database_url: str
) -> None:
    await execute(empty_database_url, "CREATE TABLE strategies (id int)")
    before = await schema_of(empty)
    with pytest.raises(SchemaError, match='"strategies" already exists'):
        await migrations.ensure_schema(empty)
    assert await schema_of(empty) == before


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_the_alembic_command_of_a_checkout_makes_the_same_schema(
    empty: Database, empty_database_url: str, database: Database
) -> None:
    done = run(sys.executable, "-m", "alembic", "upgrade", "head", DATABASE_URL=empty_database_url)
    assert done.returncode == 0, done.stderr
    assert await schema_of(empty) == await schema_of(database)
    await migrations.ensure_schema(empty)


def test_the_alembic_command_finds_nothing_to_do(database_url: str) -> None:
    done = run(sys.executable, "-m", "alembic", "check", DATABASE_URL=database_url)
    assert done.returncode == 0, done.stderr
    assert "No new upgrade operations detected" in done.stdout


def test_a_database_that_is_up_to_date_does_not_cost_the_import_of_alembic(
    database_url: str,
) -> None:
    script = (
        "import asyncio, sys\n"
        "from ntrader.storage.database import Database\n"
        "from ntrader.storage.migrations import ensure_schema\n"
        "async def main():\n"
        "    async with Database.open(sys.argv[1]) as database:\n"
        "        await ensure_schema(database)\n"
        "asyncio.run(main())\n"
        "heavy = {'alembic', 'pandas', 'pyarrow', 'numpy', 'fsspec', 'nautilus_trader'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = run(sys.executable, "-c", script, database_url)
    assert (done.stdout, done.stderr) == ("[]\n", "")


async def test_a_database_of_the_first_version_keeps_its_runs(empty: Database) -> None:
    """What a user saved before tags, kept sources and statistics existed is read as ever."""
    await migrations.upgrade(empty)
    outcome = make_result()
    await Saver(empty).save(outcome)
    # The rows of a run without tags or a note are what the first version wrote.
    await migrations.downgrade(empty, "0001")

    await migrations.ensure_schema(empty)

    runs = RunRepository(empty)
    run = await runs.get(outcome.metadata.run_id)
    assert (run.metrics, run.fingerprint) == (outcome.metrics, outcome.metadata.fingerprint)
    assert (run.tags, run.note) == ((), None)
    assert [summary.runs for summary in await runs.summaries(RunFilter())] == [1]


async def test_going_back_to_the_first_version_keeps_the_runs(
    database: Database, save_run: SaveRun
) -> None:
    run_id = save_run(annotations=Annotations(("kept",), "A note."))
    await migrations.downgrade(database, "0001")
    await migrations.upgrade(database)
    run = await RunRepository(database).get(run_id)
    assert (run.tags, run.note) == ((), None)
