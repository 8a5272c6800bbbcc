"""All that belongs to a saved run stays as it was saved: its files, its events, its code.

Runs and metrics refuse UPDATE since the first revision. TRUNCATE fires no row's trigger.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPDATE_REFUSED = ("artifacts", "events", "strategy_sources")
TRUNCATE_REFUSED = ("backtest_runs", "performance_metrics", *UPDATE_REFUSED)

FUNCTION = """
    CREATE FUNCTION ntrader_refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
    BEGIN
        RAISE EXCEPTION 'the table % cannot be emptied', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', HINT = 'Delete runs, with `ntrader delete`.';
    END
    $$
"""


def upgrade() -> None:
    """Add the triggers; no row is touched."""
    op.execute(FUNCTION)
    for table in UPDATE_REFUSED:
        op.execute(
            f"CREATE TRIGGER {table}_are_immutable BEFORE UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION ntrader_refuse_update()"
        )
    for table in TRUNCATE_REFUSED:
        op.execute(
            f"CREATE TRIGGER {table}_cannot_be_emptied BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION ntrader_refuse_truncate()"
        )


def downgrade() -> None:
    """Drop the triggers."""
    for table in UPDATE_REFUSED:
        op.execute(f"DROP TRIGGER {table}_are_immutable ON {table}")
    for table in TRUNCATE_REFUSED:
        op.execute(f"DROP TRIGGER {table}_cannot_be_emptied ON {table}")
    op.execute("DROP FUNCTION ntrader_refuse_truncate()")
