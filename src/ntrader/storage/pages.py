"""Reading a page of a list, by the way that should read the fewest runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import CompoundSelect, Select

from ntrader.domain.queries import Cursor, RunFilter, RunOrder
from ntrader.storage.plans import Expected
from ntrader.storage.queries import gathered_statement, page_statement, weighing_statement
from ntrader.storage.ways import is_at_hand, walks

if TYPE_CHECKING:
    import asyncpg

_MOST_KEPT = 200


class Answers(Protocol):
    """What a database answers; see `Database`."""

    async def read(self, statement: Select[Any]) -> Sequence[asyncpg.Record]:
        """Return the rows of a statement."""

    async def expected(self, statement: CompoundSelect[Any]) -> Sequence[Expected]:
        """Return what the planner expects of each part of a statement."""


class Pages:
    """Pages of runs; a service is asked for the same few again and again, so statements are kept.

    Args:
        database: who answers the statements.
    """

    def __init__(self, database: Answers) -> None:
        self._database = database
        self._kept: dict[object, Any] = {}

    async def rows(
        self, where: RunFilter, order: RunOrder, *, limit: int, after: Cursor | None = None
    ) -> Sequence[asyncpg.Record]:
        """Return the first `limit` runs after `after`, with their `order_value`.

        Raises:
            CursorMismatchError: `after` was issued for another list.
        """
        list_ = where.canonical(), order
        page = *list_, limit, after
        given = partial(page_statement, where, order, limit=limit, after=after)
        if is_at_hand(where, order, after):
            return await self._database.read(self._statement(page, given))
        weighing = self._statement(list_, partial(weighing_statement, where, order))
        for steps in walks(await self._database.expected(weighing), limit):
            walk = self._statement((*page, steps), partial(given, steps=steps))
            found = await self._database.read(walk)
            if len(found) == limit:
                return found
        gathering = partial(gathered_statement, where, order, limit=limit, after=after)
        return await self._database.read(self._statement((*page, "gathered"), gathering))

    def _statement[T](self, asked: object, make: Callable[[], T]) -> T:
        """Return a statement that was made before, or make it."""
        kept: T | None = self._kept.get(asked)
        if kept is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = self._kept[asked] = make()
        return kept
