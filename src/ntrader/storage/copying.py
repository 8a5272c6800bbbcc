"""Rows in bulk, by PostgreSQL's COPY: out of one snapshot, and into an empty store.

The text format is that of every PostgreSQL; the binary one may change with the major version.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import bindparam, func, literal, select, text, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text, Uuid

from ntrader.domain.artifacts import Artifact
from ntrader.domain.datasets import Dataset
from ntrader.domain.dumps import PLAIN_FILENAME, DumpContents, TableContents
from ntrader.errors import ConflictError, DamagedError
from ntrader.storage import rows
from ntrader.storage.database import Database
from ntrader.storage.migrations import HEAD, bring_to, current_version, take_migration_lock
from ntrader.storage.service_tables import SERVICE_TABLES
from ntrader.storage.tables import SCHEMA, artifacts_table, datasets_table
from ntrader.storage.timeouts import LOAD_SECONDS
from ntrader.storage.transactions import Transaction

PART_BYTES = 8 << 20
"""How many bytes of rows are handed on at once, the last row of them whole."""

_BATCH = 1_000
# What the database derives from other rows follows from them again.
_ORDER = [table.name for table in SCHEMA.sorted_tables if not table.info.get("derived")]
# What the server is set to must neither end work that lasts nor change how values are written.
_SETTINGS = """
    SELECT set_config(name, CASE lower(name)
        WHEN 'datestyle' THEN 'ISO, YMD' WHEN 'timezone' THEN 'UTC' ELSE '0' END, true)
    FROM pg_settings
    WHERE lower(name) IN ('statement_timeout', 'idle_in_transaction_session_timeout',
                          'transaction_timeout', 'datestyle', 'timezone')
"""
_COLUMNS = text(
    """
    SELECT attribute.attname FROM pg_attribute AS attribute
    WHERE attribute.attrelid = to_regclass(:table) AND attribute.attnum > 0
        AND NOT attribute.attisdropped AND attribute.attgenerated = ''
    ORDER BY attribute.attnum
    """
)
_PRESENT = (
    text("SELECT name FROM unnest(:names) AS name WHERE to_regclass(name) IS NOT NULL")
    .bindparams(bindparam("names", _ORDER, type_=ARRAY(Text)))
    .columns(name=Text)
)
_HAS_IDENTITY = text(
    "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass(:table)"
    " AND attname = 'id' AND attidentity <> ''"
)
_DELETE_RUNS = text(
    "DELETE FROM backtest_runs WHERE run_id = ANY(:runs) OR dataset_id IN"
    " (SELECT id FROM datasets WHERE content_hash = ANY(:datasets))"
).bindparams(bindparam("runs", type_=ARRAY(Uuid)), bindparam("datasets", type_=ARRAY(Text)))
_DELETE_DATASETS = text("DELETE FROM datasets WHERE content_hash = ANY(:datasets)").bindparams(
    bindparam("datasets", type_=ARRAY(Text))
)
_FOREIGN_PLACE = text(
    "SELECT storage_path FROM artifacts WHERE filename !~ :plain OR storage_path <>"
    " substr(run_id::text, 1, 2) || '/' || run_id || '/' || filename LIMIT 1"
)

type Take = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A store as it was at one moment, whatever is saved or deleted meanwhile."""

    transaction: Transaction
    revision: str

    async def datasets(self) -> tuple[Dataset, ...]:
        """Return all datasets."""
        found = await self.transaction.execute(datasets_table.select())
        return tuple(rows.dataset_from(row) for row in found)

    async def count_files(self) -> int:
        """Return how many files of runs there are."""
        count: int | None = await self.transaction.scalar(
            select(func.count()).select_from(artifacts_table)
        )
        return count or 0

    async def artifacts(self) -> AsyncIterator[Artifact]:
        """Give the rows of all files, those of one run together."""
        last: tuple[UUID, UUID] = (UUID(int=0), UUID(int=0))
        key = (artifacts_table.c.run_id, artifacts_table.c.id)
        while True:
            found = (
                await self.transaction.execute(
                    artifacts_table.select()
                    .where(tuple_(*key) > tuple_(*map(literal, last)))
                    .order_by(*key)
                    .limit(_BATCH)
                )
            ).all()
            for row in found:
                yield rows.artifact_from(row)
            if len(found) < _BATCH:
                return
            last = (found[-1].run_id, found[-1].id)

    async def tables(self) -> list[str]:
        """Return our tables that this revision of the schema has; referenced ones come first."""
        return [name for name in _ORDER if await self._columns(name)]

    async def copy(self, table: str, take: Take) -> TableContents:
        """Hand the rows of a table on in parts, and return what they are."""
        columns = await self._columns(table)
        parts = _Parts(take)
        listed = ", ".join(f'"{column}"' for column in columns)
        # By the first column, the key: an original comes before the run that reproduced it.
        done = await self.transaction.driver.copy_from_query(
            f'SELECT {listed} FROM "{table}" ORDER BY 1',  # noqa: S608
            output=parts.receive,
            format="text",
        )
        parts.finish()
        return TableContents(
            columns=columns, rows=int(done.split()[-1]), parts=parts.count, size=parts.size
        )

    async def _columns(self, table: str) -> tuple[str, ...]:
        found = await self.transaction.execute(_COLUMNS, {"table": table})
        return tuple(found.scalars())


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[Snapshot]:
    """Give the store as it is now; writers go on, migrations wait."""
    present = await database.fetch(_PRESENT)
    async with database.transaction() as transaction:
        await transaction.execute(
            text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        )
        # Before the snapshot is taken, by the next statement: nothing migrates in between.
        listed = ", ".join(f'"{row.name}"' for row in present)
        await transaction.execute(text(f"LOCK TABLE {listed} IN ACCESS SHARE MODE"))
        await transaction.execute(text(_SETTINGS))
        yield Snapshot(transaction, await current_version(transaction) or "")


async def refuse_full(database: Database) -> None:
    """Look whether the store is empty, before there is work to be done.

    Raises:
        ConflictError: it is not.
    """
    async with database.transaction() as transaction:
        if not await _is_empty(transaction):
            raise _not_empty()


async def load(
    database: Database,
    revision: str,
    contents: DumpContents,
    content: Callable[[str], Iterable[bytes]],
) -> None:
    """Fill an empty store with rows of `revision` and migrate it to ours, all in one transaction.

    Raises:
        ConflictError: the store is not empty.
        DamagedError: the rows are not those of a dump.
        SchemaError: the revision is not known.
    """

    async def fill(transaction: Transaction) -> None:
        await take_migration_lock(transaction)
        await load_rows(transaction, revision, contents, content)
        await bring_to(transaction, HEAD)

    await database.run(fill, seconds=LOAD_SECONDS)


async def load_rows(
    transaction: Transaction,
    revision: str,
    contents: DumpContents,
    content: Callable[[str], Iterable[bytes]],
) -> None:
    """Fill an empty store, whose schema is of `revision` then; errors as for `load`."""
    await transaction.execute(text(_SETTINGS))
    await _lock_tables(transaction)
    if not await _is_empty(transaction):
        raise _not_empty()
    if strangers := contents.tables.keys() - set(_ORDER):
        raise DamagedError(f"The dump has a table {min(strangers)}, which is none of ours.")
    await bring_to(transaction, revision)
    for table in _ORDER:
        if table in contents.tables:
            await _fill(transaction, table, contents.tables[table], content(table))
    where = await transaction.scalar(_FOREIGN_PLACE, {"plain": f"^{PLAIN_FILENAME}$"})
    if where is not None:
        raise DamagedError(f"The dump names a file that is not in its run's place: {where!r}.")
    datasets = list(contents.deleted_datasets)
    runs = list(contents.deleted_runs)
    await transaction.execute(_DELETE_RUNS, {"runs": runs, "datasets": datasets})
    await transaction.execute(_DELETE_DATASETS, {"datasets": datasets})


async def _is_empty(transaction: Transaction) -> bool:
    """Whether the store has no row, or no tables even.

    The service's tables count: a migration back to an earlier revision would drop them.
    """
    for table in (*_ORDER, *sorted(SERVICE_TABLES)):
        if await transaction.scalar(text("SELECT to_regclass(:table)"), {"table": table}) is None:
            continue
        if await transaction.scalar(text(f'SELECT EXISTS (SELECT FROM "{table}")')):  # noqa: S608
            return False
    return True


def _not_empty() -> ConflictError:
    return ConflictError(
        "The store is not empty: a dump is the whole of a store, and is not merged into another.",
        hint="Restore it with another NTRADER_HOME (or DATABASE_URL), or move single runs with "
        "`ntrader export` and `ntrader import`.",
    )


async def _lock_tables(transaction: Transaction) -> None:
    for table in _ORDER:
        if await transaction.scalar(text("SELECT to_regclass(:table)"), {"table": table}):
            # Nobody else writes between the look and the end of the transaction.
            await transaction.execute(text(f'LOCK TABLE "{table}" IN EXCLUSIVE MODE'))


async def _fill(
    transaction: Transaction, table: str, about: TableContents, content: Iterable[bytes]
) -> None:
    done = await transaction.driver.copy_to_table(
        table, source=_given(content), columns=list(about.columns), format="text"
    )
    if int(done.split()[-1]) != about.rows:
        raise DamagedError(f"The dump has another number of rows in {table} than it says.")
    if await transaction.scalar(_HAS_IDENTITY, {"table": table}):
        # What is saved next follows what was saved before.
        await transaction.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id))"  # noqa: S608
                f' FROM "{table}" HAVING max(id) IS NOT NULL'
            )
        )
    await transaction.execute(text(f'ANALYZE "{table}"'))


async def _given(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in content:
        yield chunk


class _Parts:
    """Cuts a stream of rows into parts that end with a row."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._held = bytearray()
        self.count = 0
        self.size = 0

    async def receive(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= PART_BYTES:
            # A newline within a value is written as two other characters.
            self._hand_on(self._held.rfind(b"\n") + 1)

    def finish(self) -> None:
        self._hand_on(len(self._held))

    def _hand_on(self, length: int) -> None:
        if length:
            part = bytes(self._held[:length])
            del self._held[:length]
            self.count += 1
            self.size += length
            self._take(part)
