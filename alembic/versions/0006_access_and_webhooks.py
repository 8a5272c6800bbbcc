"""Keys to the service, and who is told when a run ends.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE TYPE access_scope AS ENUM ('read', 'write', 'admin')",
    "CREATE TYPE delivery_status AS ENUM ('pending', 'delivered', 'failed')",
    """
    CREATE TABLE api_keys (
        id UUID DEFAULT gen_random_uuid() NOT NULL,
        name TEXT NOT NULL,
        prefix TEXT NOT NULL,
        hash TEXT NOT NULL,
        scope access_scope NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        revoked_at TIMESTAMP WITH TIME ZONE,
        last_used_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_api_keys PRIMARY KEY (id),
        CONSTRAINT uq_api_keys_hash UNIQUE (hash),
        CONSTRAINT uq_api_keys_prefix UNIQUE (prefix),
        CONSTRAINT ck_api_keys_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
        CONSTRAINT ck_api_keys_hash_sha256 CHECK (hash ~ '^[0-9a-f]{64}$'),
        CONSTRAINT ck_api_keys_expires_after_created CHECK (expires_at > created_at)
    )
    """,
    "CREATE UNIQUE INDEX ix_api_keys_name ON api_keys (name) WHERE revoked_at IS NULL",
    """
    CREATE TABLE webhooks (
        id UUID DEFAULT gen_random_uuid() NOT NULL,
        url TEXT NOT NULL,
        secret TEXT NOT NULL,
        events TEXT[] NOT NULL,
        description TEXT DEFAULT '' NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_webhooks PRIMARY KEY (id),
        CONSTRAINT ck_webhooks_url_length CHECK (char_length(url) BETWEEN 1 AND 2000),
        CONSTRAINT ck_webhooks_secret_length CHECK (char_length(secret) BETWEEN 16 AND 255),
        CONSTRAINT ck_webhooks_events_not_empty CHECK (cardinality(events) > 0),
        CONSTRAINT ck_webhooks_events_known CHECK (events <@ ARRAY['run.done', 'run.failed',
            'run.cancelled'])
    )
    """,
    """
    CREATE TABLE webhook_deliveries (
        id UUID NOT NULL,
        webhook_id UUID NOT NULL,
        event TEXT NOT NULL,
        run_id UUID NOT NULL,
        body TEXT NOT NULL,
        status delivery_status DEFAULT 'pending' NOT NULL,
        attempts JSONB DEFAULT '[]'::jsonb NOT NULL,
        job_id BIGINT,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        next_attempt_at TIMESTAMP WITH TIME ZONE,
        ended_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_webhook_deliveries PRIMARY KEY (id),
        CONSTRAINT uq_webhook_deliveries_webhook_id_run_id_event UNIQUE (webhook_id, run_id,
            event),
        CONSTRAINT ck_webhook_deliveries_attempts_array CHECK (jsonb_typeof(attempts) = 'array'),
        CONSTRAINT ck_webhook_deliveries_ended_exactly_when_not_pending CHECK ((status =
            'pending') = (ended_at IS NULL)),
        CONSTRAINT fk_webhook_deliveries_webhook_id_webhooks FOREIGN KEY (webhook_id)
            REFERENCES webhooks (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_webhook_deliveries_webhook_id_created_at_id
        ON webhook_deliveries (webhook_id, created_at DESC, id DESC)
    """,
    """
    CREATE INDEX ix_webhook_deliveries_pending ON webhook_deliveries (created_at)
        WHERE status = 'pending'
    """,
    """
    CREATE INDEX ix_webhook_deliveries_ended_at ON webhook_deliveries (ended_at)
        WHERE status <> 'pending'
    """,
)

DROPS = (
    "DROP TABLE webhook_deliveries",
    "DROP TABLE webhooks",
    "DROP TABLE api_keys",
    "DROP TYPE delivery_status",
    "DROP TYPE access_scope",
)


def upgrade() -> None:
    """Add the tables; what is there stays as it is."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables: the keys open nothing any more, and nobody is told."""
    for statement in DROPS:
        op.execute(statement)
