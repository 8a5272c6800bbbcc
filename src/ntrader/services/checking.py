"""Checking: an fsck over rows, files and hashes, and the repair of what can be repaired safely.

Backtests, imports and deletions may go on meanwhile. Rows are read before their files are looked
at, and asked for again before anything is said of them: a run that was deleted in between is no
problem. Files are listed before the rows that should name them are read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ntrader.domain.integrity import CheckReport, Problem, ProblemKind
from ntrader.domain.runs import BacktestRun, RunStatus
from ntrader.errors import DamagedError, InvalidConfigError, NotFoundError
from ntrader.services.bundles import read_answer
from ntrader.services.requests import snapshot_of
from ntrader.storage import places
from ntrader.storage.artifacts import storage_path_of
from ntrader.storage.journal import EntryState
from ntrader.storage.strays import (
    FoundFile,
    modified,
    new_shelf,
    not_filling,
    set_aside,
    walk,
)

if TYPE_CHECKING:
    from ntrader.domain.artifacts import Artifact
    from ntrader.domain.datasets import Dataset
    from ntrader.services.workspace import Workspace
    from ntrader.storage.integrity import IntegrityRepository
    from ntrader.storage.store import Store

type Progress = Callable[[int, int], None]

GRACE_SECONDS = 3600.0
"""A file without a row that is younger may be of a run that is being saved."""

# What columns of other names or kinds cause, wherever they are first used.
_NO_ANSWER = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)

_ARTIFACTS, _DATASETS = "artifacts", "datasets"


@dataclass(slots=True)
class _Check:
    """One check at work."""

    workspace: Workspace
    store: Store
    rows: IntegrityRepository
    report: CheckReport = field(default_factory=CheckReport)
    strays: list[Problem] = field(default_factory=list)


async def check_store(
    workspace: Workspace,
    *,
    runs: Sequence[str] = (),
    repair: bool = False,
    progress: Progress | None = None,
) -> CheckReport:
    """Check every run, file, dataset and kept source; or these runs alone.

    What waits in the journal is saved first, as by every command. With `repair`, what has no row is
    set aside below `lost+found` of the home. Nothing else is changed, and nothing is removed. The
    report names what remains wrong.

    Raises:
        NotFoundError: one of `runs` is not there.
        DatabaseUnavailableError: the database cannot be reached.
    """
    from ntrader.storage.integrity import IntegrityRepository

    store = await workspace.store()
    check = _Check(workspace, store, IntegrityRepository(store.database))
    if runs:
        await _check_batch(check, await store.runs.resolve_many(runs))
        return check.report
    await _check_runs(check, progress)
    await _check_sources(check)
    await _check_datasets(check)
    _check_journal(check)
    await _find_stray_files(check)
    await _find_stray_datasets(check)
    _settle_strays(check, repair=repair)
    return check.report


async def _check_runs(check: _Check, progress: Progress | None) -> None:
    total = await check.rows.count_runs()
    async for batch in _batches(check):
        await _check_batch(check, batch)
        if progress is not None:
            progress(check.report.runs, max(total, check.report.runs))


async def _batches(check: _Check) -> AsyncIterator[tuple[BacktestRun, ...]]:
    last = 0
    while batch := await check.rows.runs_after(last):
        yield batch
        last = batch[-1].id or last


async def _check_batch(check: _Check, batch: Sequence[BacktestRun]) -> None:
    files = await check.store.runs.artifacts_of([run.run_id for run in batch])
    for run in batch:
        problems = list(_problems_of(check, run, files[run.run_id]))
        if problems and await check.rows.is_saved(run.run_id):
            for problem in problems:
                check.report.add(problem)
        check.report.runs += 1


def _problems_of(check: _Check, run: BacktestRun, files: Sequence[Artifact]) -> Iterable[Problem]:
    yield from _question_problems(run)
    succeeded = run.status is RunStatus.SUCCESS
    if succeeded is (run.metrics is None):
        what = "has no metrics although it succeeded" if succeeded else "failed but has metrics"
        yield _of_run(run, ProblemKind.METRICS, f"The run {what}.")
    contents: dict[str, bytes] = {}
    for file in files:
        check.report.files += 1
        found = _content(check.workspace, file)
        if isinstance(found, Problem):
            yield found
        else:
            contents[file.filename] = found
    # A file that is gone or altered has been told of: without it there is no answer to hash.
    if succeeded and len(contents) == len(files):
        yield from _answer_problems(run, files, contents)


def _question_problems(run: BacktestRun) -> Iterable[Problem]:
    try:
        snapshot = snapshot_of(run)
    except InvalidConfigError:
        yield _of_run(run, ProblemKind.SNAPSHOT, "The configuration cannot be read.")
        return
    engine = run.metadata.get("environment", {}).get("engine", {})
    if not {"name", "version"} <= engine.keys():
        yield _of_run(run, ProblemKind.FINGERPRINT, "No engine is recorded to check it with.")
        return
    expected = snapshot.fingerprint(engine=engine["name"], engine_version=engine["version"])
    if expected != run.fingerprint:
        what = "The fingerprint does not fit the configuration and the engine."
        yield _of_run(run, ProblemKind.FINGERPRINT, what)
    dataset = run.dataset
    if dataset is not None and dataset.content_hash != snapshot.config.dataset_hash:
        what = "The configuration names other data than the run's dataset."
        yield _of_run(run, ProblemKind.SNAPSHOT, what)


def _content(workspace: Workspace, file: Artifact) -> bytes | Problem:
    if file.storage_path != storage_path_of(file.run_id, file.filename):
        return _of_file(file, ProblemKind.FILE_MISSING, "is at a place that is not its own")
    try:
        content = workspace.artifacts.read(file)
    except NotFoundError:
        return _of_file(file, ProblemKind.FILE_MISSING, "is gone")
    except DamagedError:
        return _of_file(file, ProblemKind.FILE_ALTERED, "is not as it was saved")
    except OSError as error:
        return _of_file(file, ProblemKind.FILE_MISSING, f"cannot be read ({error.strerror})")
    if len(content) != file.size_bytes:
        return _of_file(file, ProblemKind.FILE_ALTERED, "is not of the size that was saved")
    return content


@dataclass(frozen=True, slots=True)
class _Read:
    """Tables that were read already."""

    contents: Mapping[str, bytes]

    def read_table(self, artifact: Artifact) -> Mapping[str, Any]:
        from ntrader.storage.parquet import read_foreign

        return read_foreign(self.contents[artifact.filename])


def _answer_problems(
    run: BacktestRun, files: Sequence[Artifact], contents: Mapping[str, bytes]
) -> Iterable[Problem]:
    from ntrader.engine.accounting import result_digest_of

    try:
        answer = read_answer(_Read(contents), tuple(files))
        digest = result_digest_of(answer.fills, answer.trades, answer.equity)
    except NotFoundError as error:
        yield _of_run(run, ProblemKind.FILE_MISSING, error.message)
    except _NO_ANSWER as error:
        what = f"The files hold no answer ({str(error).partition(chr(10))[0]})."
        yield _of_run(run, ProblemKind.RESULT_DIGEST, what)
    else:
        if digest != run.result_digest:
            what = "The result digest does not fit the fills, trades and equity curve."
            yield _of_run(run, ProblemKind.RESULT_DIGEST, what)


async def _check_sources(check: _Check) -> None:
    last = ""
    while batch := await check.rows.sources_after(last):
        for kept in batch:
            check.report.sources += 1
            if kept.computed != kept.hash:
                check.report.add(
                    Problem(
                        kind=ProblemKind.SOURCE_ALTERED,
                        what=f"The kept source {kept.hash[:12]} is not as it was kept.",
                    )
                )
        last = batch[-1].hash


async def _check_datasets(check: _Check) -> None:
    for dataset in await check.store.datasets.all():
        check.report.datasets += 1
        problem = _dataset_problem(check.workspace, dataset)
        if problem is None or await check.store.datasets.find(dataset.id) is None:
            continue
        missing = problem.kind is ProblemKind.DATASET_MISSING
        if missing and await check.rows.is_only_imported(dataset.id):
            check.report.absent_datasets += 1
        else:
            check.report.add(problem)


def _dataset_problem(workspace: Workspace, dataset: Dataset) -> Problem | None:
    name = f"{dataset.name} ({dataset.content_hash[:12]})"
    file = f"{_DATASETS}/{dataset.content_hash}"
    try:
        computed = workspace.catalog.verify(dataset.content_hash)
    except NotFoundError:
        what = f"The data of {name} are not on this machine."
        return Problem(kind=ProblemKind.DATASET_MISSING, what=what, file=file)
    except DamagedError as error:
        return Problem(kind=ProblemKind.DATASET_ALTERED, what=error.message, file=file)
    if computed != dataset.content_hash:
        what = f"The data of {name} are not what was imported."
        return Problem(kind=ProblemKind.DATASET_ALTERED, what=what, file=file)
    return None


def _check_journal(check: _Check) -> None:
    """Look at what could not be saved when the store was opened."""
    for entry in check.workspace.journal.look():
        document = entry.document or {}
        if entry.state is EntryState.RUNNING:
            check.report.running += 1
        elif document.get("database", check.workspace.place) != check.workspace.place:
            check.report.waiting += 1
        else:
            check.report.add(
                Problem(
                    kind=ProblemKind.JOURNAL,
                    what=f"An entry of the journal is {entry.state} and cannot be saved.",
                    run_id=entry.run_id,
                    file=entry.path.relative_to(check.workspace.home).as_posix(),
                )
            )


async def _find_stray_files(check: _Check) -> None:
    journal = check.workspace.journal
    for found in walk(check.workspace.home / _ARTIFACTS):
        # A run is in the journal until its rows are there: in this order none is missed.
        held = {entry.run_id for entry in journal.look()} | set(journal.run_ids())
        runs = {run for file in found for run in _run_of(file)}
        known = await check.rows.known_paths(runs)
        for file in found:
            if file.path not in known and held.isdisjoint(_run_of(file)):
                _note_stray(
                    check,
                    f"{_ARTIFACTS}/{file.path}",
                    ProblemKind.FILE_WITHOUT_ROW,
                    file.modified,
                    next(iter(_run_of(file)), None),
                )


def _run_of(file: FoundFile) -> Iterable[UUID]:
    """Give the run whose directory the file is in, if it is in one."""
    parts = file.path.split("/")
    if len(parts) == 3:
        try:
            yield UUID(parts[1])
        except ValueError:
            return


async def _find_stray_datasets(check: _Check) -> None:
    root = check.workspace.home / _DATASETS
    # Names that begin with a dot are the catalog's own: its lock, and what it has half written.
    present = sorted(path for path in root.glob("*") if not path.name.startswith("."))
    known = await check.rows.known_hashes()
    for path in present:
        seconds = modified(path)
        if path.name not in known and seconds is not None:
            _note_stray(check, f"{_DATASETS}/{path.name}", ProblemKind.DATASET_WITHOUT_ROW, seconds)


def _note_stray(
    check: _Check, file: str, kind: ProblemKind, seconds: float, run_id: UUID | None = None
) -> None:
    if places.known(check.workspace.home) - {check.workspace.place}:
        check.report.other_files += 1
    elif time.time() - seconds < GRACE_SECONDS:
        check.report.recent_files += 1
    else:
        check.strays.append(
            Problem(kind=kind, what=f"{file} has no row.", run_id=run_id, file=file)
        )


def _settle_strays(check: _Check, *, repair: bool) -> None:
    """Set aside or report what has no row and is still there."""
    home = check.workspace.home
    # Who only looks needs no lock, and may look at a home that cannot be written to.
    with not_filling(home) if repair else nullcontext(False) as quiet:
        shelf = new_shelf(home)
        aside = 0
        for problem in check.strays:
            path = home / str(problem.file)
            if modified(path) is None:
                continue
            if quiet and set_aside(path, home=home, shelf=shelf):
                aside += 1
            else:
                check.report.add(problem)
        if aside:
            check.report.repairs.append(f"Set {aside:,} without a row aside in {shelf}.")


def _of_run(run: BacktestRun, kind: ProblemKind, what: str) -> Problem:
    return Problem(kind=kind, what=what, run_id=run.run_id)


def _of_file(file: Artifact, kind: ProblemKind, what: str) -> Problem:
    return Problem(
        kind=kind,
        what=f"The file {file.filename} {what}.",
        run_id=file.run_id,
        file=f"{_ARTIFACTS}/{file.storage_path}",
    )
