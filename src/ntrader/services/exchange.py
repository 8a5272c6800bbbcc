"""Exchange: runs leave this machine as one file, and come from another as one."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from pydantic import ValidationError

from ntrader.domain.annotations import Annotations
from ntrader.domain.bundles import (
    DatasetRecord,
    EventRecord,
    Exported,
    Imported,
    ParameterRecord,
    RunRecord,
    SourceRecord,
    StrategyRecord,
    bars_member,
    dataset_member,
    events_member,
    file_member,
    import_mark,
    run_member,
    source_member,
)
from ntrader.domain.datasets import Dataset
from ntrader.domain.faults import faults_text
from ntrader.domain.results import BacktestFailure, BacktestMetadata, EnhancedBacktestResult
from ntrader.domain.strategies import ParameterSpec, StrategySpec
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import (
    ConflictError,
    DamagedError,
    DatabaseUnavailableError,
    NotFoundError,
    UsageError,
)
from ntrader.services.bundles import Bundle, check_run, in_batches, read_answer
from ntrader.services.requests import snapshot_of
from ntrader.services.unfinished import unfinished
from ntrader.storage.archive_writing import Streamed, json_bytes, write_archive
from ntrader.storage.archives import opened_archive
from ntrader.storage.parts import already_there

if TYPE_CHECKING:
    from ntrader.domain.artifacts import Artifact
    from ntrader.domain.events import Event
    from ntrader.domain.results import Outcome
    from ntrader.domain.runs import BacktestRun
    from ntrader.domain.snapshot import ConfigSnapshot
    from ntrader.domain.sources import StrategySource
    from ntrader.services.workspace import Workspace
    from ntrader.storage.archive_writing import Content
    from ntrader.storage.saving import NewRun
    from ntrader.storage.store import Store

SUFFIX = ".zip"


@dataclass(frozen=True, slots=True)
class _Departing:
    """A run that is exported, with what it rests on."""

    record: RunRecord
    events: tuple[Event, ...]
    files: tuple[Artifact, ...]
    source: StrategySource | None
    dataset: Dataset


async def export_runs(
    workspace: Workspace,
    references: Sequence[str],
    file: Path,
    *,
    with_data: bool = False,
    force: bool = False,
) -> Exported:
    """Write runs with all that belongs to them to a zip file; with their bars if `with_data`.

    What an import would refuse is refused here already. The same runs give the same bytes.

    Raises:
        UsageError: the file is no `.zip`, is there already (and `force` is not given), or cannot be
            written.
        NotFoundError: there is no such run, a file of one is gone, or the data are.
        AmbiguousReferenceError: a reference fits more than one run.
        DamagedError: a file of a run or the stored bars are not as they were saved.
    """
    _check_target(file, force=force)
    store = await workspace.store()
    chosen = {run.run_id: run for run in await store.runs.resolve_many(references)}
    runs = [await _departing(workspace, store, chosen[run_id]) for run_id in sorted(chosen)]
    size = write_archive(file, _members(workspace, runs, with_data=with_data), replace=force)
    return Exported(
        file=str(file),
        runs=tuple(run.record.run_id for run in runs),
        sources=tuple(sorted({run.source.hash for run in runs if run.source is not None})),
        datasets={run.dataset.content_hash: with_data for run in runs},
        size_bytes=size,
    )


def _check_target(file: Path, *, force: bool) -> None:
    if file.suffix != SUFFIX:
        raise UsageError(
            f"{file} does not end in {SUFFIX}.", hint="Name the file last: RUN ... FILE.zip."
        )
    if file.is_dir():
        raise UsageError(f"{file} is a directory.", hint="Choose another name.")
    if file.exists() and not force:
        raise already_there(file)


async def _departing(workspace: Workspace, store: Store, run: BacktestRun) -> _Departing:
    snapshot = snapshot_of(run)
    files = await store.runs.artifacts(run.run_id)
    config = snapshot.config
    dataset = await store.datasets.find_by_hash(config.dataset_hash)
    if dataset is None:
        raise NotFoundError(
            f"Run {run.run_id} names a dataset that is not there: {config.dataset_hash[:12]}.",
            hint="Import its file again with `ntrader data import`.",
        )
    record = _record(run, snapshot, await _strategy(store, run), files)
    check_run(record, None if run.error else read_answer(workspace.artifacts, files))
    return _Departing(
        record=record,
        events=await store.runs.events(run.run_id),
        files=files,
        source=await store.sources.find(config.strategy.source_hash),
        dataset=dataset,
    )


def _record(
    run: BacktestRun,
    snapshot: ConfigSnapshot,
    strategy: StrategyRecord,
    files: tuple[Artifact, ...],
) -> RunRecord:
    """Return the record of a run.

    Raises:
        DamagedError: the database holds for it what ntrader never saves.
    """
    try:
        return RunRecord.of(run, snapshot, strategy, files)
    except ValidationError as error:
        raise DamagedError(
            f"What is stored of run {run.run_id} cannot be exported: {faults_text(error)}.",
            hint="`ntrader db check` tells what else is wrong.",
        ) from error


async def _strategy(store: Store, run: BacktestRun) -> StrategyRecord:
    strategy = run.config["strategy"]
    known = await store.strategies.find(strategy["name"], strategy["version"])
    if known is None:
        return StrategyRecord()
    return StrategyRecord(
        description=known.description,
        parameters=tuple(ParameterRecord(**parameter) for parameter in known.param_spec),
    )


def _members(
    workspace: Workspace, runs: Sequence[_Departing], *, with_data: bool
) -> Iterator[tuple[str, Content]]:
    """Give the members in the order of their names, one in memory at a time."""
    datasets = {run.dataset.content_hash: run.dataset for run in runs}
    for content_hash, dataset in sorted(datasets.items()):
        if with_data:
            yield bars_member(content_hash), _bars(workspace, content_hash)
        record = DatasetRecord.of(dataset)
        yield dataset_member(content_hash), json_bytes(record.model_dump(mode="json"))
    for run in runs:
        yield from _run_members(workspace, run)
    sources = {run.source.hash: run.source for run in runs if run.source is not None}
    for source_hash, source in sorted(sources.items()):
        files = {path: base64.b64encode(code).decode() for path, code in source.files.items()}
        kept = SourceRecord(entry=source.entry, files=files)
        yield source_member(source_hash), json_bytes(kept.model_dump(mode="json"))


def _run_members(workspace: Workspace, run: _Departing) -> Iterator[tuple[str, bytes]]:
    record = run.record
    events = [EventRecord.of(event).model_dump(mode="json") for event in run.events]
    yield events_member(record.run_id), json_bytes(events)
    for file in sorted(run.files, key=lambda file: file.filename):
        yield file_member(record.run_id, file.filename), workspace.artifacts.read(file)
    yield run_member(record.run_id), json_bytes(record.model_dump(mode="json"))


def _bars(workspace: Workspace, content_hash: str) -> Streamed:
    from ntrader.engine.bar_bytes import BAR_BYTES

    bars = workspace.catalog.open(content_hash)
    return Streamed(len(bars) * BAR_BYTES, bars.content())


async def import_runs(workspace: Workspace, file: Path) -> Imported:
    """Store the runs of a file, after every hash in it was recomputed; what is here stays.

    No code of a strategy is executed. The runs are marked as imported, for good.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no export of ntrader, or of a later version.
        DamagedError: something in it is not what was exported; nothing is stored.
        ConflictError: a run of the same id is here, and is another; nothing is stored.
        DatabaseError: the user may only read, or the server only serves reading.
    """
    from ntrader.storage.rights import require_saving

    with opened_archive(file) as archive:
        bundle = Bundle(archive, workspace.spool_directory)
        bundle.check()
        store = await workspace.store()
        await require_saving(store.database)
        known = await _known(workspace, store, bundle)
        present = {hash_ for hash_ in bundle.datasets if _has_bars(workspace, hash_)}
        await _store_foundations(workspace, store, bundle)
        now = datetime.now(UTC)
        new = [record for run_id, record in bundle.runs.items() if run_id not in known]
        with unfinished(workspace, runs=[record.run_id for record in new]):
            for batch in in_batches(new):
                await _store_runs(workspace, store, bundle, batch, now)
        return Imported(
            file=str(file),
            new=tuple(run_id for run_id in bundle.runs if run_id not in known),
            known=tuple(run_id for run_id in bundle.runs if run_id in known),
            datasets={hash_: _has_bars(workspace, hash_) for hash_ in bundle.datasets},
            new_data=tuple(
                hash_
                for hash_ in bundle.datasets
                if hash_ not in present and bundle.has_bars(hash_)
            ),
        )


async def _known(workspace: Workspace, store: Store, bundle: Bundle) -> frozenset[UUID]:
    """Return the runs of the file that are here already."""
    found = set()
    for run_id, record in bundle.runs.items():
        run = await store.runs.find(run_id)
        if run is None:
            continue
        files = await store.runs.artifacts(run_id)
        here = RunRecord.of(run, snapshot_of(run), StrategyRecord(), files)
        if not here.is_of_same_run(record):
            raise ConflictError(
                f"Run {run_id} is here already, and is not the one in the file.",
                hint="One of the two was altered; nothing was imported.",
            )
        found.add(run_id)
    return frozenset(found)


def _has_bars(workspace: Workspace, content_hash: str) -> bool:
    try:
        workspace.catalog.path(content_hash)
    except NotFoundError:
        return False
    return True


async def _store_foundations(workspace: Workspace, store: Store, bundle: Bundle) -> None:
    """Store what the runs rest on: sources and datasets, which their hashes name."""
    for source_hash in bundle.sources:
        await store.sources.keep(bundle.source(source_hash))
    for content_hash, record in bundle.datasets.items():
        instrument, timeframe = record.instrument.to_instrument(), Timeframe.parse(record.timeframe)
        values = {**dict(record), "instrument": instrument, "timeframe": timeframe}
        dataset = Dataset(id=uuid4(), **values)
        with unfinished(workspace, dataset=dataset):
            if bundle.has_bars(content_hash):
                bars = bundle.bars(content_hash)
                workspace.catalog.write(bars.parts(), instrument, timeframe)
            await store.datasets.add(dataset)


async def _store_runs(
    workspace: Workspace,
    store: Store,
    bundle: Bundle,
    records: Sequence[RunRecord],
    now: datetime,
) -> None:
    try:
        await store.runs.add_many(
            [await _new_run(workspace, store, bundle, record, now) for record in records]
        )
    except DatabaseUnavailableError:
        # The connection broke: the runs may be saved all the same, and then need their files.
        raise
    except BaseException:
        for record in records:
            if await store.runs.find(record.run_id) is None:
                workspace.artifacts.discard(record.run_id)
        raise


async def _new_run(
    workspace: Workspace, store: Store, bundle: Bundle, record: RunRecord, now: datetime
) -> NewRun:
    """Keep the files of a run, and return the run as it is to be saved."""
    from ntrader.storage.saving import NewRun

    dataset = await store.datasets.find_by_hash(record.snapshot.config.dataset_hash)
    if dataset is None:
        raise NotFoundError("The dataset was deleted meanwhile.", hint="Import the file again.")
    artifacts = bundle.artifacts(record)
    for artifact in artifacts:
        content = bundle.archive.read(file_member(record.run_id, artifact.filename))
        workspace.artifacts.keep(artifact, content)
    return NewRun(
        outcome=_outcome(bundle, record, now),
        dataset_id=dataset.id,
        strategy_id=await _strategy_id(store, record),
        data_source=record.data_source,
        artifacts=artifacts,
        events=[event.to_event() for event in bundle.events(record.run_id)],
        reproduced_from=record.reproduced_from,
        annotations=Annotations(tags=record.tags, note=record.note),
    )


async def _strategy_id(store: Store, record: RunRecord) -> UUID:
    """Return the strategy's row; one that is here is not changed by what a file says."""
    strategy = record.snapshot.config.strategy
    known = await store.strategies.find(strategy.name, strategy.version)
    if known is None:
        known = await store.strategies.ensure(
            StrategySpec(
                name=strategy.name,
                aliases=(),
                version=strategy.version,
                type=strategy.type,
                description=record.strategy.description,
                path=record.snapshot.strategy_path,
                source_hash=strategy.source_hash,
                parameters=tuple(
                    ParameterSpec(**dict(parameter)) for parameter in record.strategy.parameters
                ),
            )
        )
    return known.id


def _outcome(bundle: Bundle, record: RunRecord, now: datetime) -> Outcome:
    metadata = BacktestMetadata(
        run_id=record.run_id,
        snapshot=record.snapshot,
        fingerprint=record.fingerprint,
        started_at=record.created_at,
        environment=record.environment,
        imported=import_mark(now, record),
    )
    finished_at = record.created_at + timedelta(seconds=record.duration_seconds)
    answer = bundle.answer(record)
    if record.error is not None:
        return BacktestFailure(
            metadata=metadata,
            **dict(record.error),
            finished_at=finished_at,
            duration_seconds=record.duration_seconds,
        )
    # The record says of a run that succeeded that it has all of these.
    assert answer is not None  # noqa: S101
    assert record.metrics is not None  # noqa: S101
    assert record.result_digest is not None  # noqa: S101
    return EnhancedBacktestResult(
        metadata=metadata,
        metrics=record.metrics.to_metrics(),
        equity=answer.equity,
        fills=answer.fills,
        trades=answer.trades,
        warnings=(),
        result_digest=record.result_digest,
        finished_at=finished_at,
        duration_seconds=record.duration_seconds,
    )
