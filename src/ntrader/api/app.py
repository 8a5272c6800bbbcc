"""The application: routes, limits and errors, around a service that is open."""

from __future__ import annotations

from collections.abc import Sequence
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
from ntrader.api.limits import CountedBodies, RequestLimits
from ntrader.api.metrics import Metrics
from ntrader.api.openapi import document_of
from ntrader.api.timeouts import RequestTimeouts

PREFIX = "/api/v1"

_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "HEAD", "POST", "DELETE"],
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

_TAGS = ("datasets", "strategies", "runs", "watching", "results", "webhooks", "operating")
"""The parts of the API, in the order in which its documentation has them."""

_DESCRIPTION = """
Version control for backtests, over HTTP.

Upload data, submit backtests, follow them, and read what came out. Errors are problem documents
(RFC 9457). Every POST takes an `Idempotency-Key`; answers carry an `ETag` and honour
`If-None-Match`. A run is followed by polling its `state`, by server-sent events (`watch`), or over
a WebSocket at `/api/v1/runs/{run_id}/socket`, which sends a RunState as JSON now and at every
change.

A service with keys wants one in each request, as `Authorization: Bearer KEY`. Its scope is `read`
(every GET), `write` (every POST too) or `admin` (also every DELETE, and webhooks). A WebSocket of a
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
        openapi_tags=[{"name": name} for name in _TAGS],
        separate_input_output_schemas=False,
    )
    app.state.service = service
    app.state.gate = gate or LoopbackGate()
    app.state.metrics = metrics = Metrics()
    uploads = f"{PREFIX}{datasets.router.prefix}"
    app.state.limits = limits = RequestLimits(service.limits, uploads)
    # A request is held against one route after the other: what is asked most often comes first.
    for module in (runs, watching, results, datasets, strategies, webhooks):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(operating.router)
    problems.install(app)
    # What is added later is further out.
    app.add_middleware(CountedBodies, limits=limits)
    app.add_middleware(RequestTimeouts, limits=service.limits, upload_path=uploads)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), **_CORS)
    app.add_middleware(Exchanges, metrics=metrics.http)
    app.openapi = document_of(app)  # type: ignore[method-assign]
    return app


def _version() -> str:
    from importlib.metadata import version

    return version(ntrader.__name__)
