"""Indexes for a million runs, and statistics that make a summary of them cheap.

The index over whole snapshots was a fifth of the store: parameters and path are searched, nothing
else. Metrics get what they are ranked and filtered by. `run_statistics` is kept true by triggers.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = (
    """
    CREATE INDEX ix_backtest_runs_parameters ON backtest_runs USING gin
        ((config_snapshot #> '{config,strategy,parameters}') jsonb_path_ops)
    """,
    """
    CREATE INDEX ix_backtest_runs_strategy_path ON backtest_runs
        ((config_snapshot ->> 'strategy_path'))
    """,
    "CREATE INDEX ix_backtest_runs_strategy_type ON backtest_runs (strategy_type)",
    "CREATE INDEX ix_backtest_runs_timeframe ON backtest_runs (timeframe)",
    """
    CREATE INDEX ix_backtest_runs_strategy_failed ON backtest_runs (strategy_name, id DESC)
        WHERE execution_status = 'failed'
    """,
    "CREATE INDEX ix_performance_metrics_created_at ON performance_metrics (created_at)",
    """
    CREATE INDEX ix_performance_metrics_symbol_sharpe_ratio ON performance_metrics
        (instrument_symbol, sharpe_ratio DESC NULLS LAST, backtest_run_id DESC)
    """,
    *(
        f"CREATE INDEX ix_performance_metrics_{metric} ON performance_metrics"
        f" ({metric} DESC NULLS LAST, backtest_run_id DESC)"
        for metric in (
            "cagr",
            "calmar_ratio",
            "max_drawdown",
            "profit_factor",
            "sortino_ratio",
            "win_rate",
        )
    ),
)
ADDED_INDEXES = (
    "ix_backtest_runs_parameters",
    "ix_backtest_runs_strategy_path",
    "ix_backtest_runs_strategy_type",
    "ix_backtest_runs_timeframe",
    "ix_backtest_runs_strategy_failed",
    "ix_performance_metrics_created_at",
    "ix_performance_metrics_symbol_sharpe_ratio",
    "ix_performance_metrics_cagr",
    "ix_performance_metrics_calmar_ratio",
    "ix_performance_metrics_max_drawdown",
    "ix_performance_metrics_profit_factor",
    "ix_performance_metrics_sortino_ratio",
    "ix_performance_metrics_win_rate",
)

SNAPSHOT_INDEX = """
    CREATE INDEX ix_backtest_runs_config_snapshot ON backtest_runs USING gin
        (config_snapshot jsonb_path_ops)
"""
PAYLOAD_INDEX = "CREATE INDEX ix_events_payload ON events USING gin (payload jsonb_path_ops)"

# What a run adds to its strategy's statistics. A bucket holds a hundredth of a Sharpe ratio, or
# half a percent of return; 0 and 1001 are all below and above, -1 is undefined.
CONTRIBUTIONS = """
    SELECT strategy_name, 'sharpe_ratio' AS subject,
        coalesce(width_bucket(sharpe_ratio, -5, 5, 1000), -1) AS bucket,
        coalesce(sharpe_ratio, 0) AS value
    FROM {source}
    UNION ALL
    SELECT strategy_name, 'total_return',
        coalesce(width_bucket(total_return, -1, 4, 1000), -1),
        coalesce(total_return, 0)
    FROM {source}
"""
FAILURES = """
    SELECT strategy_name, 'failed' AS subject, 0 AS bucket, 0 AS value
    FROM {source} WHERE execution_status = 'failed'
"""
# In one order, so that two that save at once wait for each other instead of standing still.
COUNT = """
    INSERT INTO run_statistics AS known (strategy_name, subject, bucket, runs, total)
    SELECT strategy_name, subject, bucket, {sign} count(*), {sign} sum(value)
    FROM ({contributions}) AS contribution
    GROUP BY strategy_name, subject, bucket
    ORDER BY strategy_name, subject, bucket
    ON CONFLICT (strategy_name, subject, bucket) DO UPDATE
    SET runs = known.runs + excluded.runs, total = known.total + excluded.total
"""
STATISTICS = """
    CREATE TABLE run_statistics (
        strategy_name TEXT NOT NULL,
        subject TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        runs BIGINT NOT NULL,
        total NUMERIC NOT NULL,
        CONSTRAINT pk_run_statistics PRIMARY KEY (strategy_name, subject, bucket)
    ) WITH (fillfactor = 50)
"""
COUNTED = (("performance_metrics", CONTRIBUTIONS), ("backtest_runs", FAILURES))


def upgrade() -> None:
    """Replace the indexes, and count the runs that are there."""
    op.execute("DROP INDEX ix_backtest_runs_config_snapshot")
    op.execute("DROP INDEX ix_events_payload")
    op.execute(f"{PAYLOAD_INDEX} WHERE event_type <> 'trade_closed'")
    for statement in INDEXES:
        op.execute(statement)
    op.execute(STATISTICS)
    for table, contributions in COUNTED:
        op.execute(COUNT.format(sign="", contributions=contributions.format(source=table)))
        _count_from_now_on(table, contributions)


def _count_from_now_on(table: str, contributions: str) -> None:
    # The definer's rights: nobody else can write what must follow from the runs.
    for event, transition, sign in (("insert", "NEW", ""), ("delete", "OLD", "-")):
        name = f"{table}_count_{event}"
        count = COUNT.format(sign=sign, contributions=contributions.format(source="changed"))
        op.execute(
            f"CREATE FUNCTION ntrader_{name}() RETURNS trigger LANGUAGE plpgsql"
            " SECURITY DEFINER SET search_path FROM CURRENT"
            f" AS $$ BEGIN {count}; RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event.upper()} ON {table}"
            f" REFERENCING {transition} TABLE AS changed"
            f" FOR EACH STATEMENT EXECUTE FUNCTION ntrader_{name}()"
        )


def downgrade() -> None:
    """Bring the old indexes back."""
    for table, _ in COUNTED:
        for event in ("insert", "delete"):
            op.execute(f"DROP TRIGGER {table}_count_{event} ON {table}")
            op.execute(f"DROP FUNCTION ntrader_{table}_count_{event}()")
    op.execute("DROP TABLE run_statistics")
    for name in ADDED_INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute("DROP INDEX ix_events_payload")
    op.execute(PAYLOAD_INDEX)
    op.execute(SNAPSHOT_INDEX)
