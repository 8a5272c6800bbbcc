"""`/strategies`: what can be run, and named configurations of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from ntrader.api.context import TheService
from ntrader.api.documents import Answer, tagged
from ntrader.api.idempotency import OnceOnly
from ntrader.api.models import NewStrategy
from ntrader.api.positions import Paged
from ntrader.api.routing import Router
from ntrader.api.schemas import StrategyDocument, StrategyList
from ntrader.domain.service_documents import stored_strategy_document
from ntrader.services.registered import add_configuration, get_strategy, list_strategies

router = Router("strategies", "/strategies")


@router.shows("", "listStrategies", StrategyList)
async def list_all(
    request: Request,
    service: TheService,
    page: Paged,
    name: Annotated[str | None, Query(min_length=1, max_length=255)] = None,
) -> Response:
    """List the stored strategies, newest first: registered ones and configurations of them."""
    found = await list_strategies(
        service.workspace, name=name, limit=page.one_more, after=page.after
    )
    shown, following = page.split(found, lambda each: (each.created_at, each.id))
    documents = [stored_strategy_document(each) for each in shown]
    return tagged(request, {"strategies": documents, "next": following})


@router.shows("/{strategy_id:uuid}", "getStrategy", StrategyDocument, 404)
async def get_one(request: Request, service: TheService, strategy_id: UUID) -> Response:
    """Return one strategy with the specification of its parameters."""
    record = await get_strategy(service.workspace, strategy_id)
    return tagged(request, stored_strategy_document(record))


@router.takes("", "addStrategy", StrategyDocument, status=HTTPStatus.CREATED)
async def add_one(service: TheService, once: OnceOnly, body: NewStrategy) -> Response:
    """Add a named and versioned configuration of a registered strategy."""

    async def work(subject: UUID) -> Answer:
        record = await add_configuration(
            service.workspace,
            strategy_id=subject,
            name=body.name,
            version=body.version,
            implementation=body.implementation,
            parameters=body.parameters,
            description=body.description,
        )
        return Answer(
            stored_strategy_document(record),
            HTTPStatus.CREATED,
            {"Location": f"/api/v1/strategies/{record.id}"},
        )

    return await once.response(body.model_dump(mode="json"), work)
