"""Around every request: its id, its line in the log, its place in the metrics, its headers."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders

from ntrader import logs, tracing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ntrader.api.metrics import HttpMetrics

REQUEST_ID = "X-Request-ID"
HEADERS_ONLY = "headers_only"
"""What the state of a request says that came as HEAD."""

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_UNMATCHED = "unmatched"


class Exchanges:
    """Gives each request an id, which is the client's if that is a plain word, and follows it.

    The id is bound to the log, returned, and goes with a job into its worker.
    """

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note what became of it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        method = scope.get("method", "WEBSOCKET")
        scope.setdefault("state", {})["request_id"] = request_id
        if method == "HEAD":
            # Answered as a GET is; the server, whose own scope still says HEAD, sends no body.
            scope["state"][HEADERS_ONLY] = True
            scope = {**scope, "method": "GET"}
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            tracing.span(
                f"{method} {scope['path']}",
                within=headers,
                request_id=request_id,
            ) as span,
        ):
            exchange = _Exchange(scope, method, send)
            try:
                await self._app(scope, receive, exchange.send)
            except Exception:
                # It is answered further out, with 500.
                exchange.status = exchange.status or 500
                raise
            finally:
                span.set("http.route", exchange.route)
                span.set("http.response.status_code", exchange.status)
                self._note(exchange)

    def _note(self, exchange: _Exchange) -> None:
        seconds = exchange.seconds
        if exchange.scope["type"] == "http":
            self._metrics.note(exchange.method, exchange.route, exchange.status, seconds)
        logs.logger().info(
            "request",
            method=exchange.method,
            path=exchange.scope["path"],
            route=exchange.route,
            status=exchange.status,
            seconds=round(seconds, 4),
            key=exchange.scope["state"].get("key"),
        )


class _Exchange:
    """One request with its answer. `seconds` is until the answer began: a stream has no end."""

    def __init__(self, scope: Scope, method: str, send: Send) -> None:
        self.scope = scope
        self.method = method
        self.status = 0
        self._send = send
        self._began = time.monotonic()
        self._answered: float | None = None

    @property
    def route(self) -> str:
        """The template of the route: paths themselves would be endless many names.

        A route of FastAPI's does not know below which prefix it was included.
        """
        template = getattr(self.scope.get("route"), "path_format", None)
        if template is None:
            return _UNMATCHED
        parts = self.scope["path"].split("/")
        prefix = parts[: len(parts) + 1 - len(template.split("/"))]
        return "/".join(prefix) + str(template)

    @property
    def seconds(self) -> float:
        return (self._answered or time.monotonic()) - self._began

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with our headers in its first."""
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
            self.status = message.get("status", 101)
            self._answered = time.monotonic()
            self._add_headers(message)
        await self._send(message)

    def _add_headers(self, message: Message) -> None:
        message.setdefault("headers", [])
        headers = MutableHeaders(scope=message)
        state: dict[str, Any] = self.scope["state"]
        headers[REQUEST_ID] = state["request_id"]
        if (rate := state.get("rate")) is not None:
            headers.update(rate.headers)


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if _ACCEPTED_ID.fullmatch(given) else str(uuid4())
