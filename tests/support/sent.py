"""The statements that a store sends to its server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Engine, event

from ntrader.storage.store import Store


@asynccontextmanager
async def statements_of(store: Store) -> AsyncIterator[list[str]]:
    """Collect what the one connection of a store is sent, by SQLAlchemy or straight by the driver.

    The driver asks for the types of a statement when it first sees them: ask it once before.
    """
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    async with store.database.transaction() as transaction:
        driver = transaction.driver
    driver.add_query_logger(note_driver := lambda query: sent.append(query.query))
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
        # The driver tells at the loop's next turn.
        await asyncio.sleep(0)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        driver.remove_query_logger(note_driver)
