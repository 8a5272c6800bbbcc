"""Routes: each names the scope that it needs and what it may refuse, and asks who it is first.

FastAPI reads and parses a body before it looks at anything else. Here the key comes before that:
who may not ask has nothing parsed for him, and learns of no field by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from ntrader.api.access import admit, authorise, needed_scope
from ntrader.api.limits import limits_of
from ntrader.api.problems import problem_responses
from ntrader.domain.access import AccessScope

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it."}}
_ANY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)
_READING = (*_ANY, HTTPStatus.SERVICE_UNAVAILABLE)
_CHANGING = (*_READING, HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT)
_WITH_BODY = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)


class GuardedRoute(APIRoute):
    """A route that looks at who asks, and at the kind of the body, before the body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()
        scope = needed_scope(self.dependant)

        async def guarded(request: Request) -> Response:
            if scope is not None:
                await admit(request, scope)
            limits_of(request).check(request.scope)
            return await answer(request)

        return guarded


class Router(APIRouter):
    """The routes of one part of the API.

    `refusals` are the statuses that a route may answer with besides those that all of its kind may.
    """

    def __init__(self, tag: str, prefix: str = "") -> None:
        super().__init__(prefix=prefix, tags=[tag], route_class=GuardedRoute)

    def shows(
        self,
        path: str,
        operation_id: str,
        model: Any = None,
        *refusals: int,
        scope: AccessScope = AccessScope.READ,
        responses: dict[int | str, dict[str, Any]] | None = None,
        **options: Any,
    ) -> Decorator:
        """Return the decorator of a GET: of a document with a tag if there is a `model`."""
        known = {} if model is None else _NOT_MODIFIED
        return self.get(
            path,
            operation_id=operation_id,
            summary=_words(operation_id),
            response_model=model,
            dependencies=[authorise(scope)],
            responses={**known, **(responses or {}), **problem_responses(*_READING, *refusals)},
            **options,
        )

    def takes(
        self,
        path: str,
        operation_id: str,
        model: Any,
        *refusals: int,
        status: HTTPStatus,
        body: bool = True,
        scope: AccessScope = AccessScope.WRITE,
        responses: dict[int | str, dict[str, Any]] | None = None,
        **options: Any,
    ) -> Decorator:
        """Return the decorator of a POST, which is answered with `status` and may have a `body`."""
        refused = problem_responses(*_CHANGING, *(_WITH_BODY if body else ()), *refusals)
        return self.post(
            path,
            operation_id=operation_id,
            summary=_words(operation_id),
            response_model=model,
            status_code=status,
            dependencies=[authorise(scope)],
            responses={**(responses or {}), **refused},
            **options,
        )

    def deletes(
        self,
        path: str,
        operation_id: str,
        *refusals: int,
        scope: AccessScope = AccessScope.ADMIN,
    ) -> Decorator:
        """Return the decorator of a DELETE: what is gone cannot be brought back, so for admins."""
        return self.delete(
            path,
            operation_id=operation_id,
            summary=_words(operation_id),
            status_code=HTTPStatus.NO_CONTENT,
            dependencies=[authorise(scope)],
            responses=problem_responses(*_READING, HTTPStatus.NOT_FOUND, *refusals),
        )


def _words(operation_id: str) -> str:
    """Return `listRuns` as a title: `List runs`."""
    return re.sub(
        r"(?<=[a-z])[A-Z]", lambda found: f" {found[0].lower()}", operation_id
    ).capitalize()
