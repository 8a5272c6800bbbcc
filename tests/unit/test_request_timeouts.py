"""How long a request may take, on the smallest of applications."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from ntrader.api.context import ServiceLimits
from ntrader.api.timeouts import RequestTimeouts

LONG = 3_600.0
PATIENCE = 60.0
LIMITS = ServiceLimits(idle_seconds=LONG, answer_seconds=0.2, upload_seconds=LONG)
HASTY = ServiceLimits(idle_seconds=0.2, answer_seconds=0.2, upload_seconds=0.2)
IMPATIENT = ServiceLimits(idle_seconds=0.2, answer_seconds=LONG, upload_seconds=LONG)
PART: Message = {"type": "http.request", "body": b"x", "more_body": True}
LAST: Message = {"type": "http.request", "body": b"x", "more_body": False}

type App = Callable[[Scope, Receive, Send], Any]


async def answer_of(
    app: App, *parts: Message, path: str = "/runs", limits: ServiceLimits = LIMITS
) -> list[Message]:
    """Return what is sent to a client that sends these parts and then waits."""
    sent: list[Message] = []
    coming = list(parts)

    async def receive() -> Message:
        if not coming:
            await asyncio.Event().wait()
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    timed = RequestTimeouts(app, limits=limits, upload_path="/datasets")
    async with asyncio.timeout(PATIENCE):
        await timed({"type": "http", "method": "POST", "path": path}, receive, send)
    return sent


def problem(sent: list[Message]) -> tuple[int, str]:
    return sent[0]["status"], json.loads(sent[1]["body"])["detail"]


async def reads_it_all(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_a_body_that_stops_coming_in_is_not_waited_for() -> None:
    sent = await answer_of(reads_it_all, PART, PART, limits=IMPATIENT)
    assert problem(sent) == (408, "Nothing more of the body came within 0.2 s.")


async def test_a_body_that_comes_is_answered() -> None:
    assert (await answer_of(reads_it_all, PART, LAST))[0]["status"] == 200


async def test_work_that_takes_too_long_is_ended() -> None:
    ended = asyncio.Event()

    async def hangs(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    sent = await answer_of(hangs, LAST)
    assert problem(sent) == (503, "The answer took longer than 0.2 s.")
    assert ended.is_set()


async def test_an_upload_has_longer() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0.5)
        await reads_it_all(scope, receive, send)

    sent = await answer_of(slow, PART, LAST, path="/datasets")
    assert sent[0]["status"] == 200


async def test_an_answer_that_has_begun_goes_on() -> None:
    async def streams(_scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.5)
        await send({"type": "http.response.body", "body": b"end"})
        gone.cancel()

    sent = await answer_of(streams, limits=HASTY)
    assert [message.get("body") for message in sent] == [None, b"end"]
