"""The application: routes, limits and errors, around a service that is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import ntrader
from ntrader.api import (
    datasets,
    operating,
    problems,
    results,
    runs,
    strategies,
    watching,
    webhooks,
)
from ntrader.api.access import Gate, LoopbackGate
from ntrader.api.context import Service
from ntrader.api.exchanges import REQUEST_ID, Exchanges
from ntrader.api.limits import RequestLimits
from ntrader.api.metrics import Metrics
from ntrader.api.timeouts import RequestTimeouts

PREFIX = "/api/v1"

_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": [
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-None-Match",
        "Last-Event-ID",
        REQUEST_ID,
    ],
    "expose_headers": [
        "Content-Location",
        "ETag",
        "Idempotency-Replayed",
        "Location",
        "RateLimit-Limit",
        "RateLimit-Policy",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "Retry-After",
        REQUEST_ID,
    ],
    "max_age": 3_600,
}

_DESCRIPTION = """
Version control for backtests, over HTTP.

Upload data, submit backtests, follow them, and read what came out. Errors are problem documents
(RFC 9457). Every POST takes an `Idempotency-Key`; answers carry an `ETag` and honour
`If-None-Match`. A run is followed by polling its `state`, by server-sent events (`watch`), or over
a WebSocket at `/api/v1/runs/{run_id}/socket`, which sends a RunState as JSON now and at every
change.

A service with keys wants one in each request, as `Authorization: Bearer KEY`. A WebSocket of a
browser offers the subprotocols `ntrader` and `ntrader.key.KEY` instead. `/api/v1/webhooks` tells an
address of your own when runs end.
"""


def create_app(
    service: Service, *, gate: Gate | None = None, origins: Sequence[str] = ()
) -> FastAPI:
    """Return the application of a service.

    Args:
        service: what the routes work on; whoever opened it closes it.
        gate: decides who asks; without one, whoever reaches the loopback interface.
        origins: web pages that may ask (CORS).
    """
    app = FastAPI(
        title="ntrader",
        version=_version(),
        description=_DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.service = service
    app.state.gate = gate or LoopbackGate()
    app.state.metrics = metrics = Metrics()
    for module in (datasets, strategies, runs, watching, results, webhooks):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(operating.router)
    problems.install(app)
    # What is added later is further out.
    uploads = f"{PREFIX}{datasets.router.prefix}"
    app.add_middleware(RequestLimits, limits=service.limits, upload_path=uploads)
    app.add_middleware(RequestTimeouts, limits=service.limits, upload_path=uploads)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), **_CORS)
    app.add_middleware(Exchanges, metrics=metrics.http)
    app.openapi = _with_problems(app)  # type: ignore[method-assign]
    return app


def _version() -> str:
    from importlib.metadata import version

    return version(ntrader.__name__)


def _with_problems(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return what makes the OpenAPI document, with the problem document among its schemas."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schema = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas["Problem"] = schema
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            _describe_access(document)
        return document

    return openapi


def _describe_access(document: dict[str, Any]) -> None:
    """Describe the key that all routes with a scope want, and the answer to too many requests."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for operations in document["paths"].values():
        for operation in operations.values():
            if "401" in operation["responses"]:
                operation["security"] = [{"key": []}]
                operation["responses"].update(
                    {str(code): each for code, each in problems.problem_responses(429).items()}
                )
