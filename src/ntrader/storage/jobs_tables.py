"""The service's own tables: what is accepted and not yet a run.

They are apart from the store's (`ntrader.storage.tables`): a dump of the store does not hold them.
The queue itself is in a schema of its own, see `ntrader.storage.jobs_schema`.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from ntrader.domain.submissions import SubmissionKind, SubmissionStatus
from ntrader.storage.column_types import INSTANT, NAMING, SHA256, enum_type

SERVICE_SCHEMA = MetaData(naming_convention=NAMING)

submissions_table = Table(
    "submissions",
    SERVICE_SCHEMA,
    Column("run_id", Uuid, primary_key=True),
    Column("kind", enum_type(SubmissionKind, "submission_kind"), nullable=False),
    Column(
        "status",
        enum_type(SubmissionStatus, "submission_status"),
        nullable=False,
        server_default=SubmissionStatus.QUEUED.value,
    ),
    Column("request", JSONB, nullable=False),
    Column("strategy_id", Uuid),
    Column("dataset_id", Uuid),
    Column("original_run_id", Uuid),
    Column("request_id", Text),
    Column("job_id", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("progress", JSONB(none_as_null=True)),
    Column("error", Text),
    Column("worker", Text),
    Column("submitted_at", INSTANT, nullable=False, server_default=func.now()),
    Column("started_at", INSTANT),
    Column("finished_at", INSTANT),
    Column("version", BigInteger, nullable=False, server_default="1"),
    CheckConstraint("jsonb_typeof(request) = 'object'", name="request_object"),
    CheckConstraint("jsonb_typeof(progress) = 'object'", name="progress_object"),
    CheckConstraint("attempts >= 0", name="attempts_not_negative"),
    CheckConstraint(
        "(status IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
        name="finished_exactly_when_final",
    ),
    Index("ix_submissions_submitted_at_run_id", text("submitted_at DESC"), text("run_id DESC")),
    Index(
        "ix_submissions_open",
        "submitted_at",
        postgresql_where=text("status IN ('queued', 'running', 'cancelling')"),
    ),
    # A row is written several times a second while its run runs: room to do that in place.
    postgresql_with={"fillfactor": "70"},
)
"""A run that the service has accepted."""

idempotency_table = Table(
    "idempotency_keys",
    SERVICE_SCHEMA,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("subject", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("answer", JSONB(none_as_null=True)),
    Column("claimed_at", INSTANT, nullable=False, server_default=func.now()),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    CheckConstraint("char_length(key) BETWEEN 1 AND 255", name="key_length"),
    CheckConstraint(f"request_hash ~ {SHA256}", name="request_hash_sha256"),
    CheckConstraint("jsonb_typeof(answer) = 'object'", name="answer_object"),
    Index("ix_idempotency_keys_created_at", "created_at"),
)
"""A request that must not be carried out twice, and what was answered (NULL while it is at it)."""
