"""Bundles: reading one back, with everything recomputed that a hash stands for."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from ntrader.domain.annotations import Annotations
from ntrader.domain.artifacts import Artifact
from ntrader.domain.bundles import (
    DatasetRecord,
    EventRecord,
    FileRecord,
    RunRecord,
    SourceRecord,
    bars_member,
    dataset_member,
    events_member,
    file_member,
    run_member,
    source_member,
)
from ntrader.domain.faults import faults_text
from ntrader.domain.runs import RunStatus
from ntrader.domain.sources import StrategySource
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import DamagedError, NotFoundError, UsageError
from ntrader.services.run_files import read_equity, read_fills, read_trades
from ntrader.storage.artifacts import storage_path_of

if TYPE_CHECKING:
    from pathlib import Path

    from ntrader.domain.results import EquityCurve, Fill, Trade
    from ntrader.engine.bar_bytes import CarriedBars
    from ntrader.services.run_files import Tables
    from ntrader.storage.archives import Archive

_EVENTS = TypeAdapter(list[EventRecord])

_BATCH_RUNS = 50
_BATCH_BYTES = 64 << 20

# What columns of other names or kinds cause, wherever they are first used.
_NOT_TABLES_OF_A_RUN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a successful run's files hold."""

    fills: tuple[Fill, ...]
    trades: tuple[Trade, ...]
    equity: EquityCurve


def read_answer(tables: Tables, files: tuple[Artifact, ...]) -> Answer:
    """Read the files of a run; errors as for `ntrader.services.run_files.read_equity`."""
    return Answer(
        fills=read_fills(tables, files),
        trades=read_trades(tables, files),
        equity=read_equity(tables, files),
    )


def check_run(record: RunRecord, answer: Answer | None) -> None:
    """Recompute the identities of a run's question and of its answer.

    Raises:
        DamagedError: one of them does not fit.
    """
    engine = record.environment.get("engine")
    name = f"run {record.run_id}"
    if not (isinstance(engine, dict) and {"name", "version"} <= engine.keys()):
        raise DamagedError(
            f"The fingerprint of {name} cannot be checked: it names no engine.",
            hint="A run of today's ntrader records it.",
        )
    fingerprint = record.snapshot.fingerprint(
        engine=str(engine["name"]), engine_version=str(engine["version"])
    )
    if fingerprint != record.fingerprint:
        raise DamagedError(f"The fingerprint of {name} does not fit its configuration.")
    if answer is not None and _digest(answer, name) != record.result_digest:
        raise DamagedError(f"The result digest of {name} does not fit its files.")


def in_batches(records: Iterable[RunRecord]) -> Iterator[list[RunRecord]]:
    """Yield runs in their order, in batches whose files may be in memory together."""
    batch: list[RunRecord] = []
    left = _BATCH_BYTES
    for record in records:
        size = sum(file.size_bytes for file in record.files)
        if batch and (size > left or len(batch) == _BATCH_RUNS):
            yield batch
            batch, left = [], _BATCH_BYTES
        batch.append(record)
        left -= size
    if batch:
        yield batch


def _digest(answer: Answer, name: str) -> str:
    from ntrader.engine.accounting import result_digest_of

    try:
        return result_digest_of(answer.fills, answer.trades, answer.equity)
    except _NOT_TABLES_OF_A_RUN as error:
        raise DamagedError(f"The files of {name} hold no answer: {error}.") from error


@dataclass(frozen=True)
class Bundle:
    """What is in an archive. Nothing of it is executed, and none of its names becomes a path.

    Bars that are taken out wait in `spool_in`, or where the system has such files.
    """

    archive: Archive
    spool_in: Path | None

    def check(self) -> None:
        """Recompute every identity, and refuse what has no place.

        Raises:
            DamagedError: something does not fit; the message names it.
        """
        for source_hash in self.sources:
            self.source(source_hash)
        for content_hash in self.datasets:
            if self.has_bars(content_hash):
                self.bars(content_hash)
        for record in self.runs.values():
            self._check_run(record)
        self._refuse_strangers()

    @cached_property
    def runs(self) -> Mapping[UUID, RunRecord]:
        """The records of the runs, oldest first: an original before what reproduced it."""
        found = []
        for name in self._members("runs/", "/run.json"):
            record = self._record(name, RunRecord)
            if name != run_member(record.run_id):
                raise self.archive.damaged(f"the member {name} is of another run")
            found.append(record)
        if not found:
            raise self.archive.damaged("it holds no run")
        found.sort(key=lambda record: (record.created_at, record.run_id))
        return {record.run_id: record for record in found}

    @cached_property
    def datasets(self) -> Mapping[str, DatasetRecord]:
        """The descriptions of the datasets, by content hash."""
        found = {}
        for name in self._members("datasets/", "/dataset.json"):
            record = self._record(name, DatasetRecord)
            if name != dataset_member(record.content_hash):
                raise self.archive.damaged(f"the member {name} is of another dataset")
            self._check_dataset(name, record)
            found[record.content_hash] = record
        return found

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The hashes of the kept sources."""
        return tuple(
            name.removeprefix("sources/").removesuffix(".json")
            for name in self._members("sources/", ".json")
        )

    def source(self, source_hash: str) -> StrategySource:
        """Return a kept source; its code is not executed."""
        name = source_member(source_hash)
        record = self._record(name, SourceRecord)
        try:
            files = {
                path: base64.b64decode(text, validate=True) for path, text in record.files.items()
            }
            source = StrategySource(entry=record.entry, files=files)
        except (binascii.Error, DamagedError) as error:
            raise self.archive.damaged(f"the member {name} is no source ({error})") from error
        if source.hash != source_hash:
            raise self.archive.damaged(f"the source hash of {name} does not fit its files")
        return source

    def has_bars(self, content_hash: str) -> bool:
        """Whether the bars of the dataset are inside."""
        return bars_member(content_hash) in self.archive

    def bars(self, content_hash: str) -> CarriedBars:
        """Take out the bars of a dataset."""
        from ntrader.engine.bar_bytes import CarriedBars
        from ntrader.engine.bars import instant

        name, record = bars_member(content_hash), self.datasets[content_hash]
        instrument = record.instrument.to_instrument()
        timeframe = Timeframe.parse(record.timeframe)
        try:
            bars = CarriedBars(self.archive.pieces(name), instrument, timeframe, self.spool_in)
            end = instant(bars.last_label + timeframe.nanoseconds)
        except (ValueError, OverflowError) as error:
            raise self.archive.damaged(f"the member {name} holds no bars ({error})") from error
        if bars.content_hash != content_hash:
            raise self.archive.damaged(f"the content hash of {name} does not fit its bars")
        said = (record.rows, record.start, record.end)
        if said != (len(bars), instant(bars.first_label), end):
            raise self.archive.damaged(f"{dataset_member(content_hash)} does not fit its bars")
        return bars

    def events(self, run_id: UUID) -> list[EventRecord]:
        """Return the events of a run."""
        name = events_member(run_id)
        try:
            return _EVENTS.validate_python(self.archive.read_json(name))
        except ValidationError as error:
            raise self._not_valid(name, error) from error

    def artifacts(self, record: RunRecord) -> tuple[Artifact, ...]:
        """Return the rows of a run's files, as they will be here."""
        return tuple(
            Artifact(
                run_id=record.run_id,
                storage_path=storage_path_of(record.run_id, file.filename),
                **dict(file),
            )
            for file in record.files
        )

    def answer(self, record: RunRecord) -> Answer | None:
        """Return what a run's files hold; None for a failed run, which has none."""
        if record.status is RunStatus.FAILED:
            return None
        try:
            return read_answer(self, self.artifacts(record))
        except NotFoundError as error:
            raise self.archive.damaged(f"run {record.run_id} lacks a file ({error})") from error

    def read_table(self, artifact: Artifact) -> Mapping[str, Any]:
        """Return the columns of a run's file."""
        from ntrader.storage.parquet import read_foreign

        name = file_member(artifact.run_id, artifact.filename)
        try:
            return read_foreign(self.archive.read(name))
        except ValueError as error:
            raise self.archive.damaged(f"the member {name} is no table ({error})") from error

    def _check_run(self, record: RunRecord) -> None:
        config = record.snapshot.config
        described = self.datasets.get(config.dataset_hash)
        if described is None:
            raise self.archive.damaged(f"run {record.run_id} lacks its dataset")
        if (described.instrument, described.timeframe) != (config.instrument, config.timeframe):
            raise self.archive.damaged(f"run {record.run_id} does not fit its dataset")
        if not described.start <= config.start < config.end <= described.end:
            raise self.archive.damaged(f"the period of run {record.run_id} is not in its dataset")
        for file in record.files:
            self._check_file(record.run_id, file)
        self.events(record.run_id)
        try:
            said = Annotations.checked(record.tags, record.note)
            check_run(record, self._readable_answer(record))
        except (DamagedError, UsageError) as error:
            if error.message.startswith(self.archive.name):
                raise
            raise self.archive.damaged(error.message.rstrip(".")) from error
        if (said.tags, said.note) != (record.tags, record.note):
            raise self.archive.damaged(f"the tags or the note of run {record.run_id} are not plain")

    def _readable_answer(self, record: RunRecord) -> Answer | None:
        """Return the answer; columns of other names or kinds are damage, not a fault of ours."""
        try:
            return self.answer(record)
        except _NOT_TABLES_OF_A_RUN as error:
            raise self.archive.damaged(
                f"the files of run {record.run_id} are not the tables of a run ({error})"
            ) from error

    def _check_file(self, run_id: UUID, file: FileRecord) -> None:
        from hashlib import sha256

        name = file_member(run_id, file.filename)
        content = self.archive.read(name)
        if (sha256(content).hexdigest(), len(content)) != (file.sha256, file.size_bytes):
            raise self.archive.damaged(f"the member {name} is not the file that run.json tells of")

    def _check_dataset(self, name: str, record: DatasetRecord) -> None:
        from ntrader.engine.instruments import parse_instrument

        given = record.instrument.to_instrument()
        try:
            Timeframe.parse(record.timeframe)
            understood = parse_instrument(
                given.symbol,
                given.venue,
                given.kind,
                currency=given.currency,
                price_precision=given.price_precision,
                size_precision=given.size_precision,
            )
        except UsageError as error:
            raise self.archive.damaged(f"the member {name}: {error.message}") from error
        if understood != given:
            raise self.archive.damaged(f"the instrument in {name} is none that ntrader makes")

    def _refuse_strangers(self) -> None:
        """Refuse members that belong to no run, source or dataset."""
        used = {record.snapshot.config.dataset_hash for record in self.runs.values()}
        codes = {record.snapshot.config.strategy.source_hash for record in self.runs.values()}
        placed = {bars_member(content_hash) for content_hash in used}
        placed |= {dataset_member(content_hash) for content_hash in used}
        placed |= {source_member(source_hash) for source_hash in codes}
        for run_id, record in self.runs.items():
            placed |= {run_member(run_id), events_member(run_id)}
            placed |= {file_member(run_id, file.filename) for file in record.files}
        for name in sorted(self.archive.names - placed):
            raise self.archive.damaged(f"the member {name} belongs to nothing in it")

    def _members(self, beginning: str, end: str) -> list[str]:
        return sorted(
            name for name in self.archive.names if name.startswith(beginning) and name.endswith(end)
        )

    def _record[T: (RunRecord, DatasetRecord, SourceRecord)](self, name: str, kind: type[T]) -> T:
        try:
            return kind.model_validate(self.archive.read_json(name))
        except ValidationError as error:
            raise self._not_valid(name, error) from error

    def _not_valid(self, name: str, error: ValidationError) -> DamagedError:
        return self.archive.damaged(f"the member {name} is not valid: {faults_text(error)}")
