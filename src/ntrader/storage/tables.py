"""The tables, as SQLAlchemy sees them.

The migrations make them; a test holds both to be the same. The view `runs`, the trigger that keeps
runs as they are and its function exist in the migrations alone.
"""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ntrader.domain.artifacts import ArtifactKind
from ntrader.domain.runs import RunMode, RunStatus

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SHA256 = "'^[0-9a-f]{64}$'"
SEMVER = r"'^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$'"
TIMEFRAME = "'^[1-9][0-9]*[mhdw]$'"
NOT_IN_TAGS = r"'[\s\u0001-\u001f\u007f]'"

type Json = dict[str, Any]
type BigId = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]
type UuidId = Annotated[
    UUID, mapped_column(Uuid, primary_key=True, server_default=text("gen_random_uuid()"))
]
type Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
type CreatedAt = Annotated[
    datetime, mapped_column(DateTime(timezone=True), server_default=func.now())
]
type Money = Annotated[Decimal, mapped_column(Numeric(18, 4))]
type Ratio = Annotated[Decimal, mapped_column(Numeric(18, 8))]


def _enum(members: type[RunMode] | type[RunStatus] | type[ArtifactKind], name: str) -> Enum:
    """Return the type `name`, which stores a member's value instead of its Python name."""
    return Enum(members, name=name, values_callable=lambda enum: [member.value for member in enum])


class Base(DeclarativeBase):
    """What all rows share."""

    if TYPE_CHECKING:
        # Always a table, never another thing to select from.
        __table__: ClassVar[Table]

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, Json: JSONB, list[str]: ARRAY(Text)}


class DatasetRow(Base):
    """A stored series of bars."""

    __tablename__ = "datasets"

    id: Mapped[UuidId]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    content_hash: Mapped[str]
    instrument: Mapped[Json]
    symbols: Mapped[list[str]]
    timeframe: Mapped[str]
    start_date: Mapped[Instant]
    end_date: Mapped[Instant]
    rows: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("content_hash", name="uq_datasets_hash"),
        CheckConstraint("name <> ''", name="name_present"),
        CheckConstraint(f"content_hash ~ {SHA256}", name="content_hash_sha256"),
        CheckConstraint("cardinality(symbols) > 0", name="symbols_present"),
        CheckConstraint(f"timeframe ~ {TIMEFRAME}", name="timeframe_known"),
        CheckConstraint("start_date < end_date", name="period_forward"),
        CheckConstraint("rows > 0", name="rows_positive"),
        CheckConstraint("instrument ?& '{symbol,venue,kind}'", name="instrument_complete"),
        Index("ix_datasets_name_created_at", "name", text("created_at DESC")),
        Index("ix_datasets_timeframe", text("lower(timeframe)")),
        Index("ix_datasets_daterange", "start_date", "end_date"),
        Index("ix_datasets_symbols", "symbols", postgresql_using="gin"),
    )


class StrategyRow(Base):
    """A strategy, or a named configuration of one."""

    __tablename__ = "strategies"

    id: Mapped[UuidId]
    name: Mapped[str]
    version: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    implementation: Mapped[str]
    params: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    param_spec: Mapped[list[Json]] = mapped_column(JSONB, server_default=text("'[]'"))
    source_hash: Mapped[str]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("name", "version", name="uq_strategies_name_version"),
        CheckConstraint("name <> ''", name="name_present"),
        CheckConstraint(f"version ~ {SEMVER}", name="version_semantic"),
        CheckConstraint(f"source_hash ~ {SHA256}", name="source_hash_sha256"),
        CheckConstraint("jsonb_typeof(params) = 'object'", name="params_object"),
        CheckConstraint("jsonb_typeof(param_spec) = 'array'", name="param_spec_array"),
        Index(
            "ix_strategies_params",
            "params",
            postgresql_using="gin",
            postgresql_ops={"params": "jsonb_path_ops"},
        ),
    )


class RunRow(Base):
    """A run: what was asked, of which data, and how it ended."""

    __tablename__ = "backtest_runs"

    id: Mapped[BigId]
    run_id: Mapped[UUID] = mapped_column(Uuid)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("datasets.id", ondelete="RESTRICT"))
    strategy_id: Mapped[UUID] = mapped_column(ForeignKey("strategies.id", ondelete="RESTRICT"))
    run_mode: Mapped[RunMode] = mapped_column(
        _enum(RunMode, "run_mode"), server_default=RunMode.BACKTEST.value
    )
    strategy_name: Mapped[str]
    strategy_type: Mapped[str]
    instrument_symbol: Mapped[str]
    timeframe: Mapped[str]
    start_date: Mapped[Instant]
    end_date: Mapped[Instant]
    initial_capital: Mapped[Money]
    data_source: Mapped[str]
    execution_status: Mapped[RunStatus] = mapped_column(_enum(RunStatus, "execution_status"))
    execution_duration_seconds: Mapped[Decimal] = mapped_column(Numeric(14, 6))
    error_message: Mapped[str | None]
    error_traceback: Mapped[str | None]
    config_snapshot: Mapped[Json]
    metadata_: Mapped[Json] = mapped_column("metadata", server_default=text("'{}'"))
    fingerprint: Mapped[str]
    result_digest: Mapped[str | None]
    reproduced_from_run_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("backtest_runs.run_id", ondelete="SET NULL")
    )
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        UniqueConstraint("run_id"),
        # The target of the metrics' foreign key, and at once the index for a strategy's newest
        # runs, read backwards: hence the order of the columns.
        UniqueConstraint(
            "strategy_name",
            "created_at",
            "id",
            "instrument_symbol",
            name="uq_backtest_runs_strategy_created_at",
        ),
        CheckConstraint("strategy_name <> ''", name="strategy_name_present"),
        CheckConstraint("instrument_symbol <> ''", name="instrument_symbol_present"),
        CheckConstraint("end_date > start_date", name="period_forward"),
        CheckConstraint(
            "initial_capital > 0 AND initial_capital <> 'NaN'", name="initial_capital_positive"
        ),
        CheckConstraint(
            "execution_duration_seconds >= 0 AND execution_duration_seconds <> 'NaN'",
            name="duration_not_negative",
        ),
        CheckConstraint(
            "(execution_status = 'failed') = (error_message IS NOT NULL)",
            name="error_exactly_when_failed",
        ),
        CheckConstraint(
            "error_traceback IS NULL OR error_message IS NOT NULL", name="traceback_has_message"
        ),
        CheckConstraint(
            "config_snapshot ?& '{strategy_path,config_path,config,version}'",
            name="snapshot_complete",
        ),
        CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_object"),
        CheckConstraint(f"fingerprint ~ {SHA256}", name="fingerprint_sha256"),
        CheckConstraint(f"result_digest ~ {SHA256}", name="result_digest_sha256"),
        CheckConstraint("reproduced_from_run_id <> run_id", name="not_its_own_original"),
        Index("ix_backtest_runs_created_at_id", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_backtest_runs_symbol_created_at_id",
            "instrument_symbol",
            text("created_at DESC"),
            text("id DESC"),
        ),
        Index("ix_backtest_runs_dataset_id", "dataset_id"),
        Index("ix_backtest_runs_strategy_id", "strategy_id"),
        # Only equality is asked of a fingerprint: a hash index takes a third of a B-tree's room.
        Index("ix_backtest_runs_fingerprint", "fingerprint", postgresql_using="hash"),
        Index(
            "ix_backtest_runs_config_snapshot",
            "config_snapshot",
            postgresql_using="gin",
            postgresql_ops={"config_snapshot": "jsonb_path_ops"},
        ),
        Index(
            "ix_backtest_runs_failed",
            text("id DESC"),
            postgresql_where=text("execution_status = 'failed'"),
        ),
        Index(
            "ix_backtest_runs_reproduced_from_run_id",
            "reproduced_from_run_id",
            postgresql_where=text("reproduced_from_run_id IS NOT NULL"),
        ),
    )


class MetricsRow(Base):
    """The numbers of a successful run.

    The copies of the run's columns let a list be filtered and ordered in this table alone; the
    foreign key keeps them true.
    """

    __tablename__ = "performance_metrics"

    id: Mapped[BigId]
    backtest_run_id: Mapped[int] = mapped_column(BigInteger)
    strategy_name: Mapped[str]
    instrument_symbol: Mapped[str]
    created_at: Mapped[Instant]
    total_return: Mapped[Ratio | None]
    final_balance: Mapped[Money | None]
    cagr: Mapped[Ratio | None]
    sharpe_ratio: Mapped[Ratio | None]
    sortino_ratio: Mapped[Ratio | None]
    max_drawdown: Mapped[Ratio | None]
    max_drawdown_at: Mapped[Instant | None]
    calmar_ratio: Mapped[Ratio | None]
    volatility: Mapped[Ratio | None]
    total_trades: Mapped[int]
    winning_trades: Mapped[int]
    losing_trades: Mapped[int]
    break_even_trades: Mapped[int]
    win_rate: Mapped[Ratio | None]
    profit_factor: Mapped[Ratio | None]
    expectancy: Mapped[Money | None]
    avg_win: Mapped[Money | None]
    avg_loss: Mapped[Money | None]
    total_fees: Mapped[Money | None]
    exposure: Mapped[Ratio | None]

    __table_args__ = (
        UniqueConstraint("backtest_run_id"),
        ForeignKeyConstraint(
            ["strategy_name", "created_at", "backtest_run_id", "instrument_symbol"],
            [
                "backtest_runs.strategy_name",
                "backtest_runs.created_at",
                "backtest_runs.id",
                "backtest_runs.instrument_symbol",
            ],
            name="fk_performance_metrics_backtest_runs",
            ondelete="CASCADE",
        ),
        CheckConstraint(
            "total_trades = winning_trades + losing_trades + break_even_trades",
            name="trades_add_up",
        ),
        CheckConstraint(
            "winning_trades >= 0 AND losing_trades >= 0 AND break_even_trades >= 0",
            name="counts_not_negative",
        ),
        CheckConstraint("win_rate BETWEEN 0 AND 1", name="win_rate_fraction"),
        CheckConstraint("max_drawdown BETWEEN -1 AND 0", name="max_drawdown_fraction"),
        CheckConstraint("avg_win >= 0", name="avg_win_not_negative"),
        CheckConstraint("avg_loss <= 0", name="avg_loss_not_positive"),
        CheckConstraint(
            "'NaN' NOT IN (total_return, final_balance, cagr, sharpe_ratio, sortino_ratio,"
            " calmar_ratio, volatility, profit_factor, expectancy, avg_win, total_fees, exposure)",
            name="undefined_is_null",
        ),
        Index(
            "ix_performance_metrics_strategy_sharpe_ratio",
            "strategy_name",
            text("sharpe_ratio DESC NULLS LAST"),
            text("backtest_run_id DESC"),
        ),
        Index(
            "ix_performance_metrics_sharpe_ratio",
            text("sharpe_ratio DESC NULLS LAST"),
            text("backtest_run_id DESC"),
        ),
        Index(
            "ix_performance_metrics_strategy_total_return",
            "strategy_name",
            text("total_return DESC NULLS LAST"),
            text("backtest_run_id DESC"),
        ),
        Index(
            "ix_performance_metrics_total_return",
            text("total_return DESC NULLS LAST"),
            text("backtest_run_id DESC"),
        ),
    )


class ArtifactRow(Base):
    """A file of a run."""

    __tablename__ = "artifacts"

    id: Mapped[UuidId]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("backtest_runs.run_id", ondelete="CASCADE"))
    kind: Mapped[ArtifactKind] = mapped_column(_enum(ArtifactKind, "artifact_kind"))
    filename: Mapped[str]
    storage_path: Mapped[str]
    mime_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size_not_negative"),
        CheckConstraint(f"sha256 ~ {SHA256}", name="sha256_hex"),
        Index("ix_artifacts_run_id_kind", "run_id", "kind"),
    )


class EventRow(Base):
    """Something that happened in a run's life; `id` orders them as they were recorded."""

    __tablename__ = "events"

    id: Mapped[BigId]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("backtest_runs.run_id", ondelete="CASCADE"))
    event_type: Mapped[str]
    timestamp: Mapped[Instant]
    payload: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("event_type <> ''", name="event_type_present"),
        CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload_object"),
        Index("ix_events_run_timestamp", "run_id", "timestamp"),
        Index("ix_events_event_type", "event_type"),
        Index(
            "ix_events_payload",
            "payload",
            postgresql_using="gin",
            postgresql_ops={"payload": "jsonb_path_ops"},
        ),
    )


class StrategySourceRow(Base):
    """The code of a strategy from a file, kept once for all runs that used it."""

    __tablename__ = "strategy_sources"

    hash: Mapped[str] = mapped_column(primary_key=True)
    entry: Mapped[str]
    files: Mapped[Json]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint(f"hash ~ {SHA256}", name="hash_sha256"),
        CheckConstraint("jsonb_typeof(files) = 'object'", name="files_object"),
        CheckConstraint("files ? entry", name="entry_among_files"),
    )


class RunTagRow(Base):
    """A word that a user has put on a run."""

    __tablename__ = "run_tags"

    run_id: Mapped[UUID] = mapped_column(
        ForeignKey("backtest_runs.run_id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("char_length(tag) BETWEEN 1 AND 64", name="tag_length"),
        CheckConstraint(f"tag !~ {NOT_IN_TAGS}", name="tag_one_word"),
        Index("ix_run_tags_tag", "tag"),
    )


class RunNoteRow(Base):
    """What a user has written about a run."""

    __tablename__ = "run_notes"

    run_id: Mapped[UUID] = mapped_column(
        ForeignKey("backtest_runs.run_id", ondelete="CASCADE"), primary_key=True
    )
    note: Mapped[str]
    updated_at: Mapped[CreatedAt]

    __table_args__ = (CheckConstraint("char_length(note) BETWEEN 1 AND 10000", name="note_length"),)


TABLES = frozenset(Base.metadata.tables)
"""The names of our tables: the database may hold those of other applications too."""

# Queries are made of plain tables: SQLAlchemy handles them in half the time of mapped classes.
datasets_table = DatasetRow.__table__
strategies_table = StrategyRow.__table__
runs_table = RunRow.__table__
metrics_table = MetricsRow.__table__
artifacts_table = ArtifactRow.__table__
events_table = EventRow.__table__
sources_table = StrategySourceRow.__table__
tags_table = RunTagRow.__table__
notes_table = RunNoteRow.__table__
