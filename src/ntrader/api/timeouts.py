"""How long a request may take: to come in, and to be answered."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from ntrader.api.problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ntrader.api.context import ServiceLimits


class RequestTimeouts:
    """Ends requests whose body does not come in (408) or whose answer takes too long (503).

    The time for the answer begins when the last part of the body has come. Once the answer has
    begun it may go on for as long as it likes: watches do.
    """

    def __init__(self, app: ASGIApp, *, limits: ServiceLimits, upload_path: str) -> None:
        self._app = app
        self._limits = limits
        self._upload_path = upload_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it when its time is up."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Timed(scope, receive, send, self._seconds(scope), self._limits.idle_seconds).pass_to(
            self._app
        )

    def _seconds(self, scope: Scope) -> float:
        uploads = scope["method"] == "POST" and scope["path"] == self._upload_path
        return self._limits.upload_seconds if uploads else self._limits.answer_seconds


class _Timed:
    def __init__(
        self, scope: Scope, receive: Receive, send: Send, seconds: float, idle_seconds: float
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._hearing = False
        self._complete = False
        self._answering = False
        self._clock = asyncio.get_running_loop().time
        self._timeout = asyncio.timeout(seconds)

    async def pass_to(self, app: ASGIApp) -> None:
        try:
            async with self._timeout:
                await app(self._scope, self._hear, self._say)
        except TimeoutError:
            if not self._timeout.expired() or self._answering:
                raise
            await self._problem()(self._scope, self._receive, self._send)

    async def _hear(self) -> Message:
        if self._complete or self._answering:
            # What comes now is that the client has gone, whenever that is.
            return await self._receive()
        self._hearing = True
        self._allow(self._idle_seconds)
        message = await self._receive()
        self._hearing = False
        self._complete = not message.get("more_body", False)
        if not self._answering:
            self._allow(self._seconds)
        return message

    async def _say(self, message: Message) -> None:
        self._answering = True
        self._allow(None)
        await self._send(message)

    def _allow(self, seconds: float | None) -> None:
        if not self._timeout.expired():
            self._timeout.reschedule(None if seconds is None else self._clock() + seconds)

    def _problem(self) -> ProblemError:
        if self._hearing:
            return ProblemError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"Nothing more of the body came within {self._idle_seconds:g} s.",
                headers={"Connection": "close"},
            )
        return ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"The answer took longer than {self._seconds:g} s.",
            code="timed_out",
            headers={"Retry-After": "5"},
        )
