"""What the service has accepted and not yet done, and the requests that it has answered.

The queue's own tables are no part of this chain: see specs/service.md.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TYPE submission_kind AS ENUM ('backtest', 'reproduction')",
    """
    CREATE TYPE submission_status AS ENUM ('queued', 'running', 'cancelling', 'done', 'failed',
        'cancelled')
    """,
    """
    CREATE TABLE submissions (
        run_id UUID NOT NULL,
        kind submission_kind NOT NULL,
        status submission_status DEFAULT 'queued' NOT NULL,
        request JSONB NOT NULL,
        strategy_id UUID,
        dataset_id UUID,
        original_run_id UUID,
        request_id TEXT,
        job_id BIGINT,
        attempts INTEGER DEFAULT '0' NOT NULL,
        progress JSONB,
        error TEXT,
        worker TEXT,
        submitted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        started_at TIMESTAMP WITH TIME ZONE,
        finished_at TIMESTAMP WITH TIME ZONE,
        version BIGINT DEFAULT '1' NOT NULL,
        CONSTRAINT pk_submissions PRIMARY KEY (run_id),
        CONSTRAINT ck_submissions_request_object CHECK (jsonb_typeof(request) = 'object'),
        CONSTRAINT ck_submissions_progress_object CHECK (jsonb_typeof(progress) = 'object'),
        CONSTRAINT ck_submissions_attempts_not_negative CHECK (attempts >= 0),
        CONSTRAINT ck_submissions_finished_exactly_when_final CHECK ((status IN ('done', 'failed',
            'cancelled')) = (finished_at IS NOT NULL))
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE INDEX ix_submissions_submitted_at_run_id ON submissions (submitted_at DESC, run_id DESC)
    """,
    """
    CREATE INDEX ix_submissions_open ON submissions (submitted_at)
        WHERE status IN ('queued', 'running', 'cancelling')
    """,
    """
    CREATE TABLE idempotency_keys (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        request_hash TEXT NOT NULL,
        subject UUID DEFAULT gen_random_uuid() NOT NULL,
        answer JSONB,
        claimed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_idempotency_keys PRIMARY KEY (scope, key),
        CONSTRAINT ck_idempotency_keys_key_length CHECK (char_length(key) BETWEEN 1 AND 255),
        CONSTRAINT ck_idempotency_keys_request_hash_sha256 CHECK (request_hash ~
            '^[0-9a-f]{64}$'),
        CONSTRAINT ck_idempotency_keys_answer_object CHECK (jsonb_typeof(answer) = 'object')
    )
    """,
    """
    CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at)
    """,
)

DROPS = (
    "DROP TABLE idempotency_keys",
    "DROP TABLE submissions",
    "DROP TYPE submission_status",
    "DROP TYPE submission_kind",
)


def upgrade() -> None:
    """Add the tables; what is there stays as it is."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables, and with them what waits in the queue."""
    for statement in DROPS:
        op.execute(statement)
