"""`/runs/{run_id}/...`: what a run has left: report, events, files."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Query, Request, Response

from ntrader.api.context import TheService
from ntrader.api.documents import entity_tag, has_it, not_modified, tag_headers, tagged
from ntrader.api.problems import ProblemError
from ntrader.api.routing import Router
from ntrader.api.schemas import ArtifactList, EventList, ReportDocument
from ntrader.domain.run_documents import artifact_document, event_document
from ntrader.domain.sampling import FEWEST_POINTS
from ntrader.domain.service_documents import report_document
from ntrader.services.history import read_run, trades_of
from ntrader.services.jobs import saved_run

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace

router = Router("results", "/runs/{run_id:uuid}")

MOST_POINTS = 100_000
MOST_ITEMS = 10_000

type Items = Annotated[int, Query(ge=0, le=MOST_ITEMS)]
type From = Annotated[int, Query(ge=0, lt=2**31, description="The `next` of the part before.")]


@router.shows("/report", "getReport", ReportDocument, 404, 409)
async def report(
    request: Request,
    service: TheService,
    run_id: UUID,
    points: Annotated[
        int | None,
        Query(
            ge=FEWEST_POINTS,
            le=MOST_POINTS,
            description="Show the curve with at most so many points, its extremes among them.",
        ),
    ] = None,
    trades: Items = 1_000,
    trades_after: From = 0,
) -> Response:
    """Return a run with its metrics, its equity curve and its trades."""

    async def reading(workspace: Workspace) -> dict[str, Any]:
        details = await read_run(workspace, str(run_id))
        _, closed = await trades_of(workspace, str(run_id)) if details.equity else (None, ())
        return report_document(
            details, closed, points=points, trades_from=trades_after, trades_limit=trades
        )

    await saved_run(service.jobs, run_id)
    return tagged(request, await service.aside(reading))


@router.shows("/events", "listEvents", EventList, 404, 409)
async def events(
    request: Request,
    service: TheService,
    run_id: UUID,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 1_000,
    after: Annotated[int, Query(ge=0, lt=2**63, description="The `next` of the page before.")] = 0,
) -> Response:
    """Return what happened in a run's life, in order."""
    await saved_run(service.jobs, run_id)
    store = await service.workspace.store()
    shown, following = await store.runs.event_page(run_id, limit=limit, after=after)
    documents = [event_document(event) for event in shown]
    return tagged(request, {"events": documents, "next": following})


@router.shows("/artifacts", "listArtifacts", ArtifactList, 404, 409)
async def artifacts(request: Request, service: TheService, run_id: UUID) -> Response:
    """List the files of a run."""
    await saved_run(service.jobs, run_id)
    store = await service.workspace.store()
    found = await store.runs.artifacts(run_id)
    return tagged(request, {"artifacts": [artifact_document(each) for each in found]})


@router.shows(
    "/artifacts/{artifact_id:uuid}",
    "downloadArtifact",
    None,
    404,
    409,
    response_class=Response,
    responses={
        200: {
            "description": "The file.",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        },
        304: {"description": "The client has it."},
    },
)
async def download(
    request: Request,
    service: TheService,
    run_id: UUID,
    artifact_id: UUID,
) -> Response:
    """Return a file of a run as it was saved; its hash is checked on the way."""
    await saved_run(service.jobs, run_id)
    store = await service.workspace.store()
    found = [each for each in await store.runs.artifacts(run_id) if each.id == artifact_id]
    if not found:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, f"The run has no file {artifact_id}.", code="not_found"
        )
    artifact = found[0]
    etag = entity_tag(artifact.sha256.encode())
    if has_it(request, etag):
        return not_modified(etag)
    content = await asyncio.to_thread(service.workspace.artifacts.read, artifact)
    return Response(
        content,
        media_type="application/octet-stream",
        headers={
            **tag_headers(etag),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(artifact.filename)}",
            "X-Content-Type-Options": "nosniff",
        },
    )
