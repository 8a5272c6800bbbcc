"""What every request finds: the workspace, the queue, the watchtower, and room for long work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from ntrader.services.jobs import Jobs
from ntrader.services.jobs_watch import Watchtower
from ntrader.services.watching_over import Figures
from ntrader.services.webhooks import USUAL_POLICY, WebhookPolicy
from ntrader.services.workspace import Workspace
from ntrader.storage.idempotency import IdempotencyRepository

LONG_WORKS = 2
"""So many requests that compute or read files may do so at the same time; others wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceLimits:
    """The most that a request may ask for, and the longest that it may take.

    `idle_seconds` is for each part of a body to come in, the others from its last part until the
    answer begins.
    """

    body_bytes: int = 1 << 20
    upload_bytes: int = 1 << 30
    page: int = 1_000
    compared_runs: int = 10
    idle_seconds: float = 30.0
    answer_seconds: float = 60.0
    upload_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Service:
    """What lives as long as the service does."""

    jobs: Jobs
    watchtower: Watchtower
    idempotency: IdempotencyRepository
    figures: Figures
    limits: ServiceLimits = ServiceLimits()
    webhooks: WebhookPolicy = USUAL_POLICY
    _long_works: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LONG_WORKS))

    @property
    def workspace(self) -> Workspace:
        """The workspace; what takes long is done by `aside`."""
        return self.jobs.workspace

    async def aside[T](self, work: Callable[[Workspace], Awaitable[T]]) -> T:
        """Do work that reads files or computes, in a thread with a workspace of its own.

        The services are coroutines that do such work where they stand; in this thread it would
        hold up every other request.
        """
        recipe = self.workspace.recipe()

        async def in_own_workspace() -> T:
            async with Workspace.of_recipe(recipe) as workspace:
                return await work(workspace)

        async with self._long_works:
            return await asyncio.to_thread(asyncio.run, in_own_workspace())


async def service_of(connection: HTTPConnection) -> Service:
    """Return the service that got the request."""
    # FastAPI takes a thread for what is no coroutine: longer than most answers take.
    service: Service = connection.app.state.service
    return service


type TheService = Annotated[Service, Depends(service_of)]
