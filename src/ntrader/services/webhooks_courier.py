"""The courier: takes deliveries out of their queue and makes an attempt at each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from ntrader import logs
from ntrader.domain.webhooks import RETRY_SECONDS, DeliveryStatus, delivery_headers
from ntrader.errors import DatabaseError, DatabaseUnavailableError, NotFoundError
from ntrader.services.webhooks import webhooks_of
from ntrader.services.webhooks_sending import Sender
from ntrader.storage.jobs_consumer import Consumer, Delivery, TryAgainError
from ntrader.storage.webhooks import DELIVER_TASK, WEBHOOKS, rescue_deliveries

if TYPE_CHECKING:
    from ntrader.domain.webhooks import Attempt
    from ntrader.services.jobs import Jobs
    from ntrader.services.webhooks import WebhookPolicy

AT_THE_SAME_TIME = 8
"""So many deliveries are under way at the same time: they wait for others and cost nothing."""

RESCUE_SECONDS = 30.0


class Courier:
    """Makes deliveries until it is stopped; any number of couriers may work beside each other."""

    def __init__(self, jobs: Jobs, policy: WebhookPolicy, *, name: str) -> None:
        self._webhooks = webhooks_of(jobs)
        self._policy = policy
        self._consumer = Consumer(
            jobs.workspace.direct_database().url,
            self._webhooks.queue.schema,
            {DELIVER_TASK: self._deliver},
            queues=[WEBHOOKS],
            slots=AT_THE_SAME_TIME,
            name=f"{name} courier",
            # Whatever is under way is over by then.
            grace_seconds=policy.seconds + 1,
        )
        self._log = logs.logger().bind(courier=name)

    def stop(self) -> None:
        """Begin no more deliveries."""
        self._consumer.stop()

    async def run(self) -> None:
        """Deliver until `stop`; a database that goes away is waited for."""
        rescuing = asyncio.create_task(self._rescue_forever())
        self._sender = Sender(self._policy)
        try:
            await self._consumer.run_until_stopped(self._queue_lost)
        finally:
            rescuing.cancel()
            with suppress(asyncio.CancelledError):
                await rescuing
            await self._sender.close()

    def _queue_lost(self, reason: str) -> None:
        self._log.warning("queue_lost", reason=reason)

    async def _rescue_forever(self) -> None:
        while True:
            try:
                await rescue_deliveries(self._webhooks.database, self._webhooks.queue)
            except DatabaseError as error:
                self._log.warning("rescue_failed", reason=error.message)
            await asyncio.sleep(RESCUE_SECONDS)

    async def _deliver(self, job: Delivery) -> None:
        delivery_id = UUID(job.arguments["delivery_id"])
        try:
            seconds = await self._attempt(delivery_id)
        except DatabaseUnavailableError as error:
            # What was sent and could not be noted is sent again: at least once.
            raise TryAgainError(seconds=2) from error
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            raise TryAgainError from None
        if seconds is not None:
            raise TryAgainError(seconds)

    async def _attempt(self, delivery_id: UUID) -> int | None:
        """Make an attempt; return after how many seconds the next follows, None if none does."""
        try:
            due = await self._webhooks.due(delivery_id)
        except NotFoundError:
            # The webhook was deleted, and its deliveries with it.
            return None
        if due is None:
            return None
        delivery, webhook = due
        headers = delivery_headers(delivery, webhook.secret, datetime.now(UTC))
        attempt = await self._sender.send(webhook.url, headers, delivery.body.encode())
        status, seconds = _what_follows(attempt, made=len(delivery.attempts) + 1)
        await self._webhooks.record(delivery_id, attempt, status, retry_seconds=seconds or 0)
        self._log.info(
            "webhook_attempted",
            delivery_id=str(delivery_id),
            webhook_id=str(webhook.id),
            run_id=str(delivery.run_id),
            status=status.value,
            status_code=attempt.status_code,
            error=attempt.error,
        )
        return seconds


def _what_follows(attempt: Attempt, *, made: int) -> tuple[DeliveryStatus, int | None]:
    """Return what an attempt makes of its delivery, the `made`th one so far."""
    if attempt.is_taken:
        return DeliveryStatus.DELIVERED, None
    if attempt.is_hopeless or made > len(RETRY_SECONDS):
        return DeliveryStatus.FAILED, None
    return DeliveryStatus.PENDING, RETRY_SECONDS[made - 1]
