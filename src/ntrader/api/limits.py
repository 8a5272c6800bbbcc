"""Limits on what comes in, before anything looks at it: size, kind and characters."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from ntrader.api.problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ntrader.api.context import ServiceLimits

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
UPLOADS = frozenset({"text/csv", "application/vnd.apache.parquet", "application/octet-stream"})


class _TooLargeError(HTTPException):
    """The body is larger than it may be; FastAPI lets this kind of error through alone."""

    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large_text(limit))


class RequestLimits:
    """Refuses bodies that are too large (413) or of another kind (415), and NUL anywhere (422).

    A body is counted as it comes in: its sender may say anything of its length.
    """

    def __init__(self, app: ASGIApp, *, limits: ServiceLimits, upload_path: str) -> None:
        self._app = app
        self._limits = limits
        self._upload_path = upload_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._refusal(scope)
        if problem is not None:
            await problem(scope, receive, send)
            return
        limit = self._limit(scope)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _TooLargeError(limit)
            return message

        await self._app(scope, counted, send)

    def _is_upload(self, scope: Scope) -> bool:
        return bool(scope["method"] == "POST" and scope["path"] == self._upload_path)

    def _limit(self, scope: Scope) -> int:
        return self._limits.upload_bytes if self._is_upload(scope) else self._limits.body_bytes

    def _refusal(self, scope: Scope) -> ProblemError | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if b"%00" in scope.get("query_string", b"") or "\0" in scope["path"]:
            return ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "The address holds a NUL character.",
                code="invalid_request",
            )
        length = headers.get(b"content-length", "0")
        if length.isdecimal() and int(length) > self._limit(scope):
            return _too_large(self._limit(scope))
        if scope["method"] not in _WITH_BODY:
            return None
        has_body = length != "0" or b"transfer-encoding" in headers
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        allowed = UPLOADS if self._is_upload(scope) else frozenset({"application/json"})
        if not has_body or kind in allowed:
            return None
        return ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"A body of type {kind or 'unknown'} is not taken here.",
            hint=f"Send {', '.join(sorted(allowed))}.",
        )


def _too_large(limit: int) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large_text(limit))


def _too_large_text(limit: int) -> str:
    return f"The body is larger than {limit:,} bytes."
