"""Who may do what. Every route names the scope that it needs, by `authorise`.

`read` looks, `write` adds, `admin` takes away and looks after the service.

Without keys the service listens on the loopback interface alone, and whoever can reach that may do
everything. A web page in a user's browser can reach it too: requests that say that they come from
another site, or that name this service by a foreign name (DNS rebinding), are refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from starlette.requests import HTTPConnection

from ntrader.api.problems import ProblemError
from ntrader.domain.access import EVERYTHING, AccessScope

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `name` keeps apart what belongs to different ones, such as idempotency keys."""

    name: str
    scopes: frozenset[AccessScope]


class Gate(Protocol):
    """Decides who asks; `app.state.gate` is the one of the service."""

    async def principal(self, connection: HTTPConnection) -> Principal:
        """Return who asks.

        Raises:
            ProblemError: nobody who may ask anything (401 or 403), or who asks too often (429).
        """


class LoopbackGate:
    """The gate of a service without keys. `origins` are web pages that may ask nevertheless."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = origins

    async def principal(self, connection: HTTPConnection) -> Principal:
        """Return the one user of this machine."""
        host = urlsplit(f"//{connection.headers.get('host', '')}").hostname
        if host not in LOOPBACK:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "Without keys the service answers to loopback addresses only.",
                code="foreign_host",
            )
        origin = connection.headers.get("origin")
        if origin is not None and not self._is_known(origin):
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "Without keys the service takes no requests from web pages of other sites.",
                code="foreign_origin",
            )
        return Principal("local", EVERYTHING)

    def _is_known(self, origin: str) -> bool:
        return origin in self._origins or urlsplit(origin).hostname in LOOPBACK


async def admit(connection: HTTPConnection, scope: AccessScope) -> Principal:
    """Return who asks, if he may; asking again costs nothing.

    Raises:
        ProblemError: he may not (401, 403), or asks too often (429).
    """
    known: Principal | None = getattr(connection.state, "principal", None)
    principal = known or await connection.app.state.gate.principal(connection)
    if scope not in principal.scopes:
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            f"This needs the scope {scope.value}.",
            code="scope_missing",
            headers={
                "WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope.value}"'
            },
        )
    connection.state.principal = principal
    return principal


def authorise(scope: AccessScope) -> Any:
    """Return the dependency of a route that needs `scope`; its value is the principal."""

    async def check(connection: HTTPConnection) -> Principal:
        return await admit(connection, scope)

    check.scope = scope  # type: ignore[attr-defined]
    return Depends(check)


def needed_scope(dependant: Dependant) -> AccessScope | None:
    """Return the scope that a route names, None for one that anybody may ask."""
    scopes = [getattr(each.call, "scope", None) for each in dependant.dependencies]
    return next(filter(None, scopes), None)


def principal_of(connection: HTTPConnection) -> Principal:
    """Return who asks, on a route that names a scope."""
    principal: Principal = connection.state.principal
    return principal


type Reader = Annotated[Principal, authorise(AccessScope.READ)]
