"""Webhooks: who is told when a run ends, and what he was told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from ntrader.domain.webhooks import (
    DeliveryStatus,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
    checked_url,
    events_or_all,
    new_secret,
)
from ntrader.services.refusals import about
from ntrader.storage.webhooks import WebhookRepository

if TYPE_CHECKING:
    from ntrader.services.jobs import Jobs


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookPolicy:
    """How webhooks are used here.

    Args:
        private_allowed: whether addresses that are not public may be told, and without TLS.
        seconds: for one attempt, from the look-up of the name to the answer.
    """

    private_allowed: bool = False
    seconds: float = 10.0


USUAL_POLICY = WebhookPolicy()


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookOrder:
    """A webhook as it is asked for; without a secret one is made, without events all are told."""

    id: UUID
    url: str
    secret: str | None = None
    events: Sequence[WebhookEvent] = ()
    description: str = ""


async def register_webhook(jobs: Jobs, policy: WebhookPolicy, order: WebhookOrder) -> Webhook:
    """Have an address told of events from now on.

    Raises:
        RefusedFieldsError: the URL is none that may be told.
        ConflictError: there are too many.
    """
    with about("url"):
        url = checked_url(order.url, private_allowed=policy.private_allowed)
    return await webhooks_of(jobs).add(
        Webhook(
            id=order.id,
            url=url,
            secret=order.secret or new_secret(),
            events=events_or_all(order.events),
            description=order.description,
            created_at=datetime.now(UTC),
        )
    )


async def list_deliveries(
    jobs: Jobs,
    webhook_id: UUID,
    statuses: Sequence[DeliveryStatus],
    *,
    limit: int,
    after: tuple[datetime, UUID] | None,
) -> Sequence[WebhookDelivery]:
    """Return what a webhook was told, newest first.

    Raises:
        NotFoundError: there is no such webhook.
    """
    webhooks = webhooks_of(jobs)
    await webhooks.get(webhook_id)
    return await webhooks.page(webhook_id, statuses, limit=limit, after=after)


def webhooks_of(jobs: Jobs) -> WebhookRepository:
    """Return the webhooks that are told of these jobs."""
    return WebhookRepository(jobs.submissions.database, jobs.submissions.queue)
