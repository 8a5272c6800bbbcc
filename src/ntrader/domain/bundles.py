"""Bundles: runs as one file, to be taken to another machine. The records in it are a contract.

    manifest.json                 the format, and the sha256 and size of every other member
    runs/RUN/run.json             a `RunRecord`
    runs/RUN/events.json          a list of `EventRecord`
    runs/RUN/files/NAME           the run's files, as they are
    sources/HASH.json             a `SourceRecord`
    datasets/HASH/dataset.json    a `DatasetRecord`
    datasets/HASH/bars.bin        the bars, as the bytes that their hash covers

All records are checked as they are read: a bundle comes from somebody else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from ntrader.domain.artifacts import Artifact, ArtifactKind
from ntrader.domain.datasets import Dataset
from ntrader.domain.events import Event, EventType
from ntrader.domain.identity import decimal_text
from ntrader.domain.results import PerformanceMetrics
from ntrader.domain.runs import BacktestRun, RunStatus
from ntrader.domain.snapshot import ConfigSnapshot, Instant, InstrumentConfig, Sha256
from ntrader.domain.strategies import ParameterValue

FORMAT: Literal["ntrader-export"] = "ntrader-export"
VERSION: Literal[1] = 1
MANIFEST = "manifest.json"

_FIRST_YEAR, _LAST_YEAR = 1900, 2200


def _ratio_text(value: float) -> str:
    return decimal_text(Decimal(repr(value)))


def _of_our_time(value: datetime) -> datetime:
    # The ends of the calendar overflow wherever an instant is moved.
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise ValueError(f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return value


type Moment = Annotated[Instant, AfterValidator(_of_our_time)]
# The bounds are what the store has room for.
type Ratio = Annotated[
    float, Field(allow_inf_nan=False, gt=-(10**10), lt=10**10), PlainSerializer(_ratio_text)
]
type Amount = Annotated[
    Decimal, Field(allow_inf_nan=False, gt=-(10**14), lt=10**14), PlainSerializer(decimal_text)
]
type Count = Annotated[int, Field(ge=0, lt=2**31)]
type Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Record):
    """What the manifest says of a member; `size` is in bytes."""

    sha256: Sha256
    size: int = Field(ge=0)


class Manifest(_Record):
    """What is in a bundle."""

    format: Literal["ntrader-export"] = FORMAT
    version: Literal[1] = VERSION
    members: dict[str, Member]


class MetricsRecord(_Record):
    """The metrics of a run; see `ntrader.domain.results.PerformanceMetrics`."""

    total_return: Ratio | None
    final_balance: Amount | None
    cagr: Ratio | None
    sharpe_ratio: Ratio | None
    sortino_ratio: Ratio | None
    max_drawdown: Ratio | None
    max_drawdown_at: Moment | None
    calmar_ratio: Ratio | None
    volatility: Ratio | None
    total_trades: Count
    winning_trades: Count
    losing_trades: Count
    break_even_trades: Count
    win_rate: Ratio | None
    profit_factor: Ratio | None
    expectancy: Amount | None
    avg_win: Amount | None
    avg_loss: Amount | None
    total_fees: Amount | None
    exposure: Ratio | None
    undefined: dict[str, str]

    def to_metrics(self) -> PerformanceMetrics:
        """Return the domain's value."""
        return PerformanceMetrics(**dict(self))


class ErrorRecord(_Record):
    """Why a run failed, and after how many bars."""

    message: str
    traceback: str
    bars_done: Count


class ParameterRecord(_Record):
    """A declared parameter; see `ntrader.domain.strategies.ParameterSpec`."""

    name: Name
    type: str
    default: ParameterValue | None
    description: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    choices: tuple[ParameterValue, ...] | None = None


class StrategyRecord(_Record):
    """What is known of the strategy beyond the run's snapshot."""

    description: str = ""
    parameters: tuple[ParameterRecord, ...] = ()


class FileRecord(_Record):
    """A file of the run; its content is the member `runs/RUN/files/FILENAME`."""

    id: UUID
    kind: ArtifactKind
    filename: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,200}$")]
    mime_type: str
    size_bytes: int = Field(ge=0)
    sha256: Sha256
    created_at: Moment

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Return the record of a file."""
        return cls(**{name: getattr(artifact, name) for name in cls.model_fields})


class EventRecord(_Record):
    """Something that happened in the run's life."""

    type: EventType
    timestamp: Moment
    payload: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> Self:
        """Return the record of an event."""
        return cls(type=event.type, timestamp=event.timestamp, payload=event.payload)

    def to_event(self) -> Event:
        """Return the domain's value."""
        return Event(type=self.type, timestamp=self.timestamp, payload=self.payload)


class SourceRecord(_Record):
    """The kept code of a strategy; the files are in base64, by their paths."""

    entry: str
    files: dict[str, str]


class DatasetRecord(_Record):
    """A dataset without its bars; see `ntrader.domain.datasets.Dataset`."""

    name: Name
    description: str
    content_hash: Sha256
    instrument: InstrumentConfig
    timeframe: str
    start: Moment
    end: Moment
    rows: int = Field(gt=0, lt=2**31)
    source: str
    created_at: Moment

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Return the record of a dataset."""
        values = {name: getattr(dataset, name) for name in cls.model_fields}
        return cls(
            **{
                **values,
                "instrument": InstrumentConfig(**dataset.instrument.to_dict()),
                "timeframe": str(dataset.timeframe),
            }
        )


class RunRecord(_Record):
    """A run as it is stored, with what is said of it, but for its events."""

    run_id: UUID
    status: RunStatus
    created_at: Moment
    duration_seconds: Annotated[Ratio, Field(ge=0, lt=10**8)]
    data_source: str
    snapshot: ConfigSnapshot
    environment: dict[str, Any]
    fingerprint: Sha256
    result_digest: Sha256 | None
    reproduced_from: UUID | None
    metrics: MetricsRecord | None
    error: ErrorRecord | None
    tags: tuple[str, ...]
    note: str | None
    strategy: StrategyRecord
    files: tuple[FileRecord, ...]

    @model_validator(mode="after")
    def _ended_one_way(self) -> Self:
        succeeded = self.status is RunStatus.SUCCESS
        if succeeded is (self.metrics is None) or succeeded is (self.result_digest is None):
            raise ValueError("a run has metrics and a result digest exactly where it succeeded")
        if succeeded is (self.error is not None):
            raise ValueError("a run has an error exactly where it failed")
        if len({file.filename for file in self.files}) != len(self.files):
            raise ValueError("two files have one name")
        return self

    @classmethod
    def of(
        cls,
        run: BacktestRun,
        snapshot: ConfigSnapshot,
        strategy: StrategyRecord,
        files: tuple[Artifact, ...],
    ) -> Self:
        """Return the record of a run. That it was imported itself is this machine's own matter."""
        return cls(
            run_id=run.run_id,
            status=run.status,
            created_at=run.created_at,
            duration_seconds=run.duration_seconds,
            data_source=run.data_source,
            snapshot=snapshot,
            environment=run.metadata.get("environment", {}),
            fingerprint=run.fingerprint,
            result_digest=run.result_digest,
            reproduced_from=original_of(run),
            metrics=None
            if run.metrics is None
            else MetricsRecord(**run.metrics.values(), undefined=dict(run.metrics.undefined)),
            error=None
            if run.error is None
            else ErrorRecord(
                message=run.error.message,
                traceback=run.error.traceback,
                bars_done=run.metadata.get("bars_done", 0),
            ),
            tags=run.tags,
            note=run.note,
            strategy=strategy,
            files=tuple(map(FileRecord.of, files)),
        )

    def is_of_same_run(self, other: Self) -> bool:
        """Whether both tell the same of one run; what may change beside a run does not count."""
        beside = {"tags": (), "note": None, "strategy": StrategyRecord(), "reproduced_from": None}
        return self.model_copy(update=beside) == other.model_copy(update=beside)


def original_of(run: BacktestRun) -> UUID | None:
    """Return the run that this one reproduced, if it is known, even where it is not here."""
    if run.reproduced_from is not None:
        return run.reproduced_from
    named = (run.imported or {}).get("reproduced_from")
    return None if named is None else UUID(named)


def run_member(run_id: UUID) -> str:
    """Return where the record of a run is."""
    return f"runs/{run_id}/run.json"


def events_member(run_id: UUID) -> str:
    """Return where the events of a run are."""
    return f"runs/{run_id}/events.json"


def file_member(run_id: UUID, filename: str) -> str:
    """Return where a file of a run is."""
    return f"runs/{run_id}/files/{filename}"


def source_member(source_hash: str) -> str:
    """Return where the code with that hash is."""
    return f"sources/{source_hash}.json"


def dataset_member(content_hash: str) -> str:
    """Return where the description of a dataset is."""
    return f"datasets/{content_hash}/dataset.json"


def bars_member(content_hash: str) -> str:
    """Return where the bars of a dataset are."""
    return f"datasets/{content_hash}/bars.bin"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What an export wrote; `datasets` says of each hash whether its bars are inside."""

    file: str
    runs: tuple[UUID, ...]
    sources: tuple[str, ...]
    datasets: Mapping[str, bool]
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import stored, and what was there already.

    `datasets` says of each hash whether its bars are on this machine now; `new_data` are those
    whose bars were not before.
    """

    file: str
    new: tuple[UUID, ...]
    known: tuple[UUID, ...]
    datasets: Mapping[str, bool]
    new_data: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was stored."""
        return bool(self.new or self.new_data)

    @property
    def without_data(self) -> Iterator[str]:
        """The datasets whose bars are not here."""
        return (content_hash for content_hash, here in self.datasets.items() if not here)


def import_mark(at: datetime, record: RunRecord) -> dict[str, Any]:
    """Return what `metadata.imported` says of a run that came from elsewhere."""
    from ntrader.domain.identity import instant_text

    host = record.environment.get("host")
    original = record.reproduced_from
    return {
        "at": instant_text(at),
        "from_host": host if isinstance(host, str) else None,
        **({} if original is None else {"reproduced_from": str(original)}),
    }
