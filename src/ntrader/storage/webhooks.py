"""The repository of webhooks and deliveries, and what puts a delivery into the queue."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Row, Select, bindparam, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from ntrader.domain.submissions import Submission
from ntrader.domain.webhooks import (
    Attempt,
    DeliveryStatus,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
    event_document,
)
from ntrader.errors import ConflictError, NotFoundError
from ntrader.storage.database import Database
from ntrader.storage.jobs_queue import JobQueue
from ntrader.storage.jobs_schema import quoted
from ntrader.storage.service_tables import deliveries_table as deliveries
from ntrader.storage.service_tables import webhooks_table as webhooks
from ntrader.storage.transactions import Transaction

WEBHOOKS = "ntrader_webhooks"
"""The queue of deliveries: one of their own, so that no slow address holds up a run."""

DELIVER_TASK = "deliver"
"""The task that makes one attempt; its argument is `delivery_id`."""

KEPT = "30 days"
"""For which a delivery that has ended stays in the log."""

MOST_WEBHOOKS = 100

_COLUMNS = [each for each in deliveries.columns if each.name != "job_id"]


async def announce(transaction: Transaction, queue: JobQueue, ended: Submission) -> None:
    """Within the transaction that ends a run, have its webhooks told."""
    event = WebhookEvent.of(ended.status)
    wanted = select(webhooks.c.id).where(webhooks.c.events.contains([event.value]))
    for webhook_id in (await transaction.execute(wanted.with_for_update(key_share=True))).scalars():
        # The same when a server lost the transaction with which it was told: whoever was told
        # already knows it by its id.
        delivery_id = uuid5(webhook_id, f"{ended.run_id} {event.value}")
        document = event_document(delivery_id, event, ended)
        values = {
            "id": delivery_id,
            "webhook_id": webhook_id,
            "event": event.value,
            "run_id": ended.run_id,
            "body": json.dumps(document, separators=(",", ":"), ensure_ascii=False),
            "next_attempt_at": func.now(),
        }
        statement = insert(deliveries).values(values).on_conflict_do_nothing()
        if (await transaction.execute(statement)).rowcount:
            await _put(transaction, queue, delivery_id)


async def _put(transaction: Transaction, queue: JobQueue, delivery_id: UUID) -> None:
    arguments = {"delivery_id": str(delivery_id)}
    job_id = await queue.put(transaction, DELIVER_TASK, arguments, queue=WEBHOOKS)
    await transaction.execute(
        update(deliveries).where(deliveries.c.id == delivery_id).values(job_id=job_id)
    )


async def rescue_deliveries(database: Database, queue: JobQueue) -> int:
    """Put deliveries into the queue again whose job is gone; return how many those were.

    What has ended long ago leaves the log meanwhile.
    """
    lost = text(
        "SELECT id FROM webhook_deliveries AS delivery"  # noqa: S608
        " WHERE status = 'pending' AND created_at < now() - interval '1 minute' AND NOT EXISTS ("
        f"  SELECT FROM {quoted(queue.schema)}.procrastinate_jobs AS job"
        "   WHERE job.id = delivery.job_id AND job.status IN ('todo', 'doing'))"
        " FOR UPDATE SKIP LOCKED"
    )
    old = deliveries.c.ended_at < func.now() - text(f"interval '{KEPT}'")
    over = deliveries.c.status != DeliveryStatus.PENDING

    async def work(transaction: Transaction) -> int:
        await transaction.execute(delete(deliveries).where(over, old))
        found = (await transaction.execute(lost)).scalars().all()
        for delivery_id in found:
            await _put(transaction, queue, delivery_id)
        return len(found)

    return await database.run(work)


class WebhookRepository:
    """Webhooks with what they were told. `get` and the like raise `NotFoundError`."""

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self.database = database
        self.queue = queue

    async def add(self, webhook: Webhook) -> Webhook:
        """Keep a webhook; one with that id stays as it is.

        Raises:
            ConflictError: there are as many as there may be.
        """
        values = {
            "id": webhook.id,
            "url": webhook.url,
            "secret": webhook.secret,
            "events": [event.value for event in webhook.events],
            "description": webhook.description,
        }

        async def work(transaction: Transaction) -> Webhook:
            await transaction.execute(insert(webhooks).values(values).on_conflict_do_nothing())
            if (await transaction.scalar(select(func.count()).select_from(webhooks)) or 0) > (
                MOST_WEBHOOKS
            ):
                raise ConflictError(f"There are {MOST_WEBHOOKS} webhooks: delete one first.")
            found = select(webhooks).where(webhooks.c.id == webhook.id)
            return _webhook((await transaction.execute(found)).one())

        return await self.database.run(work)

    async def get(self, webhook_id: UUID) -> Webhook:
        """Return a webhook."""
        found = await self.database.fetch(select(webhooks).where(webhooks.c.id == webhook_id))
        if not found:
            raise _no_webhook(webhook_id)
        return _webhook(found[0])

    async def list(self) -> Sequence[Webhook]:
        """Return all webhooks, newest first."""
        statement = select(webhooks).order_by(webhooks.c.created_at.desc(), webhooks.c.id)
        return [_webhook(row) for row in await self.database.fetch(statement)]

    async def delete(self, webhook_id: UUID) -> None:
        """Forget a webhook with its log; what is on its way is not sent any more."""
        statement = delete(webhooks).where(webhooks.c.id == webhook_id)
        deleted = await self.database.run(lambda transaction: transaction.execute(statement))
        if not deleted.rowcount:
            raise _no_webhook(webhook_id)

    async def page(
        self,
        webhook_id: UUID,
        statuses: Sequence[DeliveryStatus],
        *,
        limit: int,
        after: tuple[datetime, UUID] | None = None,
    ) -> Sequence[WebhookDelivery]:
        """Return what a webhook was told, newest first.

        `after` is the instant and the id of the last delivery of the page before.
        """
        key = (deliveries.c.created_at, deliveries.c.id)
        statement = _select().where(deliveries.c.webhook_id == webhook_id)
        if statuses:
            statement = statement.where(deliveries.c.status.in_(statuses))
        if after is not None:
            statement = statement.where(tuple_(*key) < tuple_(*after))
        ordered = statement.order_by(*(each.desc() for each in key)).limit(limit)
        return [_delivery(row) for row in await self.database.fetch(ordered)]

    async def due(self, delivery_id: UUID) -> tuple[WebhookDelivery, Webhook] | None:
        """Return a delivery that is to be made and to whom; None where there is nothing to do."""
        pending = _select().where(
            deliveries.c.id == delivery_id, deliveries.c.status == DeliveryStatus.PENDING
        )
        found = await self.database.fetch(pending)
        if not found:
            return None
        delivery = _delivery(found[0])
        return delivery, await self.get(delivery.webhook_id)

    async def record(
        self, delivery_id: UUID, attempt: Attempt, status: DeliveryStatus, *, retry_seconds: int
    ) -> None:
        """Note an attempt and what follows from it: an end, or another in `retry_seconds`."""
        ended = status is not DeliveryStatus.PENDING
        later = func.now() + timedelta(seconds=retry_seconds)
        statement = (
            update(deliveries)
            .where(deliveries.c.id == delivery_id)
            .where(deliveries.c.status == DeliveryStatus.PENDING)
            .values(
                attempts=deliveries.c.attempts.concat(
                    bindparam(None, [attempt.to_dict()], type_=JSONB)
                ),
                status=status,
                next_attempt_at=None if ended else later,
                ended_at=func.now() if ended else None,
            )
        )
        await self.database.run(lambda transaction: transaction.execute(statement))

    async def deliver_again(self, webhook_id: UUID, delivery_id: UUID) -> WebhookDelivery:
        """Begin a delivery again that has ended, under its old id.

        Raises:
            ConflictError: it is under way.
        """
        this = (deliveries.c.id == delivery_id, deliveries.c.webhook_id == webhook_id)

        async def work(transaction: Transaction) -> WebhookDelivery:
            statement = update(deliveries).where(
                *this, deliveries.c.status != DeliveryStatus.PENDING
            )
            again = await transaction.execute(
                statement.values(
                    status=DeliveryStatus.PENDING, ended_at=None, next_attempt_at=func.now()
                )
            )
            row = (await transaction.execute(_select().where(*this))).one_or_none()
            if row is None:
                raise NotFoundError(f"The webhook has no delivery {delivery_id}.")
            if not again.rowcount:
                raise ConflictError(f"Delivery {delivery_id} is under way.")
            await _put(transaction, self.queue, delivery_id)
            return _delivery(row)

        return await self.database.run(work)


def _select() -> Select[Any]:
    return select(*_COLUMNS)


def _no_webhook(webhook_id: UUID) -> NotFoundError:
    return NotFoundError(f"There is no webhook {webhook_id}.")


def _webhook(row: Row[Any]) -> Webhook:
    values = dict(row._mapping)
    return Webhook(**{**values, "events": tuple(map(WebhookEvent, values["events"]))})


def _delivery(row: Row[Any]) -> WebhookDelivery:
    values = dict(row._mapping)
    return WebhookDelivery(
        **{
            **values,
            "event": WebhookEvent(values["event"]),
            "attempts": tuple(values["attempts"]),
        }
    )
