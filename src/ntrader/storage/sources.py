"""The repository of kept sources."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from ntrader.domain.sources import StrategySource
from ntrader.errors import DamagedError
from ntrader.storage import rows
from ntrader.storage.database import Database
from ntrader.storage.tables import sources_table
from ntrader.storage.transactions import Transaction


class SourceRepository:
    """The code of strategies from files, each once, by its hash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, source: StrategySource) -> bool:
        """Keep the source; return whether it was new."""
        statement = (
            insert(sources_table)
            .values(rows.source_values(source))
            .on_conflict_do_nothing(index_elements=["hash"])
            .returning(sources_table.c.hash)
        )

        async def save(transaction: Transaction) -> bool:
            return await transaction.scalar(statement) is not None

        return await self._database.run(save)

    async def find(self, source_hash: str) -> StrategySource | None:
        """Return the source with this hash, or None.

        Raises:
            DamagedError: what is kept is not what was kept.
        """
        found = await self._database.fetch(
            select(sources_table.c.entry, sources_table.c.files).where(
                sources_table.c.hash == source_hash
            )
        )
        if not found:
            return None
        source = rows.source_from(found[0])
        if source.hash != source_hash:
            raise DamagedError(
                f"The kept source {source_hash[:12]} is not as it was kept.",
                hint="Something changed the table strategy_sources.",
            )
        return source
