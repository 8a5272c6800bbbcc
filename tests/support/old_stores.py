"""Stores that earlier versions made, as their programs left them."""

from pathlib import Path

from ntrader.services.dumps import restore_files
from ntrader.services.workspace import Workspace
from ntrader.storage.copying import load_rows
from ntrader.storage.database import Database
from ntrader.storage.dump_files import opened_dump
from ntrader.storage.migrations import take_migration_lock
from ntrader.storage.transactions import Transaction

ASSETS = Path(__file__).parents[1] / "upgrade_assets"


async def load_old_store(url: str, home: Path, revision: str) -> None:
    """Make the store of a revision in an empty database and home."""
    with opened_dump(ASSETS / f"{revision}.tar") as dump:

        async def rows(transaction: Transaction) -> None:
            await take_migration_lock(transaction)
            await load_rows(transaction, dump.header.revision, dump.contents, dump.rows)

        async with Database.open(url) as database:
            await database.run(rows)
        restore_files(Workspace(home), dump)
