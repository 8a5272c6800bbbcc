"""`/runs`: submitting, listing, reading, cancelling, deleting and comparing runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from ntrader.api.access import Reader, Writer
from ntrader.api.context import Service, TheService
from ntrader.api.documents import Answer, tagged
from ntrader.api.filters import RunListQuery
from ntrader.api.idempotency import IdempotencyKey, Once
from ntrader.api.models import NewRun, RecordedRun
from ntrader.api.problems import ProblemError, problem_responses
from ntrader.api.schemas import ComparisonDocument, RunDocument, RunList, RunState
from ntrader.domain.comparison_documents import compare_document
from ntrader.domain.service_documents import service_run_document
from ntrader.domain.submissions import submission_document
from ntrader.services.history import list_runs
from ntrader.services.jobs import (
    BacktestOrder,
    cancel_run,
    forget_run,
    run_state,
    submit_backtest,
    submit_reproduction,
)
from ntrader.services.recording import Recording, record_run
from ntrader.services.staleness import stale_pins

if TYPE_CHECKING:
    from ntrader.domain.runs import BacktestRun
    from ntrader.domain.submissions import Submission
    from ntrader.services.workspace import Workspace

router = APIRouter(prefix="/runs", tags=["runs"])

FEWEST_COMPARED = 2


def _accepted(submission: Submission) -> Answer:
    address = f"/api/v1/runs/{submission.run_id}"
    return Answer(
        submission_document(submission),
        HTTPStatus.ACCEPTED,
        {"Location": address, "Content-Location": f"{address}/state"},
    )


async def _document(service: Service, run: BacktestRun) -> dict[str, Any]:
    stale = (await stale_pins(service.workspace, [run])).get(run.run_id, ())
    return service_run_document(run, stale=stale)


@router.post(
    "",
    operation_id="submitRun",
    status_code=HTTPStatus.ACCEPTED,
    response_model=RunState,
    responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 503),
)
async def submit(
    request: Request,
    service: TheService,
    principal: Writer,
    body: NewRun,
    key: IdempotencyKey = None,
) -> Response:
    """Accept a backtest. It runs as soon as a worker has a slot; follow its state."""

    async def work(subject: UUID) -> Answer:
        order = BacktestOrder(
            run_id=subject,
            dataset_id=body.dataset_id,
            strategy_id=body.strategy_id,
            parameters=body.parameters,
            options=body.options(),
            tags=body.tags,
            note=body.note,
            request_id=getattr(request.state, "request_id", None),
        )
        return _accepted(await submit_backtest(service.jobs, order))

    asked = body.model_dump(mode="json")
    return (await Once(service, request, principal, key).answer(asked, work)).response()


@router.get(
    "",
    operation_id="listRuns",
    response_model=RunList,
    responses=problem_responses(401, 403, 422, 503),
)
async def list_ended(
    request: Request, service: TheService, _principal: Reader, query: RunListQuery
) -> Response:
    """List the runs that have ended, newest first unless they are sorted."""
    found = await list_runs(
        service.workspace, query.where, query.order, limit=query.limit, after=query.after
    )
    page = found.page
    return tagged(
        request,
        {
            "runs": [
                service_run_document(run, stale=found.stale.get(run.run_id, ()))
                for run in page.items
            ],
            "next": None if page.next is None else page.next.encode(),
        },
    )


@router.get(
    "/compare",
    operation_id="compareRuns",
    response_model=ComparisonDocument,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def compare(
    request: Request,
    service: TheService,
    _principal: Reader,
    run: Annotated[list[UUID], Query(min_length=FEWEST_COMPARED, max_length=10)],
) -> Response:
    """Lay 2 to 10 runs side by side; deltas are to the first."""
    from ntrader.services.comparison import compare_runs

    if len(run) > service.limits.compared_runs:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"At most {service.limits.compared_runs} runs are compared.",
            code="invalid_request",
            errors=[{"parameter": "run", "detail": "too many"}],
        )

    async def comparing(workspace: Workspace) -> dict[str, Any]:
        return compare_document(await compare_runs(workspace, [str(each) for each in run]))

    return tagged(request, await service.aside(comparing))


@router.post(
    "/recorded",
    operation_id="recordRun",
    status_code=HTTPStatus.CREATED,
    response_model=RunDocument,
    responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 503),
)
async def record(
    request: Request,
    service: TheService,
    principal: Writer,
    body: RecordedRun,
    key: IdempotencyKey = None,
) -> Response:
    """Record a paper or live run that was made elsewhere."""

    async def work(subject: UUID) -> Answer:
        metrics = None if body.metrics is None else body.metrics.model_dump()
        values = {name: getattr(body, name) for name in type(body).model_fields}
        recording = Recording(**{**values, "run_id": subject, "metrics": metrics})
        run = await record_run(service.workspace, recording)
        return Answer(
            await _document(service, run),
            HTTPStatus.CREATED,
            {"Location": f"/api/v1/runs/{run.run_id}"},
        )

    asked = body.model_dump(mode="json")
    return (await Once(service, request, principal, key).answer(asked, work)).response()


@router.get(
    "/{run_id}",
    operation_id="getRun",
    response_model=RunDocument | RunState,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def get_one(
    request: Request, service: TheService, _principal: Reader, run_id: UUID
) -> Response:
    """Return a run: what came out once it has ended, else where it stands (a RunState)."""
    store = await service.workspace.store()
    run = await store.runs.find(run_id)
    if run is None:
        return tagged(request, await run_state(service.jobs, run_id))
    return tagged(request, await _document(service, run))


@router.post(
    "/{run_id}/reproduce",
    operation_id="reproduceRun",
    status_code=HTTPStatus.ACCEPTED,
    response_model=RunState,
    responses=problem_responses(400, 401, 403, 404, 409, 422, 503),
)
async def reproduce(
    request: Request,
    service: TheService,
    principal: Writer,
    run_id: UUID,
    key: IdempotencyKey = None,
) -> Response:
    """Accept that a run is run again from its own snapshot; compare the two when it is done."""

    async def work(subject: UUID) -> Answer:
        request_id = getattr(request.state, "request_id", None)
        return _accepted(
            await submit_reproduction(service.jobs, run_id, run_id=subject, request_id=request_id)
        )

    return (await Once(service, request, principal, key).answer({}, work)).response()


@router.post(
    "/{run_id}/cancel",
    operation_id="cancelRun",
    status_code=HTTPStatus.ACCEPTED,
    response_model=RunState,
    responses=problem_responses(400, 401, 403, 404, 409, 422, 503),
)
async def cancel(
    request: Request,
    service: TheService,
    principal: Writer,
    run_id: UUID,
    key: IdempotencyKey = None,
) -> Response:
    """Cancel a run. One that runs is `cancelling` until its worker has stopped it."""

    async def work(_subject: UUID) -> Answer:
        return _accepted(await cancel_run(service.jobs, run_id))

    return (await Once(service, request, principal, key).answer({}, work)).response()


@router.delete(
    "/{run_id}",
    operation_id="deleteRun",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problem_responses(401, 403, 404, 409, 422, 503),
)
async def delete_one(service: TheService, _principal: Writer, run_id: UUID) -> Response:
    """Delete a run that has ended, with all that belongs to it."""
    await forget_run(service.jobs, run_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
