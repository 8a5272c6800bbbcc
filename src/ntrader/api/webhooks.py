"""`/webhooks`: who is told when a run ends, and what he was told.

All of it needs the scope write: an address may hold a secret of whoever registered it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ntrader.api.access import Writer
from ntrader.api.context import TheService
from ntrader.api.documents import Answer, tagged
from ntrader.api.idempotency import IdempotencyKey, Once
from ntrader.api.models import RequestBody
from ntrader.api.positions import position, read_position
from ntrader.api.problems import problem_responses
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

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


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


@router.post(
    "",
    operation_id="addWebhook",
    status_code=HTTPStatus.CREATED,
    response_model=MadeWebhook,
    responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 503),
)
async def add(
    request: Request,
    service: TheService,
    principal: Writer,
    body: NewWebhook,
    key: IdempotencyKey = None,
) -> Response:
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

    asked = body.model_dump(mode="json")
    return (await Once(service, request, principal, key).answer(asked, work)).response()


@router.get(
    "",
    operation_id="listWebhooks",
    response_model=WebhookList,
    responses=problem_responses(401, 403, 422, 503),
)
async def list_all(request: Request, service: TheService, _principal: Writer) -> Response:
    """List the webhooks, newest first."""
    found = await webhooks_of(service.jobs).list()
    return tagged(request, {"webhooks": [webhook_document(each) for each in found]})


@router.get(
    "/{webhook_id}",
    operation_id="getWebhook",
    response_model=WebhookDocument,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def get_one(
    request: Request, service: TheService, _principal: Writer, webhook_id: UUID
) -> Response:
    """Return one webhook."""
    found = await webhooks_of(service.jobs).get(webhook_id)
    return tagged(request, webhook_document(found))


@router.delete(
    "/{webhook_id}",
    operation_id="deleteWebhook",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def delete_one(service: TheService, _principal: Writer, webhook_id: UUID) -> Response:
    """Tell an address nothing more, and forget what it was told."""
    await webhooks_of(service.jobs).delete(webhook_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="listDeliveries",
    response_model=DeliveryList,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def deliveries(
    request: Request,
    service: TheService,
    _principal: Writer,
    webhook_id: UUID,
    status: Annotated[list[DeliveryStatus] | None, Query(max_length=3)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 20,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """List what a webhook was told in the last 30 days, newest first, with every attempt."""
    most = min(limit, service.limits.page)
    found = await list_deliveries(
        service.jobs,
        webhook_id,
        status or (),
        limit=most + 1,
        after=None if after is None else read_position(after),
    )
    shown = found[:most]
    document: dict[str, Any] = {
        "deliveries": [delivery_document(each) for each in shown],
        "next": position(shown[-1].created_at, shown[-1].id) if len(found) > most else None,
    }
    return tagged(request, document)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/deliver",
    operation_id="deliverAgain",
    status_code=HTTPStatus.ACCEPTED,
    response_model=DeliveryDocument,
    responses=problem_responses(400, 401, 403, 404, 409, 422, 503),
)
async def deliver_again(
    request: Request,
    service: TheService,
    principal: Writer,
    webhook_id: UUID,
    delivery_id: UUID,
    key: IdempotencyKey = None,
) -> Response:
    """Deliver once more, under the same id, what was delivered or given up."""

    async def work(_subject: UUID) -> Answer:
        again = await webhooks_of(service.jobs).deliver_again(webhook_id, delivery_id)
        return Answer(delivery_document(again), HTTPStatus.ACCEPTED)

    return (await Once(service, request, principal, key).answer({}, work)).response()
