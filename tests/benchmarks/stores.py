"""The stores that are asked: filled once and kept, measured in copies that are thrown away."""
# ruff: noqa: T201

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import asyncpg

from ntrader.services.workspace import Workspace
from ntrader.storage.migrations import HEAD
from support.database import execute

from .filling import fill

COPY = "measured"
UNFINISHED = "unfinished"


@asynccontextmanager
async def store_copy(dsn: str, home: Path, *, runs: int) -> AsyncIterator[str]:
    """Give the URL of a store with so many runs, to be asked and changed at will.

    Its original stays on the server: the next time nothing is filled.
    """
    kept = await _kept(dsn, home, runs)
    async with new_database(dsn, COPY, like=kept) as url:
        yield url


@asynccontextmanager
async def new_database(dsn: str, name: str, *, like: str = "template0") -> AsyncIterator[str]:
    """Give the URL of a database, and drop it afterwards."""
    await _create(dsn, name, like)
    try:
        yield url_of(dsn, name)
    finally:
        await execute(dsn, f"DROP DATABASE {name} WITH (FORCE)")


def url_of(dsn: str, name: str) -> str:
    """Return the URL of another database of the embedded server."""
    return dsn.replace("/ntrader?", f"/{name}?")


async def _kept(dsn: str, home: Path, runs: int) -> str:
    """Return the name of the database that keeps such a store; it is filled if there is none."""
    name = f"store_{runs}_{_recipe()}"
    connection = await asyncpg.connect(dsn)
    try:
        if await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name
        ):
            return name
    finally:
        await connection.close()
    started = time.perf_counter()
    await _create(dsn, UNFINISHED, "template0")
    await _fill(url_of(dsn, UNFINISHED), home, runs)
    await _settle(url_of(dsn, UNFINISHED))
    await execute(dsn, f"ALTER DATABASE {UNFINISHED} RENAME TO {name}")
    print(f"  filled with {runs:,} runs: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return name


def _recipe() -> str:
    """Name how stores are filled: one that was filled otherwise is not taken."""
    recipe = Path(__file__).with_name("filling.py").read_bytes() + HEAD.encode()
    return sha256(recipe).hexdigest()[:8]


async def _create(dsn: str, name: str, like: str) -> None:
    await execute(
        dsn,
        f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
        # Files are copied as they are; by default every page would go through the log.
        f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy",
    )


async def _fill(url: str, home: Path, runs: int) -> None:
    async with Workspace(home, database_url=url) as workspace:
        await fill(await workspace.store(), runs)


async def _settle(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
