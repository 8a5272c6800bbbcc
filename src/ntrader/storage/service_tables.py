"""The service's tables of access and webhooks, and the names of all of the service's tables."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from ntrader.domain.access import AccessScope
from ntrader.domain.webhooks import DeliveryStatus, WebhookEvent
from ntrader.storage.column_types import INSTANT, SHA256, enum_type
from ntrader.storage.jobs_tables import SERVICE_SCHEMA

_EVENTS = ", ".join(f"'{event.value}'" for event in WebhookEvent)

keys_table = Table(
    "api_keys",
    SERVICE_SCHEMA,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("scope", enum_type(AccessScope, "access_scope"), nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("expires_at", INSTANT),
    Column("revoked_at", INSTANT),
    Column("last_used_at", INSTANT),
    UniqueConstraint("hash"),
    UniqueConstraint("prefix"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_length"),
    CheckConstraint(f"hash ~ {SHA256}", name="hash_sha256"),
    CheckConstraint("expires_at > created_at", name="expires_after_created"),
    Index("ix_api_keys_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
)
"""A key to the service: what may be known of it, and its hash."""

webhooks_table = Table(
    "webhooks",
    SERVICE_SCHEMA,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    CheckConstraint("char_length(url) BETWEEN 1 AND 2000", name="url_length"),
    CheckConstraint("char_length(secret) BETWEEN 16 AND 255", name="secret_length"),
    CheckConstraint("cardinality(events) > 0", name="events_not_empty"),
    CheckConstraint(f"events <@ ARRAY[{_EVENTS}]", name="events_known"),
)
"""An address that is told when a run ends. The secret signs, so it is kept as it is."""

deliveries_table = Table(
    "webhook_deliveries",
    SERVICE_SCHEMA,
    Column("id", Uuid, primary_key=True),
    Column("webhook_id", Uuid, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", Text, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("body", Text, nullable=False),
    Column(
        "status",
        enum_type(DeliveryStatus, "delivery_status"),
        nullable=False,
        server_default=DeliveryStatus.PENDING.value,
    ),
    Column("attempts", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("job_id", BigInteger),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("next_attempt_at", INSTANT),
    Column("ended_at", INSTANT),
    UniqueConstraint("webhook_id", "run_id", "event"),
    CheckConstraint("jsonb_typeof(attempts) = 'array'", name="attempts_array"),
    CheckConstraint(
        "(status = 'pending') = (ended_at IS NULL)", name="ended_exactly_when_not_pending"
    ),
    Index(
        "ix_webhook_deliveries_webhook_id_created_at_id",
        "webhook_id",
        text("created_at DESC"),
        text("id DESC"),
    ),
    Index(
        "ix_webhook_deliveries_pending",
        "created_at",
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_webhook_deliveries_ended_at",
        "ended_at",
        postgresql_where=text("status <> 'pending'"),
    ),
)
"""An event on its way to a webhook, with a log of the attempts."""

SERVICE_TABLES = frozenset(SERVICE_SCHEMA.tables)
"""The names of the service's tables."""
