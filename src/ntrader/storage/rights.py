"""What the user of the database URL may do, asked before work is done in vain."""

from sqlalchemy import text

from ntrader.errors import DatabaseError
from ntrader.storage.database import Database

_RIGHTS = text(
    "SELECT has_table_privilege('backtest_runs', 'INSERT') AS may_save,"
    " current_setting('transaction_read_only')::boolean AS read_only"
)


async def require_saving(database: Database) -> None:
    """Make sure that a run could be saved now; one cheap query.

    Raises:
        DatabaseError: the user may only read, or the server only serves reading.
    """
    (rights,) = await database.fetch(_RIGHTS)
    if not rights.may_save:
        raise DatabaseError(
            "The user of the database URL may not save runs: permission denied for table "
            "backtest_runs.",
            hint="It needs more rights on the database. `ntrader run --no-save` runs without.",
        )
    if rights.read_only:
        raise DatabaseError(
            "The database is read-only: a run cannot be saved.",
            hint="The server is a read-only replica: use its primary. "
            "`ntrader run --no-save` runs without.",
        )
