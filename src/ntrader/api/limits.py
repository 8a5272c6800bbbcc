"""Limits on what comes in: size, kind and characters."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from ntrader.api.problems import ProblemError

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ntrader.api.context import ServiceLimits

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
UPLOADS = frozenset({"text/csv", "application/vnd.apache.parquet", "application/octet-stream"})
DOCUMENTS = frozenset({"application/json"})


class _TooLargeError(HTTPException):
    """The body is larger than it may be; FastAPI lets this kind of error through alone."""

    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large_text(limit))


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request may be: `upload_path` takes files, all other addresses documents."""

    limits: ServiceLimits
    upload_path: str

    def body_bytes(self, scope: Scope) -> int:
        """Return how large the body may be."""
        return self.limits.upload_bytes if self._is_upload(scope) else self.limits.body_bytes

    def check(self, scope: Scope) -> None:
        """Look at all that can be seen without the body.

        Raises:
            ProblemError: the body says that it is too large (413) or of another kind (415), or
                there is a NUL in the address (422).
        """
        if b"%00" in scope.get("query_string", b""):
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "The address holds a NUL character.",
                code="invalid_request",
            )
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get(b"content-length", "0")
        limit = self.body_bytes(scope)
        if length.isdecimal() and int(length) > limit:
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large_text(limit))
        has_body = length != "0" or b"transfer-encoding" in headers
        if has_body and scope["method"] in _WITH_BODY:
            self._check_kind(scope, headers.get(b"content-type", ""))

    def _check_kind(self, scope: Scope, content_type: str) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        allowed = UPLOADS if self._is_upload(scope) else DOCUMENTS
        if kind not in allowed:
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"A body of type {kind or 'unknown'} is not taken here.",
                hint=f"Send {', '.join(sorted(allowed))}.",
            )

    def _is_upload(self, scope: Scope) -> bool:
        return bool(scope["method"] == "POST" and scope["path"] == self.upload_path)


def limits_of(connection: HTTPConnection) -> RequestLimits:
    """Return the limits of the service that got the request."""
    limits: RequestLimits = connection.app.state.limits
    return limits


class CountedBodies:
    """Counts a body as it comes in (413 beyond the limit): its sender may say anything of it."""

    def __init__(self, app: ASGIApp, *, limits: RequestLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.body_bytes(scope)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _TooLargeError(limit)
            return message

        await self._app(scope, counted, send)


def _too_large_text(limit: int) -> str:
    return f"The body is larger than {limit:,} bytes."
