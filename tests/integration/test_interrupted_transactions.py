"""Work that is interrupted tells why, is not begun again, and leaves its connection clean."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select, text

from ntrader.errors import DatabaseBusyError, NotFoundError
from ntrader.storage.database import Database
from ntrader.storage.transactions import Transaction
from support.database import execute

END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
# More than the longest that a loaded machine needs for what comes before.
LONG = 600


@pytest.fixture(params=["", "&pgbouncer=true"], ids=["direct", "pooler"])
async def reached(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Database]:
    async with Database.open(database_url + request.param) as database:
        yield database


class Lost:
    """Work that goes on for long after its connection has ended."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.attempts = 0
        self.is_lost = asyncio.Event()

    async def __call__(self, transaction: Transaction) -> None:
        self.attempts += 1
        if self.attempts > 1:
            return
        await lose(transaction, self._url)
        self.is_lost.set()
        await asyncio.sleep(LONG)


async def test_work_that_is_cancelled_after_it_lost_its_connection_ends(database_url: str) -> None:
    work = Lost(database_url)
    async with Database.open(database_url) as database:
        task = asyncio.create_task(database.run(work))
        await work.is_lost.wait()
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.attempts == 1
        assert database.connections[0] == 0


async def test_work_that_lost_its_connection_lasts_no_longer_than_it_may(database_url: str) -> None:
    work = Lost(database_url)
    async with Database.open(database_url) as database:
        with pytest.raises(DatabaseBusyError, match="did not answer within 2 s"):
            await database.run(work, seconds=2)
    assert work.attempts == 1


async def test_a_connection_that_is_lost_does_not_hide_why_work_was_given_up(
    database: Database, database_url: str
) -> None:
    async def give_up() -> None:
        async with database.transaction() as transaction:
            await lose(transaction, database_url)
            raise NotFoundError("the reason")

    with pytest.raises(NotFoundError, match="the reason"):
        await give_up()
    assert database.connections[0] == 0


@pytest.mark.parametrize("times", [1, 3])
async def test_a_connection_is_clean_however_often_its_user_is_cancelled(
    reached: Database, database_url: str, times: int
) -> None:
    async def write(transaction: Transaction) -> None:
        await transaction.execute(select(func.pg_sleep(float(LONG))))

    for ask in (lambda: reached.run(write), lambda: reached.read(select(func.pg_sleep(LONG)))):
        task = asyncio.create_task(ask())
        await sleeping(database_url)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reached.connections[0] == 0
        assert len(await reached.read(select(func.now()))) == 1
        await execute(database_url, END_OTHERS)


async def sleeping(url: str) -> None:
    """Wait until somebody sleeps in the server."""
    async with Database.open(url) as database:
        asleep = text(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event = 'PgSleep'"
        )
        while not await database.fetch(asleep):
            await asyncio.sleep(0.05)


async def lose(transaction: Transaction, url: str) -> None:
    """End the connection of a transaction that has begun, and wait until that is known here."""
    await transaction.execute(text("SELECT 1"))
    await execute(url, END_OTHERS)
    while not transaction.driver.is_closed():
        await asyncio.sleep(0.01)
