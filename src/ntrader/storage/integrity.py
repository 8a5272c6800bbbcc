"""What a check of the store reads: every row once, a batch at a time."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, exists, func, select

from ntrader.domain.runs import IMPORTED, BacktestRun
from ntrader.errors import DamagedError
from ntrader.storage import rows
from ntrader.storage.database import Database
from ntrader.storage.run_rows import run_from, runs_with_details
from ntrader.storage.tables import artifacts_table, datasets_table, runs_table, sources_table

BATCH = 200

_IMPORTED = runs_table.c.metadata.has_key(IMPORTED)


@dataclass(frozen=True, slots=True)
class KeptHash:
    """The name of a kept source, and what its code hashes to (None where it is no code)."""

    hash: str
    computed: str | None


class IntegrityRepository:
    """Reads for a check; nothing that it returns grows with the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count_runs(self) -> int:
        """Return how many runs there are."""
        count: int = (await self._database.fetch(select(func.count()).select_from(runs_table)))[0][
            0
        ]
        return count

    async def runs_after(self, last: int) -> tuple[BacktestRun, ...]:
        """Return the runs that follow the one with the id `last`, in the order of their ids."""
        found = await self._database.read(
            runs_with_details().where(runs_table.c.id > last).order_by(runs_table.c.id).limit(BATCH)
        )
        return tuple(run_from(row) for row in found)

    async def sources_after(self, last: str) -> tuple[KeptHash, ...]:
        """Return the kept sources that follow the hash `last`, in the order of their hashes."""
        found = await self._database.fetch(
            select(sources_table.c.hash, sources_table.c.entry, sources_table.c.files)
            .where(sources_table.c.hash > last)
            .order_by(sources_table.c.hash)
            .limit(BATCH)
        )
        return tuple(KeptHash(row.hash, _computed(row)) for row in found)

    async def known_paths(self, run_ids: Collection[UUID]) -> frozenset[str]:
        """Return where the files of these runs are, as their rows say."""
        found = await self._database.fetch(
            select(artifacts_table.c.storage_path).where(artifacts_table.c.run_id.in_(run_ids))
        )
        return frozenset(row.storage_path for row in found)

    async def is_saved(self, run_id: UUID) -> bool:
        """Whether the run is (still) there."""
        found = await self._database.fetch(select(exists().where(runs_table.c.run_id == run_id)))
        return bool(found[0][0])

    async def known_hashes(self) -> frozenset[str]:
        """Return the content hashes of all datasets."""
        found = await self._database.fetch(select(datasets_table.c.content_hash))
        return frozenset(row.content_hash for row in found)

    async def is_only_imported(self, dataset_id: UUID) -> bool:
        """Whether the dataset has runs, all of which came from another machine."""
        of_dataset = runs_table.c.dataset_id == dataset_id
        some_imported = exists().where(of_dataset, _IMPORTED)
        some_own = exists().where(of_dataset, ~_IMPORTED)
        found = await self._database.fetch(select(and_(some_imported, ~some_own)))
        return bool(found[0][0])


def _computed(row: object) -> str | None:
    try:
        return rows.source_from(row).hash  # type: ignore[arg-type]
    except (DamagedError, ValueError, AttributeError, LookupError, TypeError):
        # What is stored is not what `source_values` writes.
        return None
