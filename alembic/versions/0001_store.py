"""The store: datasets, strategies, runs, metrics, artifacts, events, and the view `runs`.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TYPES = (
    "CREATE TYPE run_mode AS ENUM ('backtest', 'paper', 'live')",
    "CREATE TYPE execution_status AS ENUM ('success', 'failed')",
    "CREATE TYPE artifact_kind AS ENUM ('plot', 'report', 'csv', 'pickle', 'json', 'parquet')",
)

TABLES = (
    """
    CREATE TABLE datasets (
        id UUID DEFAULT gen_random_uuid() NOT NULL,
        name TEXT NOT NULL,
        description TEXT DEFAULT '' NOT NULL,
        content_hash TEXT NOT NULL,
        instrument JSONB NOT NULL,
        symbols TEXT[] NOT NULL,
        timeframe TEXT NOT NULL,
        start_date TIMESTAMP WITH TIME ZONE NOT NULL,
        end_date TIMESTAMP WITH TIME ZONE NOT NULL,
        rows BIGINT NOT NULL,
        source TEXT DEFAULT '' NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_datasets PRIMARY KEY (id),
        CONSTRAINT uq_datasets_hash UNIQUE (content_hash),
        CONSTRAINT ck_datasets_name_present CHECK (name <> ''),
        CONSTRAINT ck_datasets_content_hash_sha256 CHECK (content_hash ~ '^[0-9a-f]{64}$'),
        CONSTRAINT ck_datasets_symbols_present CHECK (cardinality(symbols) > 0),
        CONSTRAINT ck_datasets_timeframe_known CHECK (timeframe ~ '^[1-9][0-9]*[mhdw]$'),
        CONSTRAINT ck_datasets_period_forward CHECK (start_date < end_date),
        CONSTRAINT ck_datasets_rows_positive CHECK (rows > 0),
        CONSTRAINT ck_datasets_instrument_complete CHECK (instrument ?& '{symbol,venue,kind}')
    )
    """,
    """
    CREATE INDEX ix_datasets_daterange ON datasets (start_date, end_date)
    """,
    """
    CREATE INDEX ix_datasets_name_created_at ON datasets (name, created_at DESC)
    """,
    """
    CREATE INDEX ix_datasets_symbols ON datasets USING gin (symbols)
    """,
    """
    CREATE INDEX ix_datasets_timeframe ON datasets (lower(timeframe))
    """,
    r"""
    CREATE TABLE strategies (
        id UUID DEFAULT gen_random_uuid() NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        description TEXT DEFAULT '' NOT NULL,
        implementation TEXT NOT NULL,
        params JSONB DEFAULT '{}' NOT NULL,
        param_spec JSONB DEFAULT '[]' NOT NULL,
        source_hash TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_strategies PRIMARY KEY (id),
        CONSTRAINT uq_strategies_name_version UNIQUE (name, version),
        CONSTRAINT ck_strategies_name_present CHECK (name <> ''),
        CONSTRAINT ck_strategies_version_semantic CHECK (version ~
            '^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$'),
        CONSTRAINT ck_strategies_source_hash_sha256 CHECK (source_hash ~ '^[0-9a-f]{64}$'),
        CONSTRAINT ck_strategies_params_object CHECK (jsonb_typeof(params) = 'object'),
        CONSTRAINT ck_strategies_param_spec_array CHECK (jsonb_typeof(param_spec) = 'array')
    )
    """,
    """
    CREATE INDEX ix_strategies_params ON strategies USING gin (params jsonb_path_ops)
    """,
    """
    CREATE TABLE backtest_runs (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        run_id UUID NOT NULL,
        dataset_id UUID NOT NULL,
        strategy_id UUID NOT NULL,
        run_mode run_mode DEFAULT 'backtest' NOT NULL,
        strategy_name TEXT NOT NULL,
        strategy_type TEXT NOT NULL,
        instrument_symbol TEXT NOT NULL,
        timeframe TEXT NOT NULL,
        start_date TIMESTAMP WITH TIME ZONE NOT NULL,
        end_date TIMESTAMP WITH TIME ZONE NOT NULL,
        initial_capital NUMERIC(18, 4) NOT NULL,
        data_source TEXT NOT NULL,
        execution_status execution_status NOT NULL,
        execution_duration_seconds NUMERIC(14, 6) NOT NULL,
        error_message TEXT,
        error_traceback TEXT,
        config_snapshot JSONB NOT NULL,
        metadata JSONB DEFAULT '{}' NOT NULL,
        fingerprint TEXT NOT NULL,
        result_digest TEXT,
        reproduced_from_run_id UUID,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_backtest_runs PRIMARY KEY (id),
        CONSTRAINT uq_backtest_runs_run_id UNIQUE (run_id),
        CONSTRAINT uq_backtest_runs_strategy_created_at UNIQUE (strategy_name, created_at, id,
            instrument_symbol),
        CONSTRAINT ck_backtest_runs_strategy_name_present CHECK (strategy_name <> ''),
        CONSTRAINT ck_backtest_runs_instrument_symbol_present CHECK (instrument_symbol <> ''),
        CONSTRAINT ck_backtest_runs_period_forward CHECK (end_date > start_date),
        CONSTRAINT ck_backtest_runs_initial_capital_positive CHECK (initial_capital > 0 AND
            initial_capital <> 'NaN'),
        CONSTRAINT ck_backtest_runs_duration_not_negative CHECK (execution_duration_seconds >= 0
            AND execution_duration_seconds <> 'NaN'),
        CONSTRAINT ck_backtest_runs_error_exactly_when_failed CHECK ((execution_status = 'failed')
            = (error_message IS NOT NULL)),
        CONSTRAINT ck_backtest_runs_traceback_has_message CHECK (error_traceback IS NULL OR
            error_message IS NOT NULL),
        CONSTRAINT ck_backtest_runs_snapshot_complete CHECK (config_snapshot ?&
            '{strategy_path,config_path,config,version}'),
        CONSTRAINT ck_backtest_runs_metadata_object CHECK (jsonb_typeof(metadata) = 'object'),
        CONSTRAINT ck_backtest_runs_fingerprint_sha256 CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
        CONSTRAINT ck_backtest_runs_result_digest_sha256 CHECK (result_digest ~ '^[0-9a-f]{64}$'),
        CONSTRAINT ck_backtest_runs_not_its_own_original CHECK (reproduced_from_run_id <> run_id),
        CONSTRAINT fk_backtest_runs_dataset_id_datasets FOREIGN KEY(dataset_id) REFERENCES
            datasets (id) ON DELETE RESTRICT,
        CONSTRAINT fk_backtest_runs_strategy_id_strategies FOREIGN KEY(strategy_id) REFERENCES
            strategies (id) ON DELETE RESTRICT,
        CONSTRAINT fk_backtest_runs_reproduced_from_run_id_backtest_runs FOREIGN
            KEY(reproduced_from_run_id) REFERENCES backtest_runs (run_id) ON DELETE SET NULL
    )
    """,
    """
    CREATE INDEX ix_backtest_runs_config_snapshot ON backtest_runs USING gin (config_snapshot
        jsonb_path_ops)
    """,
    """
    CREATE INDEX ix_backtest_runs_created_at_id ON backtest_runs (created_at DESC, id DESC)
    """,
    """
    CREATE INDEX ix_backtest_runs_dataset_id ON backtest_runs (dataset_id)
    """,
    """
    CREATE INDEX ix_backtest_runs_failed ON backtest_runs (id DESC) WHERE execution_status =
        'failed'
    """,
    """
    CREATE INDEX ix_backtest_runs_fingerprint ON backtest_runs USING hash (fingerprint)
    """,
    """
    CREATE INDEX ix_backtest_runs_reproduced_from_run_id ON backtest_runs (reproduced_from_run_id)
        WHERE reproduced_from_run_id IS NOT NULL
    """,
    """
    CREATE INDEX ix_backtest_runs_strategy_id ON backtest_runs (strategy_id)
    """,
    """
    CREATE INDEX ix_backtest_runs_symbol_created_at_id ON backtest_runs (instrument_symbol,
        created_at DESC, id DESC)
    """,
    """
    CREATE TABLE performance_metrics (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        backtest_run_id BIGINT NOT NULL,
        strategy_name TEXT NOT NULL,
        instrument_symbol TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        total_return NUMERIC(18, 8),
        final_balance NUMERIC(18, 4),
        cagr NUMERIC(18, 8),
        sharpe_ratio NUMERIC(18, 8),
        sortino_ratio NUMERIC(18, 8),
        max_drawdown NUMERIC(18, 8),
        max_drawdown_at TIMESTAMP WITH TIME ZONE,
        calmar_ratio NUMERIC(18, 8),
        volatility NUMERIC(18, 8),
        total_trades INTEGER NOT NULL,
        winning_trades INTEGER NOT NULL,
        losing_trades INTEGER NOT NULL,
        break_even_trades INTEGER NOT NULL,
        win_rate NUMERIC(18, 8),
        profit_factor NUMERIC(18, 8),
        expectancy NUMERIC(18, 4),
        avg_win NUMERIC(18, 4),
        avg_loss NUMERIC(18, 4),
        total_fees NUMERIC(18, 4),
        exposure NUMERIC(18, 8),
        CONSTRAINT pk_performance_metrics PRIMARY KEY (id),
        CONSTRAINT uq_performance_metrics_backtest_run_id UNIQUE (backtest_run_id),
        CONSTRAINT fk_performance_metrics_backtest_runs FOREIGN KEY(strategy_name, created_at,
            backtest_run_id, instrument_symbol) REFERENCES backtest_runs (strategy_name,
            created_at, id, instrument_symbol) ON DELETE CASCADE,
        CONSTRAINT ck_performance_metrics_trades_add_up CHECK (total_trades = winning_trades +
            losing_trades + break_even_trades),
        CONSTRAINT ck_performance_metrics_counts_not_negative CHECK (winning_trades >= 0 AND
            losing_trades >= 0 AND break_even_trades >= 0),
        CONSTRAINT ck_performance_metrics_win_rate_fraction CHECK (win_rate BETWEEN 0 AND 1),
        CONSTRAINT ck_performance_metrics_max_drawdown_fraction CHECK (max_drawdown BETWEEN -1 AND
            0),
        CONSTRAINT ck_performance_metrics_avg_win_not_negative CHECK (avg_win >= 0),
        CONSTRAINT ck_performance_metrics_avg_loss_not_positive CHECK (avg_loss <= 0),
        CONSTRAINT ck_performance_metrics_undefined_is_null CHECK ('NaN' NOT IN (total_return,
            final_balance, cagr, sharpe_ratio, sortino_ratio, calmar_ratio, volatility,
            profit_factor, expectancy, avg_win, total_fees, exposure))
    )
    """,
    """
    CREATE INDEX ix_performance_metrics_sharpe_ratio ON performance_metrics (sharpe_ratio DESC
        NULLS LAST, backtest_run_id DESC)
    """,
    """
    CREATE INDEX ix_performance_metrics_strategy_sharpe_ratio ON performance_metrics
        (strategy_name, sharpe_ratio DESC NULLS LAST, backtest_run_id DESC)
    """,
    """
    CREATE INDEX ix_performance_metrics_strategy_total_return ON performance_metrics
        (strategy_name, total_return DESC NULLS LAST, backtest_run_id DESC)
    """,
    """
    CREATE INDEX ix_performance_metrics_total_return ON performance_metrics (total_return DESC
        NULLS LAST, backtest_run_id DESC)
    """,
    """
    CREATE TABLE artifacts (
        id UUID DEFAULT gen_random_uuid() NOT NULL,
        run_id UUID NOT NULL,
        kind artifact_kind NOT NULL,
        filename TEXT NOT NULL,
        storage_path TEXT NOT NULL,
        mime_type TEXT NOT NULL,
        size_bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_artifacts PRIMARY KEY (id),
        CONSTRAINT ck_artifacts_size_not_negative CHECK (size_bytes >= 0),
        CONSTRAINT ck_artifacts_sha256_hex CHECK (sha256 ~ '^[0-9a-f]{64}$'),
        CONSTRAINT fk_artifacts_run_id_backtest_runs FOREIGN KEY(run_id) REFERENCES backtest_runs
            (run_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_artifacts_run_id_kind ON artifacts (run_id, kind)
    """,
    """
    CREATE TABLE events (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        run_id UUID NOT NULL,
        event_type TEXT NOT NULL,
        timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
        payload JSONB DEFAULT '{}' NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_events PRIMARY KEY (id),
        CONSTRAINT ck_events_event_type_present CHECK (event_type <> ''),
        CONSTRAINT ck_events_payload_object CHECK (jsonb_typeof(payload) = 'object'),
        CONSTRAINT fk_events_run_id_backtest_runs FOREIGN KEY(run_id) REFERENCES backtest_runs
            (run_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_events_event_type ON events (event_type)
    """,
    """
    CREATE INDEX ix_events_payload ON events USING gin (payload jsonb_path_ops)
    """,
    """
    CREATE INDEX ix_events_run_timestamp ON events (run_id, timestamp)
    """,
)

# Deleting a run empties the references of its reproductions; nothing else may change a run.
IMMUTABILITY = (
    """
    CREATE FUNCTION ntrader_refuse_update() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
    BEGIN
        IF to_jsonb(NEW) = to_jsonb(OLD) || '{"reproduced_from_run_id": null}' THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'a row of % cannot be changed once it is saved', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', HINT = 'Delete the run, or save a new one.';
    END
    $$
    """,
    """
    CREATE TRIGGER backtest_runs_are_immutable BEFORE UPDATE ON backtest_runs
        FOR EACH ROW EXECUTE FUNCTION ntrader_refuse_update()
    """,
    """
    CREATE TRIGGER performance_metrics_are_immutable BEFORE UPDATE ON performance_metrics
        FOR EACH ROW EXECUTE FUNCTION ntrader_refuse_update()
    """,
)

# What the Node.js side reads. There every trade is won or lost, so a break-even one counts as
# lost, and total_trades = winning_trades + losing_trades holds.
VIEW = """
    CREATE VIEW runs AS
    SELECT
        run.run_id AS id,
        run.dataset_id,
        run.strategy_id,
        run.run_mode,
        run.execution_status AS status,
        run.start_date,
        run.end_date,
        run.created_at AS executed_at,
        run.initial_capital,
        metrics.final_balance,
        metrics.total_return,
        metrics.sharpe_ratio,
        metrics.max_drawdown,
        metrics.total_trades,
        metrics.winning_trades,
        metrics.losing_trades + metrics.break_even_trades AS losing_trades,
        metrics.win_rate,
        run.metadata
    FROM backtest_runs AS run
    LEFT JOIN performance_metrics AS metrics ON metrics.backtest_run_id = run.id
"""

DROPS = (
    "DROP VIEW runs",
    "DROP TABLE events",
    "DROP TABLE artifacts",
    "DROP TABLE performance_metrics",
    "DROP TABLE backtest_runs",
    "DROP FUNCTION ntrader_refuse_update()",
    "DROP TABLE strategies",
    "DROP TABLE datasets",
    "DROP TYPE artifact_kind",
    "DROP TYPE execution_status",
    "DROP TYPE run_mode",
)


def upgrade() -> None:
    """Create everything."""
    for statement in (*TYPES, *TABLES, *IMMUTABILITY, VIEW):
        op.execute(statement)


def downgrade() -> None:
    """Drop everything."""
    for statement in DROPS:
        op.execute(statement)
