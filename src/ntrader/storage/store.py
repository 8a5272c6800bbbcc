"""The store as services use it: one database, its repositories, and the files of runs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from ntrader.storage.artifacts import ArtifactStore
from ntrader.storage.database import Database
from ntrader.storage.datasets import DatasetRepository
from ntrader.storage.migrations import ensure_schema
from ntrader.storage.runs import RunRepository
from ntrader.storage.strategies import StrategyRepository


@dataclass(frozen=True, slots=True)
class Store:
    """Where everything is kept."""

    database: Database
    runs: RunRepository
    datasets: DatasetRepository
    strategies: StrategyRepository
    artifact_files: ArtifactStore

    @classmethod
    def of(cls, database: Database, artifacts: ArtifactStore) -> Self:
        """Return the store on a database whose schema is up to date."""
        return cls(
            database=database,
            runs=RunRepository(database),
            datasets=DatasetRepository(database),
            strategies=StrategyRepository(database),
            artifact_files=artifacts,
        )


@asynccontextmanager
async def open_store(
    url: str,
    *,
    artifacts: str,
    pooled: bool = False,
    revive: Callable[[], object] | None = None,
) -> AsyncIterator[Store]:
    """Give the store at `url`, its schema brought up to date.

    Args:
        url: the database; see `ntrader.storage.urls.DatabaseUrl`.
        artifacts: the root of the files, a path or a URL that fsspec knows.
        pooled: keep connections, for a service.
        revive: makes a server of our own answer again; see `Database`.

    Raises:
        DatabaseUnavailableError: the database cannot be reached.
        SchemaError: its schema is not one that this program can bring up to date.
    """
    async with Database.open(url, pooled=pooled, revive=revive) as database:
        await ensure_schema(database)
        yield Store.of(database, ArtifactStore(artifacts))
