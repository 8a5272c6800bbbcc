"""`/strategies`: what can be run, and named configurations of it."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response

from ntrader.api.access import Reader, Writer
from ntrader.api.context import TheService
from ntrader.api.documents import Answer, tagged
from ntrader.api.idempotency import IdempotencyKey, Once
from ntrader.api.models import NewStrategy
from ntrader.api.problems import problem_responses
from ntrader.api.schemas import StrategyDocument, StrategyList
from ntrader.domain.service_documents import stored_strategy_document
from ntrader.services.registered import add_configuration, get_strategy, list_strategies

router = APIRouter(prefix="/strategies", tags=["strategies"])


@router.get(
    "",
    operation_id="listStrategies",
    response_model=StrategyList,
    responses=problem_responses(401, 403, 422, 503),
)
async def list_all(request: Request, service: TheService, _principal: Reader) -> Response:
    """List the strategies: registered ones and configurations, by name and age."""
    found = await list_strategies(service.workspace)
    document = {"strategies": [stored_strategy_document(each) for each in found]}
    return tagged(request, document)


@router.get(
    "/{strategy_id}",
    operation_id="getStrategy",
    response_model=StrategyDocument,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def get_one(
    request: Request, service: TheService, _principal: Reader, strategy_id: UUID
) -> Response:
    """Return one strategy with the specification of its parameters."""
    record = await get_strategy(service.workspace, strategy_id)
    return tagged(request, stored_strategy_document(record))


@router.post(
    "",
    operation_id="addStrategy",
    status_code=HTTPStatus.CREATED,
    response_model=StrategyDocument,
    responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 503),
)
async def add_one(
    request: Request,
    service: TheService,
    principal: Writer,
    body: NewStrategy,
    key: IdempotencyKey = None,
) -> Response:
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

    asked = body.model_dump(mode="json")
    return (await Once(service, request, principal, key).answer(asked, work)).response()
