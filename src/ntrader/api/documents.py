"""Answers: documents as JSON, with the tag that tells whether a client has them already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from ntrader.api.problems import MEDIA_TYPE

_JSON = "application/json"


def json_bytes(document: Any) -> bytes:
    """Return a document as compact JSON; what is no number is null."""
    return to_json(document, inf_nan_mode="null")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that can be kept, to be given again."""

    document: Any
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    is_problem: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return {
            "document": self.document,
            "status": int(self.status),
            "headers": dict(self.headers),
            "is_problem": self.is_problem,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, replayed: bool = False) -> Answer:
        """Read what `to_dict` wrote; a replayed answer says that it is one."""
        headers = dict(values["headers"])
        if replayed:
            headers["Idempotency-Replayed"] = "true"
        return cls(values["document"], values["status"], headers, values["is_problem"])

    def response(self) -> Response:
        """Return the HTTP response."""
        return Response(
            json_bytes(self.document),
            status_code=self.status,
            media_type=MEDIA_TYPE if self.is_problem else _JSON,
            headers=dict(self.headers),
        )


def tagged(request: Request, document: Any, *, tag: str | None = None) -> Response:
    """Answer with a document, or with 304 where the client has it.

    The entity tag is made of `tag`, which must change with the document, or else of the document.
    """
    content = None if tag is not None else json_bytes(document)
    etag = entity_tag(content if content is not None else str(tag).encode())
    if has_it(request, etag):
        return not_modified(etag)
    return Response(
        content if content is not None else json_bytes(document),
        media_type=_JSON,
        headers=tag_headers(etag),
    )


def entity_tag(of: bytes) -> str:
    """Return an entity tag as the header has it."""
    return f'"{hashlib.sha256(of).hexdigest()[:32]}"'


def tag_headers(etag: str) -> dict[str, str]:
    """Return the headers of an answer with an entity tag: it may be kept, and is asked about."""
    return {"ETag": etag, "Cache-Control": "private, no-cache"}


def has_it(request: Request, etag: str) -> bool:
    """Whether the client has the answer with this tag."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return "*" in tags or etag in tags


def not_modified(etag: str) -> Response:
    """Return the answer to a client that has it."""
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=tag_headers(etag))
