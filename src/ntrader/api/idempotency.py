"""`Idempotency-Key`: the same request under the same key is carried out once and answered alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, Header, Request, Response

from ntrader.api.access import Principal, principal_of
from ntrader.api.context import Service, TheService
from ntrader.api.documents import Answer
from ntrader.api.problems import ProblemError, problem_of
from ntrader.domain.identity import canonical_json
from ntrader.errors import NtraderError

type IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text of your own, such as a UUID. The same request under the same key is "
        "carried out once, within 24 hours, and answered alike.",
    ),
]


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is carried out at most once, if it has a key."""

    service: Service
    request: Request
    principal: Principal
    key: str | None

    async def response(
        self, asked: Mapping[str, Any], work: Callable[[UUID], Awaitable[Answer]]
    ) -> Response:
        """Return the response of what `answer` gives."""
        return (await self.answer(asked, work)).response()

    async def answer(
        self, asked: Mapping[str, Any], work: Callable[[UUID], Awaitable[Answer]]
    ) -> Answer:
        """Return what `work` answers, or what it answered before.

        `asked` is what makes two requests the same. `work` gets the id of what it makes, which is
        the same when it is tried again.

        Raises:
            ProblemError: the key was used for another request (422), or for this one, which is
                still being carried out (409).
        """
        if self.key is None:
            return await work(uuid4())
        scope = f"{self.principal.name} {self.request.method} {self.request.url.path}"
        request_hash = hashlib.sha256(canonical_json(dict(asked)).encode()).hexdigest()
        keys = self.service.idempotency
        claim = await keys.claim(scope, self.key, request_hash)
        if claim.request_hash != request_hash:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "The key was used before, for another request.",
                code="idempotency_key_reused",
                errors=[{"parameter": "Idempotency-Key", "detail": "used for another request"}],
            )
        if claim.answer is not None:
            return Answer.from_dict(claim.answer, replayed=True)
        if claim.is_taken:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "The same request is being carried out.",
                code="request_in_progress",
                headers={"Retry-After": "1"},
            )
        try:
            answer = await work(claim.subject)
        except NtraderError as error:
            problem = problem_of(error)
            if problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                # A refusal is an answer too.
                response = problem.response(self.request.url.path)
                document = json.loads(bytes(response.body))
                refused = Answer(document, status=problem.status, is_problem=True)
                await keys.answer(scope, self.key, refused.to_dict())
            else:
                await keys.release(scope, self.key)
            raise
        except BaseException:
            await keys.release(scope, self.key)
            raise
        await keys.answer(scope, self.key, answer.to_dict())
        return answer


async def once(request: Request, service: TheService, key: IdempotencyKey = None) -> Once:
    """Return the request as one that is carried out at most once."""
    return Once(service, request, principal_of(request), key)


type OnceOnly = Annotated[Once, Depends(once)]
