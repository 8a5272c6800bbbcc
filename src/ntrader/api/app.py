"""The application: routes, limits and errors, around a service that is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

import ntrader
from ntrader.api import datasets, problems, results, runs, strategies, watching
from ntrader.api.access import Gate, LoopbackGate
from ntrader.api.context import Service
from ntrader.api.limits import RequestLimits

PREFIX = "/api/v1"

_DESCRIPTION = """
Version control for backtests, over HTTP.

Upload data, submit backtests, follow them, and read what came out. Errors are problem documents
(RFC 9457). Every POST takes an `Idempotency-Key`; answers carry an `ETag` and honour
`If-None-Match`. A run is followed by polling its `state`, by server-sent events (`watch`), or over
a WebSocket at `/api/v1/runs/{run_id}/socket`, which sends a RunState as JSON now and at every
change.
"""


def create_app(service: Service, *, gate: Gate | None = None) -> FastAPI:
    """Return the application of a service.

    Args:
        service: what the routes work on; whoever opened it closes it.
        gate: decides who asks; without one, whoever reaches the loopback interface.
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
    for module in (datasets, strategies, runs, watching, results):
        app.include_router(module.router, prefix=PREFIX)
    problems.install(app)
    app.add_middleware(
        RequestLimits, limits=service.limits, upload_path=f"{PREFIX}{datasets.router.prefix}"
    )
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
        return document

    return openapi
