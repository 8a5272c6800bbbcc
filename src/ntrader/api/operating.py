"""`/health`, `/ready` and `/metrics`: for whatever watches over the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from fastapi import Request, Response
from pydantic import BaseModel

from ntrader.api.context import TheService
from ntrader.api.documents import json_bytes
from ntrader.api.routing import Router
from ntrader.services.watching_over import readiness

router = Router("operating")

_METRICS = "text/plain; version=1.0.0; charset=utf-8"


class Health(BaseModel):
    """The service answers."""

    status: Literal["live"]


class Readiness(BaseModel):
    """Whether the service can do its work, and what it needs for that."""

    status: Literal["ready", "not ready"]
    checks: dict[str, bool]


@router.get("/health", operation_id="getHealth", response_model=Health)
async def health() -> Response:
    """Say that the process lives; it asks nothing of anybody and needs no key."""
    return _now({"status": "live"}, HTTPStatus.OK)


@router.get(
    "/ready",
    operation_id="getReadiness",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Something is missing."}},
)
async def ready(service: TheService) -> Response:
    """Say whether database, migrations and queue are there; it needs no key."""
    checks = await readiness(service.jobs)
    is_ready = all(checks.values())
    return _now(
        {"status": "ready" if is_ready else "not ready", "checks": checks},
        HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _now(document: object, status: HTTPStatus) -> Response:
    return Response(
        json_bytes(document),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


@router.shows(
    "/metrics",
    "getMetrics",
    response_class=Response,
    responses={200: {"description": "Metrics.", "content": {"text/plain": {}}}},
)
async def metrics(request: Request, service: TheService) -> Response:
    """Return metrics for Prometheus, which can send a key (`authorization` in its settings)."""
    page = await request.app.state.metrics.page(service.figures, service.jobs.submissions.database)
    return Response(page, media_type=_METRICS, headers={"Cache-Control": "no-store"})
