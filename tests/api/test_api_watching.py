"""Following runs: states, server-sent events, WebSockets, cancelling."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from support.service import PATIENCE_SECONDS, Api, ServiceProcess, bars, eventually, process

MANY_BARS = 80_000
"""A run of some seconds, on a quiet machine."""


@pytest.fixture(scope="module")
def long_dataset(api: Api) -> str:
    """Data that take a while to run through."""
    content = bars(MANY_BARS, timeframe_minutes=1)
    uploaded = api.upload(content, symbol="LONG", timeframe="1m")
    assert uploaded.status_code == 201, uploaded.text
    found: str = uploaded.json()["id"]
    return found


def events(api: Api, run_id: str, **headers: str) -> Iterator[dict[str, Any]]:
    """Give what the stream of server-sent events tells until it ends."""
    with api.client.stream("GET", f"/runs/{run_id}/watch", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def messages(service: ServiceProcess, run_id: str) -> tuple[list[dict[str, Any]], int]:
    """Return what the WebSocket tells, and the code that it is closed with."""
    address = service.address.replace("http", "ws", 1)
    told = []
    with connect(f"{address}/runs/{run_id}/socket", open_timeout=PATIENCE_SECONDS) as socket:
        try:
            while True:
                told.append(json.loads(socket.recv(PATIENCE_SECONDS)))
        except ConnectionClosed as closed:
            return told, 1006 if closed.rcvd is None else closed.rcvd.code


def test_progress_is_told_to_every_watcher_until_the_end(
    api: Api, service: ServiceProcess, long_dataset: str
) -> None:
    run_id = api.submit(dataset_id=long_dataset)
    with ThreadPoolExecutor() as watchers:
        streams = [watchers.submit(lambda: list(events(api, run_id))) for _ in range(3)]
        sockets = [watchers.submit(messages, service, run_id) for _ in range(3)]
        seen = [stream.result() for stream in streams]
        heard = [socket.result() for socket in sockets]

    for told in (*seen, *(told for told, _ in heard)):
        assert told[-1]["status"] == "done"
        versions = [state["version"] for state in told]
        assert versions == sorted(set(versions))
        fractions = [state["progress"]["fraction"] for state in told if state["progress"]]
        assert fractions == sorted(fractions)
        assert any(0 < fraction < 1 for fraction in fractions)
        (*_, last) = (state["progress"] for state in told if state["progress"])
        assert last["bars_total"] == MANY_BARS
        assert last["equity"] > 0
        assert last["bars_per_second"] > 0
    assert {code for _, code in heard} == {1000}


def test_head_of_a_watch_does_not_wait_for_the_end_of_the_run(
    api: Api, service: ServiceProcess, long_dataset: str
) -> None:
    run_id = api.submit(dataset_id=long_dataset)
    one = httpx.Limits(max_connections=1)
    with httpx.Client(base_url=service.address, limits=one, timeout=PATIENCE_SECONDS) as client:
        headed = client.head(f"/runs/{run_id}/watch")
        # On the same connection, which a stream would hold until the run has ended.
        after = client.get(f"/runs/{run_id}/state").json()

    assert headed.headers["content-type"].startswith("text/event-stream")
    assert after["status"] in ("queued", "running")
    assert api.client.head(f"/runs/{uuid4()}/watch").status_code == 404
    api.client.post(f"/runs/{run_id}/cancel")
    api.ended(run_id)


def test_a_late_watcher_gets_the_end_at_once(api: Api, service: ServiceProcess) -> None:
    run_id = api.run()
    (state,) = events(api, run_id)
    assert state == api.state(run_id)
    assert messages(service, run_id) == ([state], 1000)


def test_who_has_seen_the_end_is_told_not_to_come_again(api: Api) -> None:
    run_id = api.run()
    (state,) = events(api, run_id)
    again = api.client.get(
        f"/runs/{run_id}/watch", headers={"Last-Event-ID": str(state["version"])}
    )
    assert again.status_code == 204


def test_a_run_that_is_not_there_cannot_be_watched(api: Api, service: ServiceProcess) -> None:
    assert api.client.get(f"/runs/{uuid4()}/watch").status_code == 404
    assert messages(service, str(uuid4())) == ([], 4404)


def test_another_service_on_the_same_database_tells_the_same(
    api: Api, service_environment: dict[str, str], tmp_path: Any, long_dataset: str
) -> None:
    with (
        process(tmp_path, service_environment, "serve", "--port", "0") as second,
        Api(second.address) as other,
    ):
        run_id = other.submit(
            dataset_id=long_dataset, strategy_id=api.strategy_id(), parameters={"fast_period": 9}
        )
        told = list(events(other, run_id))
    assert told[-1]["status"] == "done"
    assert len(told) > 3


def test_a_running_run_is_cancelled(api: Api, long_dataset: str) -> None:
    run_id = api.submit(dataset_id=long_dataset, parameters={"fast_period": 8})
    eventually(lambda: (api.state(run_id)["progress"] or {}).get("bars_done", 0) > 0)

    cancelled = api.client.post(f"/runs/{run_id}/cancel")

    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelling")
    assert api.ended(run_id)["status"] == "cancelled"
    assert api.client.get(f"/runs/{run_id}").json()["status"] == "cancelled"
    assert api.client.get(f"/runs/{run_id}/report").status_code == 409
    # Again is no fault, and the slot is free for the next.
    assert api.client.post(f"/runs/{run_id}/cancel").json()["status"] == "cancelled"
    api.run()


def test_a_waiting_run_is_cancelled_at_once(api: Api, long_dataset: str) -> None:
    busy = [
        api.submit(dataset_id=long_dataset, parameters={"fast_period": fast}) for fast in (2, 3, 4)
    ]
    waiting = busy[-1]
    assert api.client.post(f"/runs/{waiting}/cancel").json()["status"] == "cancelled"
    for run_id in busy[:-1]:
        api.client.post(f"/runs/{run_id}/cancel")
        assert api.ended(run_id)["status"] == "cancelled"


def test_a_run_that_has_ended_is_not_cancelled(api: Api) -> None:
    run_id = api.run()
    assert api.client.post(f"/runs/{run_id}/cancel").status_code == 409
    assert api.client.post(f"/runs/{uuid4()}/cancel").status_code == 404


def test_a_run_is_not_deleted_before_it_has_ended(api: Api, long_dataset: str) -> None:
    run_id = api.submit(dataset_id=long_dataset, parameters={"fast_period": 7})
    assert api.client.delete(f"/runs/{run_id}").status_code == 409
    api.client.post(f"/runs/{run_id}/cancel")
    api.ended(run_id)
    assert api.client.delete(f"/runs/{run_id}").status_code == 204


def test_the_queue_is_listed_by_status_and_page(api: Api) -> None:
    made = [api.run() for _ in range(3)]
    first = api.client.get("/queue", params={"status": "done", "limit": 2}).json()
    second = api.client.get(
        "/queue", params={"status": "done", "limit": 2, "after": first["next"]}
    ).json()

    assert [state["run_id"] for state in first["states"]] == [made[2], made[1]]
    assert second["states"][0]["run_id"] == made[0]
    assert api.client.get("/queue?status=queued").json()["states"] == []
    assert api.client.get("/queue?after=nonsense").status_code == 422
