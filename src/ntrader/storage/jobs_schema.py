"""The queue's schema: procrastinate's tables and functions, in a PostgreSQL schema of our own.

They come from the installed procrastinate and not from our migrations: whoever only runs backtests
from the command line has neither. A database that is shared may hold another application's
procrastinate; in a schema of our own the two do not meet.
"""

from importlib import resources
from pathlib import Path

from sqlalchemy import TextClause, text

from ntrader.errors import SchemaError
from ntrader.storage.database import Database
from ntrader.storage.migrations import take_migration_lock
from ntrader.storage.timeouts import MIGRATION_SECONDS
from ntrader.storage.transactions import Transaction

_APPLIED = "ntrader_applied_migrations"
_NOTE = text(f"INSERT INTO {_APPLIED} VALUES (:name)")  # noqa: S608
_CURRENT = text("SELECT current_schema()")
_IS_THERE = text("SELECT to_regclass(:table) IS NOT NULL")
_HAS_SCHEMA = text("SELECT to_regnamespace(:schema) IS NOT NULL")
_SEARCH_PATH = text("SELECT set_config('search_path', :path, true)")


async def ensure_queue(database: Database) -> str:
    """Bring the queue's schema to what the installed procrastinate needs; return its name.

    Any number of processes may do so at once.

    Raises:
        DatabaseError: the user of the database URL may not create a schema.
        SchemaError: the schema is there and is not ours.
    """
    current: str = (await database.fetch(_CURRENT))[0][0]
    schema = queue_schema(current)
    if not await _is_up_to_date(database, schema):
        await database.run(
            lambda transaction: _migrate(transaction, schema), seconds=MIGRATION_SECONDS
        )
    return schema


def queue_schema(schema: str) -> str:
    """Return the schema of the queue for a store that is in `schema`."""
    return "ntrader_queue" if schema == "public" else f"{schema}_queue"


def quoted(schema: str) -> str:
    """Return the name of a schema as SQL writes it."""
    return '"' + schema.replace('"', '""') + '"'


async def _is_up_to_date(database: Database, schema: str) -> bool:
    found = await database.fetch(_IS_THERE.bindparams(table=_table(schema)))
    if not found[0][0]:
        return False
    applied = await database.fetch(_applied(schema))
    return _migrations().keys() <= {row.name for row in applied}


async def _migrate(transaction: Transaction, schema: str) -> None:
    await take_migration_lock(transaction)
    if not await transaction.scalar(_HAS_SCHEMA, {"schema": quoted(schema)}):
        await transaction.execute(text(f"CREATE SCHEMA {quoted(schema)}"))
    is_new = not await transaction.scalar(_IS_THERE, {"table": _table(schema)})
    if is_new and await transaction.scalar(
        _IS_THERE, {"table": f"{quoted(schema)}.procrastinate_jobs"}
    ):
        raise SchemaError(
            f"The schema {schema} holds a queue that ntrader did not make.",
            hint="Use a database of its own, or drop that schema.",
        )
    # procrastinate's scripts name nothing by its schema.
    usual = await transaction.scalar(text("SELECT current_setting('search_path')"))
    await transaction.execute(_SEARCH_PATH, {"path": quoted(schema)})
    if is_new:
        await transaction.execute(
            text(
                f"CREATE TABLE {_APPLIED} (name TEXT PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL"
                " DEFAULT now())"
            )
        )
        await _run_script(transaction, _whole_schema())
    known = {row.name for row in await transaction.execute(_applied(schema))}
    for name, path in _migrations().items():
        if name in known:
            continue
        if not is_new:
            await _run_script(transaction, path.read_text(encoding="utf-8"))
        await transaction.execute(_NOTE, {"name": name})
    await transaction.execute(_SEARCH_PATH, {"path": usual})


async def _run_script(transaction: Transaction, script: str) -> None:
    # A prepared statement is one statement, a script is many.
    await transaction.driver.execute(script)


def _table(schema: str) -> str:
    return f"{quoted(schema)}.{_APPLIED}"


def _applied(schema: str) -> TextClause:
    return text(f"SELECT name FROM {_table(schema)}")  # noqa: S608


def _migrations() -> dict[str, Path]:
    """Return the scripts that led to the installed version's schema, in their order."""
    from procrastinate.schema import migrations_path

    return {path.name: path for path in sorted(Path(migrations_path).glob("*.sql"))}


def _whole_schema() -> str:
    return (resources.files("procrastinate.sql") / "schema.sql").read_text(encoding="utf-8")
