"""The store as services use it: one database and its repositories."""

from dataclasses import dataclass
from typing import Self

from ntrader.storage.annotations import AnnotationRepository
from ntrader.storage.database import Database
from ntrader.storage.datasets import DatasetRepository
from ntrader.storage.runs import RunRepository
from ntrader.storage.sources import SourceRepository
from ntrader.storage.strategies import StrategyRepository


@dataclass(frozen=True, slots=True)
class Store:
    """Where all rows are kept."""

    database: Database
    runs: RunRepository
    datasets: DatasetRepository
    strategies: StrategyRepository
    sources: SourceRepository
    annotations: AnnotationRepository

    @classmethod
    def of(cls, database: Database) -> Self:
        """Return the store on a database whose schema is up to date."""
        return cls(
            database=database,
            runs=RunRepository(database),
            datasets=DatasetRepository(database),
            strategies=StrategyRepository(database),
            sources=SourceRepository(database),
            annotations=AnnotationRepository(database),
        )
