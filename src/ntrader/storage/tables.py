"""The tables, as SQLAlchemy sees them.

The migrations make them; a test holds both to be the same. The view `runs`, the trigger that keeps
runs as they are and its function exist in the migrations alone.

They are plain tables: SQLAlchemy handles them in half the time of mapped classes, and no row leaves
`storage` anyway.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from ntrader.domain.artifacts import ArtifactKind
from ntrader.domain.results import METRICS
from ntrader.domain.runs import RunMode, RunStatus
from ntrader.storage.column_types import (
    INSTANT,
    MONEY,
    NAMING,
    RATIO,
    SHA256,
    big_id,
    enum_type,
    required,
    uuid_id,
    written,
)
from ntrader.storage.ranked_metrics import RANKED_WITHIN, ranking_index

SEMVER = r"'^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$'"
TIMEFRAME = "'^[1-9][0-9]*[mhdw]$'"
NOT_IN_TAGS = r"'[\s\u0001-\u001f\u007f]'"

PARAMETERS_PATH = "'{config,strategy,parameters}'"
"""Where a run's parameters are in its snapshot, as SQL."""

SCHEMA = MetaData(naming_convention=NAMING)


def _run_id(*, primary_key: bool = False) -> Column[Any]:
    """Return the run that a row belongs to, and is deleted with."""
    run = ForeignKey("backtest_runs.run_id", ondelete="CASCADE")
    return required("run_id", Uuid, run, primary_key=primary_key)


datasets_table = Table(
    "datasets",
    SCHEMA,
    uuid_id(),
    required("name", Text),
    required("description", Text, server_default=""),
    required("content_hash", Text),
    required("instrument", JSONB),
    required("symbols", ARRAY(Text)),
    required("timeframe", Text),
    required("start_date", INSTANT),
    required("end_date", INSTANT),
    required("rows", BigInteger),
    required("source", Text, server_default=""),
    written("created_at"),
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
"""A stored series of bars."""

strategies_table = Table(
    "strategies",
    SCHEMA,
    uuid_id(),
    required("name", Text),
    required("version", Text),
    required("description", Text, server_default=""),
    required("implementation", Text),
    required("params", JSONB, server_default=text("'{}'")),
    required("param_spec", JSONB, server_default=text("'[]'")),
    required("source_hash", Text),
    written("created_at"),
    written("updated_at"),
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
"""A strategy, or a named configuration of one."""

runs_table = Table(
    "backtest_runs",
    SCHEMA,
    big_id(),
    required("run_id", Uuid),
    required("dataset_id", Uuid, ForeignKey("datasets.id", ondelete="RESTRICT")),
    required("strategy_id", Uuid, ForeignKey("strategies.id", ondelete="RESTRICT")),
    required("run_mode", enum_type(RunMode, "run_mode"), server_default=RunMode.BACKTEST.value),
    required("strategy_name", Text),
    required("strategy_type", Text),
    required("instrument_symbol", Text),
    required("timeframe", Text),
    required("start_date", INSTANT),
    required("end_date", INSTANT),
    required("initial_capital", MONEY),
    required("data_source", Text),
    required("execution_status", enum_type(RunStatus, "execution_status")),
    required("execution_duration_seconds", Numeric(14, 6)),
    Column("error_message", Text),
    Column("error_traceback", Text),
    required("config_snapshot", JSONB),
    required("metadata", JSONB, server_default=text("'{}'")),
    required("fingerprint", Text),
    Column("result_digest", Text),
    Column("reproduced_from_run_id", Uuid, ForeignKey("backtest_runs.run_id", ondelete="SET NULL")),
    written("created_at"),
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
    Index(
        "ix_backtest_runs_strategy_id_created_at_id",
        "strategy_id",
        text("created_at DESC"),
        text("id DESC"),
    ),
    # Only equality is asked of a fingerprint: a hash index takes a third of a B-tree's room.
    Index("ix_backtest_runs_fingerprint", "fingerprint", postgresql_using="hash"),
    # Of the snapshot, only the parameters and the path are searched: over all of it the index
    # would be a fifth of the store.
    Index(
        "ix_backtest_runs_parameters",
        literal_column(f"(config_snapshot #> {PARAMETERS_PATH})").label("parameters"),
        postgresql_using="gin",
        postgresql_ops={"parameters": "jsonb_path_ops"},
    ),
    Index("ix_backtest_runs_strategy_path", text("(config_snapshot ->> 'strategy_path')")),
    Index("ix_backtest_runs_strategy_type", "strategy_type"),
    Index("ix_backtest_runs_timeframe", "timeframe"),
    Index(
        "ix_backtest_runs_failed",
        text("id DESC"),
        postgresql_where=text("execution_status = 'failed'"),
    ),
    Index(
        "ix_backtest_runs_strategy_failed",
        "strategy_name",
        text("id DESC"),
        postgresql_where=text("execution_status = 'failed'"),
    ),
    Index(
        "ix_backtest_runs_symbol_failed",
        "instrument_symbol",
        text("id DESC"),
        postgresql_where=text("execution_status = 'failed'"),
    ),
    Index(
        "ix_backtest_runs_reproduced_from_run_id",
        "reproduced_from_run_id",
        postgresql_where=text("reproduced_from_run_id IS NOT NULL"),
    ),
)
"""A run: what was asked, of which data, and how it ended."""

metrics_table = Table(
    "performance_metrics",
    SCHEMA,
    big_id(),
    required("backtest_run_id", BigInteger),
    required("strategy_name", Text),
    required("instrument_symbol", Text),
    required("created_at", INSTANT),
    Column("total_return", RATIO),
    Column("final_balance", MONEY),
    Column("cagr", RATIO),
    Column("sharpe_ratio", RATIO),
    Column("sortino_ratio", RATIO),
    Column("max_drawdown", RATIO),
    Column("max_drawdown_at", INSTANT),
    Column("calmar_ratio", RATIO),
    Column("volatility", RATIO),
    required("total_trades", Integer),
    required("winning_trades", Integer),
    required("losing_trades", Integer),
    required("break_even_trades", Integer),
    Column("win_rate", RATIO),
    Column("profit_factor", RATIO),
    Column("expectancy", MONEY),
    Column("avg_win", MONEY),
    Column("avg_loss", MONEY),
    Column("total_fees", MONEY),
    Column("exposure", RATIO),
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
    Index("ix_performance_metrics_created_at", "created_at"),
    *(ranking_index(metric) for metric in METRICS),
    *(
        ranking_index(metric, within=part)
        for part, metrics in RANKED_WITHIN.items()
        for metric in metrics
    ),
)
"""The numbers of a successful run.

The copies of the run's columns let a list be filtered and ordered in this table alone; the foreign
key keeps them true.
"""

artifacts_table = Table(
    "artifacts",
    SCHEMA,
    uuid_id(),
    _run_id(),
    required("kind", enum_type(ArtifactKind, "artifact_kind")),
    required("filename", Text),
    required("storage_path", Text),
    required("mime_type", Text),
    required("size_bytes", BigInteger),
    required("sha256", Text),
    written("created_at"),
    CheckConstraint("size_bytes >= 0", name="size_not_negative"),
    CheckConstraint(f"sha256 ~ {SHA256}", name="sha256_hex"),
    Index("ix_artifacts_run_id_kind", "run_id", "kind"),
)
"""A file of a run."""

events_table = Table(
    "events",
    SCHEMA,
    big_id(),
    _run_id(),
    required("event_type", Text),
    required("timestamp", INSTANT),
    required("payload", JSONB, server_default=text("'{}'")),
    written("created_at"),
    CheckConstraint("event_type <> ''", name="event_type_present"),
    CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload_object"),
    Index("ix_events_run_timestamp", "run_id", "timestamp"),
    Index("ix_events_event_type", "event_type"),
    # A closed trade is looked up by its run; its numbers, all different, would fill the index.
    Index(
        "ix_events_payload",
        "payload",
        postgresql_using="gin",
        postgresql_ops={"payload": "jsonb_path_ops"},
        postgresql_where=text("event_type <> 'trade_closed'"),
    ),
)
"""Something that happened in a run's life; `id` orders them as they were recorded."""

sources_table = Table(
    "strategy_sources",
    SCHEMA,
    Column("hash", Text, primary_key=True),
    required("entry", Text),
    required("files", JSONB),
    written("created_at"),
    CheckConstraint(f"hash ~ {SHA256}", name="hash_sha256"),
    CheckConstraint("jsonb_typeof(files) = 'object'", name="files_object"),
    CheckConstraint("files ? entry", name="entry_among_files"),
)
"""The code of a strategy from a file, kept once for all runs that used it."""

tags_table = Table(
    "run_tags",
    SCHEMA,
    _run_id(primary_key=True),
    Column("tag", Text, primary_key=True),
    written("created_at"),
    required("run_created_at", INSTANT),
    CheckConstraint("char_length(tag) BETWEEN 1 AND 64", name="tag_length"),
    CheckConstraint(f"tag !~ {NOT_IN_TAGS}", name="tag_one_word"),
    Index("ix_run_tags_tag_run_created_at", "tag", text("run_created_at DESC")),
)
"""A word that a user has put on a run; a trigger copies the run's time."""

notes_table = Table(
    "run_notes",
    SCHEMA,
    _run_id(primary_key=True),
    required("note", Text),
    written("updated_at"),
    CheckConstraint("char_length(note) BETWEEN 1 AND 10000", name="note_length"),
)
"""What a user has written about a run."""

statistics_table = Table(
    "run_statistics",
    SCHEMA,
    Column("strategy_name", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("bucket", Integer, primary_key=True),
    required("runs", BigInteger),
    required("total", Numeric),
    info={"derived": True},
)
"""How the metrics of each strategy's runs are distributed.

Triggers keep it true, whoever saves or deletes runs. A `subject` is a metric, whose values are
counted (`runs`) and added up (`total`) by `bucket`; see `ntrader.storage.summaries`.
"""

TABLES = frozenset(SCHEMA.tables)
"""The names of our tables: the database may hold those of other applications too."""
