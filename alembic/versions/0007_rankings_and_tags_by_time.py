"""A ranking for every metric, and the newest runs of a tag and of a configuration from an index.

A tag carries a copy of its run's time: the newest of many tagged runs are then the first entries of
an index. A run never changes, so that a trigger on the tags alone keeps the copies true.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

RANKED = (
    "avg_loss",
    "avg_win",
    "break_even_trades",
    "expectancy",
    "exposure",
    "final_balance",
    "losing_trades",
    "max_drawdown_at",
    "total_fees",
    "total_trades",
    "volatility",
    "winning_trades",
)

# Without a run the foreign key refuses the tag, right after this.
DATE_TAG = """
    CREATE FUNCTION ntrader_date_tag() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        NEW.run_created_at := coalesce(
            (SELECT created_at FROM backtest_runs WHERE run_id = NEW.run_id), '-infinity'
        );
        RETURN NEW;
    END
    $$
"""
TAGS_DATED = (
    "ALTER TABLE run_tags ADD COLUMN run_created_at TIMESTAMP WITH TIME ZONE",
    """
    UPDATE run_tags SET run_created_at = run.created_at
    FROM backtest_runs AS run WHERE run.run_id = run_tags.run_id
    """,
    "ALTER TABLE run_tags ALTER COLUMN run_created_at SET NOT NULL",
    "DROP INDEX ix_run_tags_tag",
    "CREATE INDEX ix_run_tags_tag_run_created_at ON run_tags (tag, run_created_at DESC)",
    DATE_TAG,
    """
    CREATE TRIGGER run_tags_are_dated BEFORE INSERT OR UPDATE ON run_tags
        FOR EACH ROW EXECUTE FUNCTION ntrader_date_tag()
    """,
)
TAGS_UNDATED = (
    "DROP TRIGGER run_tags_are_dated ON run_tags",
    "DROP FUNCTION ntrader_date_tag()",
    "DROP INDEX ix_run_tags_tag_run_created_at",
    "ALTER TABLE run_tags DROP COLUMN run_created_at",
    "CREATE INDEX ix_run_tags_tag ON run_tags (tag)",
)


def upgrade() -> None:
    """Add the indexes, and give the tags their times."""
    for metric in RANKED:
        op.execute(
            f"CREATE INDEX ix_performance_metrics_{metric} ON performance_metrics"
            f" ({metric} DESC NULLS LAST, backtest_run_id DESC)"
        )
    op.execute("DROP INDEX ix_backtest_runs_strategy_id")
    op.execute(
        "CREATE INDEX ix_backtest_runs_strategy_id_created_at_id ON backtest_runs"
        " (strategy_id, created_at DESC, id DESC)"
    )
    op.execute(
        "CREATE INDEX ix_backtest_runs_symbol_failed ON backtest_runs"
        " (instrument_symbol, id DESC) WHERE execution_status = 'failed'"
    )
    # A hundred samples, the default, may well have none of the parameters that a fiftieth of all
    # runs share; the planner then expects a hundred runs where there are thousands.
    op.execute("ALTER INDEX ix_backtest_runs_parameters ALTER COLUMN 1 SET STATISTICS 300")
    for statement in TAGS_DATED:
        op.execute(statement)


def downgrade() -> None:
    """Drop what was added."""
    for statement in TAGS_UNDATED:
        op.execute(statement)
    op.execute("ALTER INDEX ix_backtest_runs_parameters ALTER COLUMN 1 SET STATISTICS -1")
    op.execute("DROP INDEX ix_backtest_runs_symbol_failed")
    op.execute("DROP INDEX ix_backtest_runs_strategy_id_created_at_id")
    op.execute("CREATE INDEX ix_backtest_runs_strategy_id ON backtest_runs (strategy_id)")
    for metric in RANKED:
        op.execute(f"DROP INDEX ix_performance_metrics_{metric}")
