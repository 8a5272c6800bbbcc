"""`/runs`: submitting, listing, reading, cancelling, deleting and comparing runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response

from ntrader.api.context import TheService
from ntrader.api.documents import Answer, tagged
from ntrader.api.filters import RunListQuery
from ntrader.api.idempotency import OnceOnly
from ntrader.api.models import NewRun, RecordedRun
from ntrader.api.problems import ProblemError
from ntrader.api.routing import Router
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

router = Router("runs", "/runs")

FEWEST_COMPARED = 2


def _accepted(submission: Submission) -> Answer:
    address = f"/api/v1/runs/{submission.run_id}"
    return Answer(
        submission_document(submission),
        HTTPStatus.ACCEPTED,
        {"Location": address, "Content-Location": f"{address}/state"},
    )


def _document(run: BacktestRun) -> dict[str, Any]:
    return service_run_document(run, stale=stale_pins([run]).get(run.run_id, ()))


@router.takes("", "submitRun", RunState, status=HTTPStatus.ACCEPTED)
async def submit(request: Request, service: TheService, once: OnceOnly, body: NewRun) -> Response:
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
            request_id=_request_id(request),
        )
        return _accepted(await submit_backtest(service.jobs, order))

    return await once.response(body.model_dump(mode="json"), work)


def _request_id(request: Request) -> str | None:
    return getattr(request.state, "request_id", None)


@router.shows("", "listRuns", RunList)
async def list_ended(request: Request, service: TheService, query: RunListQuery) -> Response:
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


@router.shows("/compare", "compareRuns", ComparisonDocument, 404)
async def compare(
    request: Request,
    service: TheService,
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


@router.takes("/recorded", "recordRun", RunDocument, status=HTTPStatus.CREATED)
async def record(service: TheService, once: OnceOnly, body: RecordedRun) -> Response:
    """Record a paper or live run that was made elsewhere."""

    async def work(subject: UUID) -> Answer:
        metrics = None if body.metrics is None else body.metrics.model_dump()
        values = {name: getattr(body, name) for name in type(body).model_fields}
        recording = Recording(**{**values, "run_id": subject, "metrics": metrics})
        run = await record_run(service.workspace, recording)
        return Answer(
            _document(run),
            HTTPStatus.CREATED,
            {"Location": f"/api/v1/runs/{run.run_id}"},
        )

    return await once.response(body.model_dump(mode="json"), work)


@router.shows("/{run_id:uuid}", "getRun", RunDocument | RunState, 404)
async def get_one(request: Request, service: TheService, run_id: UUID) -> Response:
    """Return a run: what came out once it has ended, else where it stands (a RunState)."""
    store = await service.workspace.store()
    run = await store.runs.find(run_id)
    if run is None:
        return tagged(request, await run_state(service.jobs, run_id))
    return tagged(request, _document(run))


@router.takes(
    "/{run_id:uuid}/reproduce",
    "reproduceRun",
    RunState,
    404,
    status=HTTPStatus.ACCEPTED,
    body=False,
)
async def reproduce(
    request: Request, service: TheService, once: OnceOnly, run_id: UUID
) -> Response:
    """Accept that a run is run again from its own snapshot; compare the two when it is done."""

    async def work(subject: UUID) -> Answer:
        return _accepted(
            await submit_reproduction(
                service.jobs, run_id, run_id=subject, request_id=_request_id(request)
            )
        )

    return await once.response({}, work)


@router.takes(
    "/{run_id:uuid}/cancel", "cancelRun", RunState, 404, status=HTTPStatus.ACCEPTED, body=False
)
async def cancel(service: TheService, once: OnceOnly, run_id: UUID) -> Response:
    """Cancel a run. One that runs is `cancelling` until its worker has stopped it."""

    async def work(_subject: UUID) -> Answer:
        return _accepted(await cancel_run(service.jobs, run_id))

    return await once.response({}, work)


@router.deletes("/{run_id:uuid}", "deleteRun", 409)
async def delete_one(service: TheService, run_id: UUID) -> Response:
    """Delete a run that has ended, with all that belongs to it."""
    await forget_run(service.jobs, run_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
