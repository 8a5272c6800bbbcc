"""Errors as problem documents (RFC 9457): one shape for every refusal, whoever refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ntrader import logs
from ntrader.errors import (
    ConflictError,
    DamagedError,
    DatabaseUnavailableError,
    JournalError,
    NotFoundError,
    NtraderError,
    SchemaError,
    UsageError,
)
from ntrader.services.refusals import RefusedFieldsError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"

_STATUS: tuple[tuple[type[NtraderError], HTTPStatus], ...] = (
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (DamagedError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (DatabaseUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (SchemaError, HTTPStatus.SERVICE_UNAVAILABLE),
    (JournalError, HTTPStatus.SERVICE_UNAVAILABLE),
)
_RETRY_SECONDS = "1"


class FieldProblem(BaseModel):
    """One thing that is wrong with a request.

    `pointer` is a JSON pointer into the body (`#/initial_capital`), `parameter` the name of a
    parameter of the path, the query or the header.
    """

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(examples=["urn:ntrader:problem:not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no run 8a1f…"])
    instance: str | None = Field(default=None, examples=["/api/v1/runs/8a1f…"])
    hint: str | None = None
    errors: list[FieldProblem] = []


class ProblemError(Exception):
    """A refusal that only the service knows."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.hint = hint
        self.errors = errors
        self.headers = headers

    def response(self, instance: str | None) -> JSONResponse:
        """Return the answer; `instance` is the address, where there was one."""
        kind = f"urn:ntrader:problem:{self.code}" if self.code else "about:blank"
        document: dict[str, Any] = {
            "type": kind,
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "instance": instance,
            "hint": self.hint,
            "errors": list(self.errors),
        }
        return JSONResponse(
            document,
            status_code=self.status,
            media_type=MEDIA_TYPE,
            headers=None if self.headers is None else dict(self.headers),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application does."""
        await self.response(scope["path"])(scope, receive, send)


def problem_of(error: NtraderError) -> ProblemError:
    """Return the refusal that an error of ours stands for."""
    status = next(
        (status for kind, status in _STATUS if isinstance(error, kind)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    unavailable = status is HTTPStatus.SERVICE_UNAVAILABLE
    errors: list[Mapping[str, str]] = []
    if isinstance(error, RefusedFieldsError):
        errors = [{"pointer": f"#/{name}", "detail": text} for name, text in error.fields]
    return ProblemError(
        status,
        error.message,
        code=error.code,
        hint=error.hint,
        errors=errors,
        headers={"Retry-After": _RETRY_SECONDS} if unavailable else None,
    )


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route declares of its refusals, for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Have every error of `app` answered with a problem document."""
    handlers: dict[type[Exception], Any] = {
        ProblemError: _refused,
        NtraderError: _ours,
        RequestValidationError: _malformed,
        HTTPException: _plain,
        Exception: _bug,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _refused(request: Request, error: ProblemError) -> JSONResponse:
    return error.response(request.url.path)


async def _ours(request: Request, error: NtraderError) -> JSONResponse:
    problem = problem_of(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logs.logger().warning("request_failed", path=request.url.path, reason=error.message)
    return problem.response(request.url.path)


async def _malformed(request: Request, error: RequestValidationError) -> JSONResponse:
    return _invalid(error).response(request.url.path)


async def _plain(request: Request, error: HTTPException) -> JSONResponse:
    status = HTTPStatus(error.status_code)
    detail = error.detail
    if detail == status.phrase:
        detail = _PLAIN.get(status, status.phrase)
    headers = error.headers
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_methods_at(request.app, request.scope))}
    hint = _HINTS.get(status)
    return ProblemError(status, detail, hint=hint, headers=headers).response(request.url.path)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    # It is answered outside of everything else that adds to answers.
    request_id = getattr(request.state, "request_id", "")
    rate = getattr(request.state, "rate", None)
    logs.logger().error("bug", path=request.url.path, request_id=request_id, exc_info=error)
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong in the service; its log says what.",
        headers={"X-Request-ID": request_id, **({} if rate is None else rate.headers)},
    ).response(request.url.path)


def _methods_at(app: FastAPI, scope: Scope) -> list[str]:
    """Return what an address takes, on all of its routes: Starlette tells of the first alone."""
    taken = [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]
    return sorted([*taken, "HEAD"]) if "GET" in taken else taken


_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


_PLAIN = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take that method.",
}
_HINTS = {
    HTTPStatus.NOT_FOUND: "An id is a UUID; /api/v1/docs describes every address.",
}


def _invalid(error: RequestValidationError) -> ProblemError:
    errors = [_field(each["loc"], each["type"], each["msg"]) for each in error.errors()]
    named = [each.get("pointer") or each.get("parameter") or "" for each in errors]
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"The request is not valid: {', '.join(filter(None, named)) or errors[0]['detail']}.",
        code="invalid_request",
        errors=errors,
    )


def _field(location: Sequence[int | str], kind: str, message: str) -> dict[str, str]:
    where, *path = location
    if kind == "json_invalid":
        return {"pointer": "#", "detail": "This is not JSON."}
    detail = message.removeprefix("Value error, ")
    if where == "body":
        escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
        return {"pointer": "#" + "".join(f"/{part}" for part in escaped), "detail": detail}
    return {"parameter": str(path[0]) if path else str(where), "detail": detail}
