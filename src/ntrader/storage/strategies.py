"""The repository of strategies."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from ntrader.domain.strategies import Parameters, StrategyRecord, StrategySpec
from ntrader.storage import rows
from ntrader.storage.database import Database
from ntrader.storage.tables import strategies_table
from ntrader.storage.transactions import Transaction


class StrategyRepository:
    """Strategies as runs refer to them: one row for each name and version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self, spec: StrategySpec) -> StrategyRecord:
        """Return the strategy's row, made or brought up to date where necessary.

        A row whose source is the same stays untouched. Source that changed within one version
        replaces what the row says; what earlier runs used is in their snapshots.
        """
        found = await self._database.fetch(_row_of(spec.name, spec.version))
        if found and found[0].source_hash == spec.source_hash:
            return rows.strategy_from(found[0])
        return await self._database.run(lambda transaction: _save(transaction, spec))

    async def find(self, name: str, version: str) -> StrategyRecord | None:
        """Return the strategy's row, or None."""
        found = await self._database.fetch(_row_of(name, version))
        return rows.strategy_from(found[0]) if found else None

    async def find_by_id(self, strategy_id: UUID) -> StrategyRecord | None:
        """Return the strategy's row, or None."""
        found = await self._database.fetch(
            select(*strategies_table.columns).where(strategies_table.c.id == strategy_id)
        )
        return rows.strategy_from(found[0]) if found else None

    async def add_configuration(
        self,
        strategy_id: UUID,
        spec: StrategySpec,
        *,
        name: str,
        version: str,
        description: str,
        parameters: Parameters,
    ) -> StrategyRecord | None:
        """Save a named configuration of a strategy and return it; the same again is the same.

        Returns None where another strategy has that name and version.
        """
        values = {
            **rows.strategy_values(spec),
            "id": strategy_id,
            "name": name,
            "version": version,
            "description": description,
            "params": parameters,
        }
        statement = insert(strategies_table).values(values).on_conflict_do_nothing()
        await self._database.run(lambda transaction: transaction.execute(statement))
        return await self.find_by_id(strategy_id)

    async def page(
        self,
        *,
        name: str | None = None,
        limit: int,
        after: tuple[datetime, UUID] | None = None,
    ) -> tuple[StrategyRecord, ...]:
        """Return the strategies, all or those of one name, the newest first, at most `limit`.

        `after` is the creation and the id of the last strategy of the page before.
        """
        place = (strategies_table.c.created_at, strategies_table.c.id)
        statement = select(*strategies_table.columns).order_by(*(each.desc() for each in place))
        if name is not None:
            statement = statement.where(strategies_table.c.name == name)
        if after is not None:
            statement = statement.where(tuple_(*place) < tuple_(*after))
        found = await self._database.fetch(statement.limit(limit))
        return tuple(rows.strategy_from(row) for row in found)


async def _save(transaction: Transaction, spec: StrategySpec) -> StrategyRecord:
    values: dict[str, Any] = rows.strategy_values(spec)
    statement = (
        insert(strategies_table)
        .values(values)
        .on_conflict_do_update(
            constraint="uq_strategies_name_version", set_={**values, "updated_at": func.now()}
        )
        .returning(*strategies_table.columns)
    )
    return rows.strategy_from((await transaction.execute(statement)).one())


def _row_of(name: str, version: str) -> Any:
    return select(*strategies_table.columns).where(
        strategies_table.c.name == name, strategies_table.c.version == version
    )
