"""Datasets: importing, finding, verifying and deleting market data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from uuid import UUID, uuid4

from ntrader.domain.datasets import (
    Dataset,
    DatasetDetails,
    DatasetFilter,
    ImportedDataset,
    InstrumentKind,
    Verification,
)
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import NotFoundError, UsageError
from ntrader.services.unfinished import remove_bars, unfinished
from ntrader.services.workspace import Workspace

SAMPLE_SOURCE = "ntrader sample data"
DEFAULT_SAMPLE = "IBM"
EVERY_DATASET = DatasetFilter()
_SAMPLE_VENUES = {"IBM": "NYSE", "GOOG": "NASDAQ"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportRequest:
    """A file to import, and what is in it."""

    path: Path
    symbol: str
    venue: str
    kind: InstrumentKind
    timeframe: Timeframe
    name: str | None = None
    description: str = ""
    currency: str | None = None
    price_precision: int | None = None
    size_precision: int | None = None
    timezone: str | None = None
    columns: str | None = None
    day_first: bool | None = None
    source: str | None = None


async def import_dataset(workspace: Workspace, request: ImportRequest) -> ImportedDataset:
    """Store the bars of a file as a dataset; the same content again gives the same dataset.

    Raises:
        NotFoundError: there is no such file.
        InvalidDataError: the file is not clean market data; nothing is stored.
        UsageError: name, symbol, venue, currency, precision or columns are not valid.
        DatabaseError: the user may only read, or the server only serves reading.
    """
    from ntrader.engine.bar_files import read_bars
    from ntrader.engine.bars import instant
    from ntrader.engine.instruments import parse_instrument
    from ntrader.storage.rights import require_data_rights

    name = None if request.name is None else request.name.strip()
    if name == "":
        raise UsageError("A dataset's name is not empty.", hint="Leave --name out, or give one.")
    read = read_bars(
        request.path,
        timeframe=request.timeframe,
        kind=request.kind,
        price_precision=request.price_precision,
        size_precision=request.size_precision,
        timezone=request.timezone,
        columns=request.columns,
        day_first=request.day_first,
        spool_in=workspace.spool_directory,
    )
    bars = read.bars
    instrument = parse_instrument(
        request.symbol,
        request.venue,
        request.kind,
        currency=request.currency,
        price_precision=bars.price_precision,
        size_precision=bars.size_precision,
    )
    store = await workspace.store()
    await require_data_rights(store.database)
    with ExitStack() as work:
        with workspace.catalog.draft(bars.parts(), instrument, request.timeframe) as draft:
            dataset = Dataset(
                id=uuid4(),
                name=name or f"{instrument.symbol}-{request.timeframe}",
                description=request.description,
                content_hash=draft.content_hash,
                instrument=instrument,
                timeframe=request.timeframe,
                start=instant(draft.first_label),
                end=instant(draft.last_label + request.timeframe.nanoseconds),
                rows=len(bars),
                source=request.source or request.path.name,
                created_at=datetime.now(UTC),
            )
            work.enter_context(unfinished(workspace, dataset=dataset))
            draft.keep()
        # The catalog is free again: nobody waits for the database.
        stored = await store.datasets.add(dataset)
    warnings = read.warnings
    if name not in (None, stored.name):
        warnings += (f"The dataset keeps the name {stored.name}.",)
    return ImportedDataset(dataset=stored, is_new=stored.id == dataset.id, warnings=warnings)


async def list_datasets(
    workspace: Workspace,
    where: DatasetFilter = EVERY_DATASET,
    *,
    limit: int | None = None,
    after: tuple[datetime, UUID] | None = None,
) -> Sequence[Dataset]:
    """Return the datasets that match, newest first; arguments as for `DatasetRepository.page`."""
    store = await workspace.store()
    return await store.datasets.page(where, limit=limit, after=after)


async def show_dataset(workspace: Workspace, reference: str) -> DatasetDetails:
    """Return one dataset with its gaps.

    Raises:
        NotFoundError: there is no such dataset, or its data are not on this machine.
        DamagedError: its files are damaged.
    """
    from ntrader.engine.bar_gaps import find_gaps

    store = await workspace.store()
    dataset = await store.datasets.resolve(reference)
    bars = workspace.catalog.open(dataset.content_hash)
    return DatasetDetails(
        dataset=dataset,
        gaps=find_gaps(bars.labels(), dataset.timeframe, dataset.instrument.kind),
        runs=await store.datasets.run_count(dataset.id),
        path=str(workspace.catalog.path(dataset.content_hash)),
    )


async def verify_dataset(workspace: Workspace, reference: str) -> Verification:
    """Recompute a dataset's hash from the stored bars.

    Raises:
        NotFoundError: there is no such dataset, or its data are not on this machine.
        DamagedError: its files are damaged beyond reading.
    """
    store = await workspace.store()
    dataset = await store.datasets.resolve(reference)
    return Verification(
        dataset=dataset, computed_hash=workspace.catalog.verify(dataset.content_hash)
    )


async def delete_dataset(workspace: Workspace, reference: str) -> Dataset:
    """Delete a dataset, its row first and then its files.

    What a process leaves that ends between the two, the next command removes.

    Raises:
        NotFoundError: there is no such dataset.
        ConflictError: runs use it.
    """
    store = await workspace.store()
    dataset = await store.datasets.resolve(reference)
    with unfinished(workspace, removed=dataset):
        await store.datasets.delete(dataset.id)
        remove_bars(workspace, dataset.content_hash)
    return dataset


async def dataset_for_run(
    workspace: Workspace, *, dataset: str | None, symbol: str | None, timeframe: str | None
) -> Dataset:
    """Return the dataset that a run means.

    By reference; else the only one of the symbol (and timeframe), newest version first; else the
    sample data of that symbol, and those of IBM where nothing is said.

    Raises:
        NotFoundError: there is none.
        UsageError: more than one fits, or the reference does not fit symbol or timeframe.
    """
    store = await workspace.store()
    if dataset is not None:
        found = await store.datasets.resolve(dataset)
        _check_fit(found, symbol, timeframe)
        return found
    if symbol is not None:
        matching = await store.datasets.matching(symbol, timeframe)
        own = [found for found in matching if found.source != SAMPLE_SOURCE]
        if own:
            return _only_one(own, symbol)
    return await _sample(workspace, symbol or DEFAULT_SAMPLE, timeframe)


def _check_fit(dataset: Dataset, symbol: str | None, timeframe: str | None) -> None:
    if symbol not in (None, dataset.instrument.symbol):
        raise UsageError(
            f"Dataset {dataset.name} is of {dataset.instrument.symbol}, not of {symbol}.",
            hint="Leave --symbol out, or name another dataset.",
        )
    if timeframe not in (None, str(dataset.timeframe)):
        raise UsageError(
            f"Dataset {dataset.name} has {dataset.timeframe} bars, not {timeframe}.",
            hint="Leave --timeframe out, or name another dataset.",
        )


def _only_one(matching: Sequence[Dataset], symbol: str) -> Dataset:
    kinds = {
        (found.name, found.instrument.id, str(found.timeframe)): found for found in matching[::-1]
    }
    if len(kinds) > 1:
        choices = "; ".join(
            f"{found.name} ({found.content_hash[:8]}, {found.instrument.id} {found.timeframe})"
            for found in kinds.values()
        )
        raise UsageError(
            f"{symbol} has more than one dataset: {choices}.",
            hint=f"Choose one by its hash, such as --dataset {matching[0].content_hash[:8]}.",
        )
    return next(iter(kinds.values()))


async def _sample(workspace: Workspace, symbol: str, timeframe: str | None) -> Dataset:
    if symbol not in _SAMPLE_VENUES or timeframe not in (None, "1d"):
        wanted = symbol if timeframe is None else f"{symbol} with {timeframe} bars"
        meant = await _spelled_otherwise(workspace, symbol)
        if meant:
            raise NotFoundError(
                f"There are no data of {wanted}.", hint=f"Did you mean {' or '.join(meant)}?"
            )
        raise NotFoundError(
            f"There are no data of {wanted}.",
            hint=f"Import them with `ntrader data import FILE --symbol {symbol} ...`, "
            "or use the sample data: --symbol IBM or --symbol GOOG.",
        )
    store = await workspace.store()
    for found in await store.datasets.matching(symbol, "1d"):
        if found.source == SAMPLE_SOURCE and _is_here(workspace, found):
            return found
    with as_file(files("ntrader") / "samples" / f"{symbol}.csv") as path:
        imported = await import_dataset(
            workspace,
            ImportRequest(
                path=path,
                symbol=symbol,
                venue=_SAMPLE_VENUES[symbol],
                kind=InstrumentKind.EQUITY,
                timeframe=Timeframe(1, "d"),
                name=f"{symbol}-sample",
                description="Daily prices from the public domain WIKI prices, not adjusted.",
                source=SAMPLE_SOURCE,
            ),
        )
    return imported.dataset


async def _spelled_otherwise(workspace: Workspace, symbol: str) -> list[str]:
    """Return the symbols that there are data of and that differ in case or separators alone."""
    known = {dataset.instrument.symbol for dataset in await list_datasets(workspace)}
    return sorted(
        each
        for each in known | _SAMPLE_VENUES.keys()
        if each != symbol and _letters(each) == _letters(symbol)
    )


def _letters(symbol: str) -> str:
    return "".join(char for char in symbol.lower() if char.isalnum())


def _is_here(workspace: Workspace, dataset: Dataset) -> bool:
    try:
        workspace.catalog.path(dataset.content_hash)
    except NotFoundError:
        return False
    return True
