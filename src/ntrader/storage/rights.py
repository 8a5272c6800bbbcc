"""What the user of the database URL may do, asked before work is done in vain."""

from sqlalchemy import text

from ntrader.errors import DatabaseError
from ntrader.storage.database import Database

_RIGHTS = text(
    "SELECT has_table_privilege(:table, 'INSERT') AS may_save,"
    " current_setting('transaction_read_only')::boolean AS read_only"
)
_NOT_SAVED = "`ntrader run --no-save` runs without."


async def require_saving(database: Database) -> None:
    """Make sure that a run could be saved now; one cheap query.

    Raises:
        DatabaseError: the user may only read, or the server only serves reading.
    """
    await _require(database, "backtest_runs", "run", _NOT_SAVED)


async def require_data_rights(database: Database) -> None:
    """Make sure that a dataset could be saved now; as `require_saving`."""
    await _require(database, "datasets", "dataset", "")


async def _require(database: Database, table: str, what: str, way_out: str) -> None:
    (rights,) = await database.fetch(_RIGHTS.bindparams(table=table))
    if not rights.may_save:
        raise DatabaseError(
            f"The user of the database URL may not save {what}s: permission denied for table "
            f"{table}.",
            hint=f"It needs more rights on the database. {way_out}".rstrip(),
        )
    if rights.read_only:
        raise DatabaseError(
            f"The database is read-only: a {what} cannot be saved.",
            hint=f"The server is a read-only replica: use its primary. {way_out}".rstrip(),
        )
