"""The OpenAPI document: what FastAPI makes of the routes, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ntrader.api.models import EXAMPLE_ID
from ntrader.api.problems import Problem, problem_responses

if TYPE_CHECKING:
    from fastapi import FastAPI

_JSON = "application/json"


def _header(description: str, example: str | int) -> dict[str, Any]:
    kind = "integer" if isinstance(example, int) else "string"
    return {"description": description, "schema": {"type": kind}, "example": example}


_HEADERS = {
    "X-Request-ID": _header("The id of the request, in the log too.", "desk-42"),
    "RateLimit-Limit": _header("Requests of the key in a minute.", 1_200),
    "RateLimit-Remaining": _header("How many are left.", 1_199),
    "RateLimit-Reset": _header("Seconds until all are left again.", 1),
    "RateLimit-Policy": _header("The limit and its window in seconds.", "1200;w=60"),
    "Retry-After": _header("Seconds after which it is worth another try.", 1),
    "ETag": _header("The tag of the answer, for If-None-Match.", '"4f2d0c7e"'),
    "Location": _header("The address of what was made.", f"/api/v1/runs/{EXAMPLE_ID}"),
    "WWW-Authenticate": _header("What is missing.", 'Bearer realm="ntrader"'),
}
_EVERYWHERE = ("X-Request-ID",)
_OF_A_KEY = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy")
_OWN = {
    "200": ("ETag",),
    "201": ("Location",),
    "202": ("Location",),
    "304": ("ETag",),
    "401": ("WWW-Authenticate",),
    "403": ("WWW-Authenticate",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}


def document_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return what makes the OpenAPI document of `app`."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            _describe_problems(schemas)
            _describe_access(document)
        return document

    return openapi


def _describe_problems(schemas: dict[str, Any]) -> None:
    """Put the one shape of refusals into the place of FastAPI's own."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _describe_access(document: dict[str, Any]) -> None:
    """Describe the key that all routes with a scope want, its limit, and everybody's headers."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["components"]["headers"] = _HEADERS
    for operation in _operations(document):
        responses = operation["responses"]
        is_guarded = str(int(HTTPStatus.UNAUTHORIZED)) in responses
        if is_guarded:
            operation["security"] = [{"key": []}]
            limited = problem_responses(HTTPStatus.TOO_MANY_REQUESTS)
            responses.update({str(int(code)): each for code, each in limited.items()})
        for status, response in responses.items():
            about_key = _OF_A_KEY if is_guarded and status != "401" else ()
            response["headers"] = {
                name: {"$ref": f"#/components/headers/{name}"}
                for name in (*_EVERYWHERE, *about_key, *_own(status, response))
            }


def _own(status: str, response: dict[str, Any]) -> tuple[str, ...]:
    """Return the headers of answers with this status; only documents have a tag."""
    if status == "200" and _JSON not in response.get("content", {}):
        return ()
    return _OWN.get(status, ())


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        yield from operations.values()
