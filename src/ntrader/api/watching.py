"""Where a run stands, and how that changes: once, as server-sent events, over a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Query, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from ntrader.api.access import Reader
from ntrader.api.context import TheService
from ntrader.api.documents import json_bytes, tagged
from ntrader.api.exchanges import HEADERS_ONLY
from ntrader.api.keys import chosen_subprotocol
from ntrader.api.positions import Paged
from ntrader.api.routing import Router
from ntrader.api.schemas import RunState, StateList
from ntrader.domain.submissions import SubmissionStatus, submission_document
from ntrader.errors import NotFoundError
from ntrader.services.jobs import list_submissions, run_state

router = Router("watching")

PING_SECONDS = 15.0
_NOT_FOUND = 4404
_COME_AGAIN = 1012

type States = AsyncIterator[dict[str, Any]]


@router.shows("/runs/{run_id:uuid}/state", "getRunState", RunState, 404)
async def state(request: Request, service: TheService, run_id: UUID) -> Response:
    """Return where a run stands, from its acceptance on."""
    return tagged(request, await run_state(service.jobs, run_id))


@router.shows("/queue", "listRunStates", StateList)
async def queue(
    request: Request,
    service: TheService,
    page: Paged,
    status: Annotated[list[SubmissionStatus] | None, Query(max_length=6)] = None,
) -> Response:
    """List accepted runs, newest first: those that wait, run or have ended."""
    found = await list_submissions(
        service.jobs, status or (), limit=page.one_more, after=page.after
    )
    shown, following = page.split(found, lambda each: (each.submitted_at, each.run_id))
    states = [submission_document(each) for each in shown]
    return tagged(request, {"states": states, "next": following})


@router.shows(
    "/runs/{run_id:uuid}/watch",
    "watchRun",
    None,
    404,
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A `state` event with a RunState now and at every change; the stream "
            "ends with the run.",
            "content": {"text/event-stream": {}},
        },
        204: {"description": "The run has ended, and the client has seen that."},
    },
)
async def watch(
    request: Request,
    service: TheService,
    run_id: UUID,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """Follow a run by server-sent events. Who comes again gets the state at once."""
    now = await run_state(service.jobs, run_id)
    if SubmissionStatus(now["status"]).is_final and last_event_id == str(now["version"]):
        # What an EventSource takes for "do not come again".
        return Response(status_code=HTTPStatus.NO_CONTENT)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if getattr(request.state, HEADERS_ONLY, False):
        return Response(media_type="text/event-stream", headers=headers)
    return StreamingResponse(
        _events(service.watchtower.watch(run_id)), media_type="text/event-stream", headers=headers
    )


async def _events(states: States) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    async for found in _with_pings(states):
        if found is None:
            yield b": still here\n\n"
        else:
            version = str(found["version"]).encode()
            yield b"event: state\nid: " + version + b"\ndata: " + json_bytes(found) + b"\n\n"


async def _with_pings(states: States) -> AsyncIterator[dict[str, Any] | None]:
    """Give the states, and None where there was none for a while: proxies end what is silent."""
    following = asyncio.ensure_future(anext(states, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=PING_SECONDS)
            if not done:
                yield None
                continue
            found = following.result()
            if found is None:
                return
            yield found
            following = asyncio.ensure_future(anext(states, None))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await states.aclose()  # type: ignore[attr-defined]


@router.websocket("/runs/{run_id:uuid}/socket")
async def socket(
    websocket: WebSocket, service: TheService, _principal: Reader, run_id: UUID
) -> None:
    """Follow a run over a WebSocket: a RunState as JSON now and at every change.

    It is closed with 1000 when the run has ended, 1012 when the service stops, 4404 where there is
    no such run.
    """
    await websocket.accept(chosen_subprotocol(websocket.scope.get("subprotocols", ())))
    telling = asyncio.create_task(_tell(websocket, service.watchtower.watch(run_id)))
    hearing = asyncio.create_task(_until_gone(websocket))
    await asyncio.wait({telling, hearing}, return_when=asyncio.FIRST_COMPLETED)
    for task in (telling, hearing):
        task.cancel()
    await asyncio.gather(telling, hearing, return_exceptions=True)


async def _tell(websocket: WebSocket, states: States) -> None:
    last: dict[str, Any] | None = None
    try:
        async for last in states:
            await websocket.send_text(json_bytes(last).decode())
    except NotFoundError as error:
        await websocket.close(_NOT_FOUND, error.message)
        return
    except WebSocketDisconnect:
        return
    finally:
        await states.aclose()  # type: ignore[attr-defined]
    is_over = last is not None and SubmissionStatus(last["status"]).is_final
    await websocket.close(1000 if is_over else _COME_AGAIN)


async def _until_gone(websocket: WebSocket) -> None:
    """Wait until the other side has gone; nothing that it says matters."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
