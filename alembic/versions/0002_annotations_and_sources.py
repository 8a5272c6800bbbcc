"""What is kept beside a run: its strategy's source, its tags, its note.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE strategy_sources (
        hash TEXT NOT NULL,
        entry TEXT NOT NULL,
        files JSONB NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_strategy_sources PRIMARY KEY (hash),
        CONSTRAINT ck_strategy_sources_hash_sha256 CHECK (hash ~ '^[0-9a-f]{64}$'),
        CONSTRAINT ck_strategy_sources_files_object CHECK (jsonb_typeof(files) = 'object'),
        CONSTRAINT ck_strategy_sources_entry_among_files CHECK (files ? entry)
    )
    """,
    r"""
    CREATE TABLE run_tags (
        run_id UUID NOT NULL,
        tag TEXT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_run_tags PRIMARY KEY (run_id, tag),
        CONSTRAINT ck_run_tags_tag_length CHECK (char_length(tag) BETWEEN 1 AND 64),
        CONSTRAINT ck_run_tags_tag_one_word CHECK (tag !~ '[\s\u0001-\u001f\u007f]'),
        CONSTRAINT fk_run_tags_run_id_backtest_runs FOREIGN KEY(run_id) REFERENCES backtest_runs
            (run_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_run_tags_tag ON run_tags (tag)
    """,
    """
    CREATE TABLE run_notes (
        run_id UUID NOT NULL,
        note TEXT NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_run_notes PRIMARY KEY (run_id),
        CONSTRAINT ck_run_notes_note_length CHECK (char_length(note) BETWEEN 1 AND 10000),
        CONSTRAINT fk_run_notes_run_id_backtest_runs FOREIGN KEY(run_id) REFERENCES backtest_runs
            (run_id) ON DELETE CASCADE
    )
    """,
)


def upgrade() -> None:
    """Add the tables; what is there stays as it is."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables, and with them every tag, note and kept source."""
    for name in ("run_notes", "run_tags", "strategy_sources"):
        op.execute(f"DROP TABLE {name}")
