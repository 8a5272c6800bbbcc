"""The repository of datasets."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from ntrader.domain.datasets import Dataset, DatasetFilter
from ntrader.errors import AmbiguousReferenceError, ConflictError, NotFoundError
from ntrader.storage import rows
from ntrader.storage.database import Database
from ntrader.storage.references import SHORTEST_PREFIX, parse_prefix
from ntrader.storage.tables import datasets_table, runs_table
from ntrader.storage.transactions import Transaction

_LIST = "`ntrader data list` lists the datasets."
_INSTRUMENT = datasets_table.c.instrument
_MOST_LISTED = 11
_PLACE = (datasets_table.c.created_at, datasets_table.c.id)
_NEWEST_FIRST = tuple(each.desc() for each in _PLACE)
_HASH_PREFIX = re.compile(f"[0-9a-f]{{{SHORTEST_PREFIX},64}}")


class DatasetRepository:
    """What is known of the stored market data; the bars are elsewhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, dataset: Dataset) -> Dataset:
        """Save the dataset and return it, or return the one that has the same content."""
        values = rows.dataset_values(dataset)

        async def save(transaction: Transaction) -> Dataset:
            statement = (
                insert(datasets_table)
                .values(values)
                .on_conflict_do_nothing(index_elements=["content_hash"])
                .returning(*datasets_table.columns)
            )
            row = (await transaction.execute(statement)).one_or_none()
            if row is None:
                same = _datasets().where(datasets_table.c.content_hash == dataset.content_hash)
                row = (await transaction.execute(same)).one()
            return rows.dataset_from(row)

        return await self._database.run(save)

    async def get(self, dataset_id: UUID) -> Dataset:
        """Return the dataset.

        Raises:
            NotFoundError: there is none.
        """
        dataset = await self.find(dataset_id)
        if dataset is None:
            raise NotFoundError(f"There is no dataset {dataset_id}.", hint=_LIST)
        return dataset

    async def find(self, dataset_id: UUID) -> Dataset | None:
        """Return the dataset, or None."""
        found = await self._fetch(_datasets().where(datasets_table.c.id == dataset_id))
        return found[0] if found else None

    async def find_by_hash(self, content_hash: str) -> Dataset | None:
        """Return the dataset with this content, or None."""
        found = await self._fetch(_datasets().where(datasets_table.c.content_hash == content_hash))
        return found[0] if found else None

    async def newest_version(self, dataset: Dataset) -> Dataset | None:
        """Return the newest dataset of the same name, instrument and timeframe, or None."""
        found = await self._fetch(
            _newest_versions(dataset.name).where(
                _INSTRUMENT["symbol"].astext == dataset.instrument.symbol,
                _INSTRUMENT["venue"].astext == dataset.instrument.venue,
                datasets_table.c.timeframe == str(dataset.timeframe),
            )
        )
        return found[0] if found else None

    async def resolve(self, reference: str) -> Dataset:
        """Return the dataset that a user means.

        `reference` is an id, a name (the newest dataset of that name is meant), or at least the
        first four characters of a content hash.

        Raises:
            NotFoundError: there is no such dataset.
            AmbiguousReferenceError: several hashes begin so, or the name is that of several
                instruments or timeframes; the hint lists them.
        """
        reference = reference.strip()
        prefix = parse_prefix(reference)
        if prefix is not None and prefix.is_whole:
            by_id = await self.find(prefix.first)
            if by_id is not None:
                return by_id
        named = await self._fetch(_newest_versions(reference).limit(_MOST_LISTED))
        if len(named) > 1:
            raise AmbiguousReferenceError(
                f"{reference!r} is the name of more than one kind of bars.",
                hint=_listed("Name one by its hash:", named),
            )
        if named:
            return named[0]
        found: tuple[Dataset, ...] = ()
        if _HASH_PREFIX.fullmatch(reference.lower()):
            found = await self._fetch(
                _datasets()
                .where(datasets_table.c.content_hash.startswith(reference.lower()))
                .limit(_MOST_LISTED)
            )
        if not found:
            raise NotFoundError(f"There is no dataset {reference!r}.", hint=_LIST)
        if len(found) > 1:
            raise AmbiguousReferenceError(
                f"{reference!r} is the beginning of more than one dataset's hash.",
                hint=_listed("Give more characters. It may be:", found),
            )
        return found[0]

    async def matching(
        self, symbol: str, timeframe: str | None = None, venue: str | None = None
    ) -> tuple[Dataset, ...]:
        """Return the datasets of a symbol, the newest first."""
        statement = _matching(DatasetFilter(symbol=symbol, venue=venue))
        if timeframe is not None:
            statement = statement.where(_has_timeframe(timeframe))
        return await self._fetch(statement)

    async def all(self) -> tuple[Dataset, ...]:
        """Return every dataset, the newest first."""
        return await self._fetch(_datasets())

    async def page(
        self,
        where: DatasetFilter,
        *,
        limit: int | None = None,
        after: tuple[datetime, UUID] | None = None,
    ) -> tuple[Dataset, ...]:
        """Return the datasets that match, the newest first, at most `limit`.

        `after` is the creation and the id of the last dataset of the page before.
        """
        statement = _matching(where).limit(limit)
        if after is not None:
            statement = statement.where(tuple_(*_PLACE) < tuple_(*after))
        return await self._fetch(statement)

    async def run_count(self, dataset_id: UUID) -> int:
        """Return how many runs used the dataset."""
        statement = select(func.count()).where(runs_table.c.dataset_id == dataset_id)
        count: int = (await self._database.fetch(statement))[0][0]
        return count

    async def delete(self, dataset_id: UUID) -> None:
        """Delete what is known of the dataset.

        Raises:
            NotFoundError: there is none.
            ConflictError: runs use it.
        """
        deleted = False

        async def remove(transaction: Transaction) -> None:
            nonlocal deleted
            statement = delete(datasets_table).where(datasets_table.c.id == dataset_id)
            # Of an attempt whose confirmation was lost the next one finds nothing.
            deleted |= (await transaction.execute(statement)).rowcount > 0

        try:
            await self._database.run(remove)
        except ConflictError as error:
            count = await self.run_count(dataset_id)
            users = "1 run uses" if count == 1 else f"{count} runs use"
            raise ConflictError(
                f"The dataset cannot be deleted: {users} it.",
                hint="Delete those runs first, with `ntrader delete`.",
            ) from error
        if not deleted:
            raise NotFoundError(f"There is no dataset {dataset_id}.", hint=_LIST)

    async def _fetch(self, statement: Select[Any]) -> tuple[Dataset, ...]:
        found: list[Row[Any]] = list(await self._database.fetch(statement))
        return tuple(rows.dataset_from(row) for row in found)


def _datasets() -> Select[Any]:
    return select(*datasets_table.columns).order_by(*_NEWEST_FIRST)


def _matching(where: DatasetFilter) -> Select[Any]:
    statement = _datasets()
    if where.name is not None:
        statement = statement.where(datasets_table.c.name == where.name)
    if where.symbol is not None:
        statement = statement.where(datasets_table.c.symbols.contains([where.symbol]))
    if where.venue is not None:
        statement = statement.where(_INSTRUMENT["venue"].astext == where.venue)
    if where.kind is not None:
        statement = statement.where(_INSTRUMENT["kind"].astext == where.kind.value)
    if where.timeframe is not None:
        statement = statement.where(_has_timeframe(str(where.timeframe)))
    return statement


def _has_timeframe(timeframe: str) -> ColumnElement[bool]:
    """Return the condition that is written as the index has it."""
    return func.lower(datasets_table.c.timeframe) == timeframe.lower()


def _newest_versions(name: str) -> Select[Any]:
    """Select the newest dataset of the name for each instrument and timeframe it is of."""
    kind = (
        _INSTRUMENT["symbol"].astext,
        _INSTRUMENT["venue"].astext,
        datasets_table.c.timeframe,
    )
    rank = func.row_number().over(partition_by=kind, order_by=_NEWEST_FIRST)
    ranked = (
        select(datasets_table.c.id, rank.label("rank"))
        .where(datasets_table.c.name == name)
        .subquery()
    )
    return _datasets().where(datasets_table.c.id.in_(select(ranked.c.id).where(ranked.c.rank == 1)))


def _listed(lead: str, found: tuple[Dataset, ...]) -> str:
    lines = (
        f"  {each.content_hash[:16]}  {each.instrument.id}  {each.timeframe}  {each.name}"
        for each in found
    )
    return "\n".join([lead, *lines])
