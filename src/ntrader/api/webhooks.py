"""`/webhooks`: who is told when a run ends, and what he was told.

All of it needs the scope admin: a webhook sends word of everybody's runs out of the service, and
its address may hold a secret.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ntrader.api.context import TheService
from ntrader.api.documents import Answer, tagged
from ntrader.api.idempotency import OnceOnly
from ntrader.api.models import RequestBody
from ntrader.api.positions import Paged
from ntrader.api.routing import Router
from ntrader.domain.access import AccessScope
from ntrader.domain.webhooks import (
    MAX_URL,
    DeliveryStatus,
    WebhookEvent,
    delivery_document,
    webhook_document,
)
from ntrader.services.webhooks import (
    WebhookOrder,
    list_deliveries,
    register_webhook,
    webhooks_of,
)

router = Router("webhooks", "/webhooks")

_ADMIN = AccessScope.ADMIN


class NewWebhook(RequestBody):
    """An address to be told when runs end. Without events it is told of all."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"url": "https://example.org/runs", "events": ["run.done"]}}
    )

    url: str = Field(max_length=MAX_URL)
    events: list[WebhookEvent] = Field(default=[], max_length=len(WebhookEvent))
    secret: (
        Annotated[str, Field(min_length=16, max_length=255, pattern=r"^[\x21-\x7e]+$")] | None
    ) = Field(default=None, description="What deliveries are signed with; one is made without it.")
    description: str = Field(default="", max_length=1_000)


class WebhookDocument(BaseModel):
    """A webhook; its secret is told once, when it is made."""

    model_config = ConfigDict(extra="forbid")

    id: UUID
    url: str
    events: list[WebhookEvent]
    description: str
    created_at: str


class MadeWebhook(WebhookDocument):
    """A new webhook with its secret."""

    secret: str


class WebhookList(BaseModel):
    """All webhooks, newest first."""

    webhooks: list[WebhookDocument]


class AttemptDocument(BaseModel):
    """One try to deliver: the status of the answer, or why there was none."""

    at: str
    seconds: float
    status_code: int | None
    error: str | None


class DeliveryDocument(BaseModel):
    """An event on its way to a webhook. Its id is the same at every attempt."""

    model_config = ConfigDict(extra="forbid")

    id: UUID
    webhook_id: UUID
    event: WebhookEvent
    run_id: UUID
    status: Literal["pending", "delivered", "failed"]
    attempts: list[AttemptDocument]
    created_at: str
    next_attempt_at: str | None
    ended_at: str | None


class DeliveryList(BaseModel):
    """A part of what a webhook was told, newest first."""

    deliveries: list[DeliveryDocument]
    next: str | None


@router.takes("", "addWebhook", MadeWebhook, status=HTTPStatus.CREATED, scope=_ADMIN)
async def add(service: TheService, once: OnceOnly, body: NewWebhook) -> Response:
    """Have an address told when runs end. The answer holds its secret, which is not told again."""

    async def work(subject: UUID) -> Answer:
        order = WebhookOrder(
            id=subject,
            url=body.url,
            secret=body.secret,
            events=body.events,
            description=body.description,
        )
        made = await register_webhook(service.jobs, service.webhooks, order)
        return Answer(
            {**webhook_document(made), "secret": made.secret},
            HTTPStatus.CREATED,
            {"Location": f"/api/v1/webhooks/{made.id}", "Cache-Control": "no-store"},
        )

    return await once.response(body.model_dump(mode="json"), work)


@router.shows("", "listWebhooks", WebhookList, scope=_ADMIN)
async def list_all(request: Request, service: TheService) -> Response:
    """List the webhooks, newest first."""
    found = await webhooks_of(service.jobs).list()
    return tagged(request, {"webhooks": [webhook_document(each) for each in found]})


@router.shows("/{webhook_id:uuid}", "getWebhook", WebhookDocument, 404, scope=_ADMIN)
async def get_one(request: Request, service: TheService, webhook_id: UUID) -> Response:
    """Return one webhook."""
    found = await webhooks_of(service.jobs).get(webhook_id)
    return tagged(request, webhook_document(found))


@router.deletes("/{webhook_id:uuid}", "deleteWebhook")
async def delete_one(service: TheService, webhook_id: UUID) -> Response:
    """Tell an address nothing more, and forget what it was told."""
    await webhooks_of(service.jobs).delete(webhook_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.shows("/{webhook_id:uuid}/deliveries", "listDeliveries", DeliveryList, 404, scope=_ADMIN)
async def deliveries(
    request: Request,
    service: TheService,
    webhook_id: UUID,
    page: Paged,
    status: Annotated[list[DeliveryStatus] | None, Query(max_length=3)] = None,
) -> Response:
    """List what a webhook was told in the last 30 days, newest first, with every attempt."""
    found = await list_deliveries(
        service.jobs, webhook_id, status or (), limit=page.one_more, after=page.after
    )
    shown, following = page.split(found, lambda each: (each.created_at, each.id))
    told = [delivery_document(each) for each in shown]
    return tagged(request, {"deliveries": told, "next": following})


@router.takes(
    "/{webhook_id:uuid}/deliveries/{delivery_id:uuid}/deliver",
    "deliverAgain",
    DeliveryDocument,
    404,
    status=HTTPStatus.ACCEPTED,
    body=False,
    scope=_ADMIN,
)
async def deliver_again(
    service: TheService, once: OnceOnly, webhook_id: UUID, delivery_id: UUID
) -> Response:
    """Deliver once more, under the same id, what was delivered or given up."""

    async def work(_subject: UUID) -> Answer:
        again = await webhooks_of(service.jobs).deliver_again(webhook_id, delivery_id)
        return Answer(delivery_document(again), HTTPStatus.ACCEPTED)

    return await once.response({}, work)
