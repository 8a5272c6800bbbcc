"""Dumps: the whole store leaves as one file, and a store is made of one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import ValidationError

from ntrader.domain.bundles import DatasetRecord
from ntrader.domain.dumps import (
    ARTIFACT,
    BARS,
    CONTENTS,
    DATASET,
    HEADER,
    DumpContents,
    Dumped,
    DumpHeader,
    LeftOut,
    Restored,
    TableContents,
    artifact_member,
    bars_member,
    dataset_member,
    part_member,
)
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import DamagedError, NotFoundError, NtraderError, SchemaError, UsageError
from ntrader.services.checking import check_store
from ntrader.storage.archive_writing import json_bytes
from ntrader.storage.dump_files import (
    DumpMember,
    DumpReader,
    DumpWriter,
    as_json,
    opened_dump,
    written_dump,
)
from ntrader.storage.parts import already_there
from ntrader.storage.strays import filling

if TYPE_CHECKING:
    from ntrader.domain.artifacts import Artifact
    from ntrader.domain.datasets import Dataset
    from ntrader.services.workspace import Workspace
    from ntrader.storage.copying import Snapshot
    from ntrader.storage.store import Store

type Progress = Callable[[int, int], None]

_NOT_READABLE = (NotFoundError, DamagedError, OSError)


@dataclass(slots=True)
class _Dump:
    """One dump at work."""

    workspace: Workspace
    store: Store
    snapshot: Snapshot
    writer: DumpWriter
    datasets: int = 0
    files: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    deleted_runs: set[UUID] = field(default_factory=set)
    deleted_datasets: list[str] = field(default_factory=list)


async def dump_store(
    workspace: Workspace, file: Path, *, force: bool = False, progress: Progress | None = None
) -> Dumped:
    """Write the whole store to one file, as it is at one moment; writers go on meanwhile.

    A file of a run or of data that is gone or altered is left out and named; all else is dumped.

    Raises:
        UsageError: the file is there already (and `force` is not given) or cannot be written.
        DatabaseUnavailableError: the database cannot be reached.
    """
    if file.is_dir():
        raise UsageError(f"{file} is a directory.", hint="Choose another name.")
    if file.exists() and not force:
        raise already_there(file)
    return await write_dump(
        workspace, await workspace.store(), file, force=force, progress=progress
    )


async def write_dump(
    workspace: Workspace,
    store: Store,
    file: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Dumped:
    """Write a store of any version of the schema, which stays as it is; see `dump_store`."""
    from ntrader.storage.copying import snapshot

    async with snapshot(store.database) as taken:
        with written_dump(file, replace=force) as writer:
            dump = _Dump(workspace, store, taken, writer)
            contents = await _write(dump, progress)
    return Dumped(
        file=str(file), size_bytes=file.stat().st_size, revision=taken.revision, contents=contents
    )


async def _write(dump: _Dump, progress: Progress | None) -> DumpContents:
    header = DumpHeader(
        revision=dump.snapshot.revision, ntrader=version("ntrader"), created_at=datetime.now(UTC)
    )
    dump.writer.add(HEADER, as_json(header))
    # The data before the files of runs: where the data were deleted, so were all their runs.
    for dataset in await dump.snapshot.datasets():
        await _add_dataset(dump, dataset)
    total = await dump.snapshot.count_files()
    async for artifact in dump.snapshot.artifacts():
        await _add_file(dump, artifact)
        if progress is not None:
            progress(dump.files, total)
    contents = DumpContents(
        tables={name: await _add_rows(dump, name) for name in await dump.snapshot.tables()},
        datasets=dump.datasets,
        files=dump.files,
        left_out=tuple(dump.left_out),
        deleted_runs=tuple(sorted(dump.deleted_runs)),
        deleted_datasets=tuple(dump.deleted_datasets),
    )
    dump.writer.add(CONTENTS, as_json(contents))
    return contents


async def _add_dataset(dump: _Dump, dataset: Dataset) -> None:
    content_hash = dataset.content_hash
    with ExitStack() as packed:
        try:
            content = dump.workspace.catalog.open(content_hash).content()
            bars = packed.enter_context(dump.writer.packed(content))
        except (NotFoundError, DamagedError) as error:
            if await dump.store.datasets.find_by_hash(content_hash) is None:
                dump.deleted_datasets.append(content_hash)
            else:
                dump.left_out.append(LeftOut(file=f"datasets/{content_hash}", reason=str(error)))
            return
        record = DatasetRecord.of(dataset).model_dump(mode="json")
        dump.writer.add(dataset_member(content_hash), json_bytes(record))
        dump.writer.add_file(bars_member(content_hash), bars)
    dump.datasets += 1


async def _add_file(dump: _Dump, artifact: Artifact) -> None:
    member = artifact_member(artifact.storage_path)
    try:
        if ARTIFACT.fullmatch(member) is None:
            raise DamagedError("its row names a place that is not its own")
        content = dump.workspace.artifacts.read(artifact)
    except _NOT_READABLE as error:
        if await dump.store.runs.find(artifact.run_id) is None:
            dump.deleted_runs.add(artifact.run_id)
        else:
            dump.left_out.append(LeftOut(file=member, reason=str(error)))
        return
    dump.writer.add(member, content)
    dump.files += 1


async def _add_rows(dump: _Dump, table: str) -> TableContents:
    parts = 0

    def take(part: bytes) -> None:
        nonlocal parts
        dump.writer.add_packed(part_member(table, parts), part)
        parts += 1

    return await dump.snapshot.copy(table, take)


async def restore_store(
    workspace: Workspace, file: Path, *, progress: Progress | None = None
) -> Restored:
    """Make the store of a dump in an empty one, bring it to this version, and check all of it.

    Everything in the file is verified before anything is stored. Files come before the rows, which
    come in one transaction: a restore that is interrupted leaves no row, and the next continues.
    The code of the strategies in it is trusted as the user's own from then on.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no dump.
        DamagedError: something in it is not what was dumped; nothing is stored.
        SchemaError: a newer ntrader made it.
        ConflictError: the store is not empty.
        NtraderError: the files cannot be written, as where the disk is full.
    """
    from ntrader.storage.copying import load, refuse_full
    from ntrader.storage.migrations import HEAD

    with opened_dump(file) as dump:
        _refuse_newer(dump)
        database = workspace.database()
        await refuse_full(database)
        with filling(workspace.home):
            try:
                restore_files(workspace, dump, progress)
            except OSError as error:
                raise NtraderError(
                    f"The files cannot be written to {workspace.home}: {error.strerror or error}.",
                    hint="Free some space or set NTRADER_HOME, and restore again: no run is stored "
                    "yet, and what is written already stays.",
                ) from error
            await load(database, dump.header.revision, dump.contents, dump.rows)
        return Restored(
            file=str(file),
            revision=dump.header.revision,
            schema=HEAD,
            contents=dump.contents,
            report=await check_store(workspace),
        )


def _refuse_newer(dump: DumpReader) -> None:
    from ntrader.storage.migrations import HEAD, revisions

    revision = dump.header.revision
    if revision != HEAD and revision not in revisions():
        raise SchemaError(
            f"The dump has schema {revision}; this ntrader knows those up to {HEAD}.",
            hint=f"ntrader {dump.header.ntrader} made it: update this one.",
        )


def restore_files(workspace: Workspace, dump: DumpReader, progress: Progress | None = None) -> None:
    """Store the data and the files of runs that are in a dump; what is here already stays.

    Raises:
        DamagedError: the data are not those that their hash names.
    """
    record: DatasetRecord | None = None
    done = 0
    for member in dump.files():
        if artifact := ARTIFACT.fullmatch(member.name):
            workspace.artifacts.keep_at(artifact[1], member.read())
            done += 1
            if progress is not None:
                progress(done, dump.contents.files)
        elif DATASET.fullmatch(member.name):
            record = _dataset(dump, member)
        elif record is not None and (bars := BARS.fullmatch(member.name)):
            _restore_bars(workspace, dump, record, bars[1], member)


def _dataset(dump: DumpReader, member: DumpMember) -> DatasetRecord:
    try:
        return DatasetRecord.model_validate_json(member.read())
    except ValidationError as error:
        raise dump.damaged(f"the member {member.name} is not valid") from error


def _restore_bars(
    workspace: Workspace, dump: DumpReader, record: DatasetRecord, hash_: str, member: DumpMember
) -> None:
    from ntrader.engine.bar_bytes import BAR_BYTES, CarriedBars

    instrument, timeframe = record.instrument.to_instrument(), Timeframe.parse(record.timeframe)
    content = member.unpacked(record.rows * BAR_BYTES)
    try:
        bars = CarriedBars(content, instrument, timeframe, workspace.spool_directory)
    except (ValueError, OverflowError) as error:
        raise dump.damaged(f"the data of dataset {hash_[:12]} are no bars ({error})") from error
    if bars.content_hash != hash_:
        raise dump.damaged(f"the data of dataset {hash_[:12]} are not what its hash says")
    workspace.catalog.write(bars.parts(), instrument, timeframe)
