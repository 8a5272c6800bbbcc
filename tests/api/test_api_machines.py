"""Several machines on one database: services and workers with homes of their own.

What specs/service.md has them share, datasets and artifacts, is mounted in each home.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from support.homes import temporary_home
from support.receiver import Receiver, deliveries_of, receiver
from support.service import (
    PATIENCE_SECONDS,
    Api,
    ServiceProcess,
    bars,
    eventually,
    process,
    saved_runs,
)
from support.tcp_server import TcpServer, start_tcp_server

pytestmark = pytest.mark.slow

SHARED = ("datasets", "artifacts")
RUNS = 6
BARS = 20_000
FINAL = {"done", "failed", "cancelled"}


class Machine:
    """A home, and what runs on it."""

    def __init__(self, server: TcpServer, home: Path, directory: Path, stack: ExitStack) -> None:
        self.home = home
        self._directory = directory
        self._stack = stack
        self._environment = {
            "DATABASE_URL": server.url,
            "NTRADER_HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "NTRADER_WEBHOOK_PRIVATE": "true",
        }

    def mount(self, shared: Path, *names: str) -> None:
        for name in names:
            (shared / name).mkdir(exist_ok=True)
            (self.home / name).symlink_to(shared / name)

    def serve(self) -> Api:
        started = self._started("serve", "--port", "0")
        return self._stack.enter_context(Api(started.address))

    def work(self) -> ServiceProcess:
        return self._started("worker", "--slots", "1")

    def _started(self, *arguments: str) -> ServiceProcess:
        return self._stack.enter_context(process(self._directory, self._environment, *arguments))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path, stack: ExitStack) -> TcpServer:
    started = start_tcp_server(tmp_path)
    stack.callback(started.stop)
    return started


@pytest.fixture
def shared(stack: ExitStack) -> Path:
    """A file server's directory."""
    return stack.enter_context(temporary_home())


@pytest.fixture
def machines(server: TcpServer, tmp_path: Path, stack: ExitStack) -> tuple[Machine, Machine]:
    first, second = (stack.enter_context(temporary_home()) for _ in range(2))
    return Machine(server, first, tmp_path, stack), Machine(server, second, tmp_path, stack)


@pytest.fixture
def told(stack: ExitStack) -> Receiver:
    return stack.enter_context(receiver())


def test_runs_of_two_machines_are_saved_once_although_a_worker_is_killed(
    machines: tuple[Machine, Machine], shared: Path, server: TcpServer, told: Receiver
) -> None:
    first, second = machines
    for machine in machines:
        machine.mount(shared, *SHARED)
    here, there = first.serve(), second.serve()
    doomed, _ = first.work(), second.work()
    assert here.client.post("/webhooks", json={"url": told.url}).status_code == 201
    dataset = there.upload(bars(BARS, timeframe_minutes=1), timeframe="1m").json()["id"]
    order = here.order(dataset_id=dataset)

    run_ids = [here.submit(**order) for _ in range(RUNS)]
    eventually(lambda: len(running(there)) == 2)
    doomed.kill()
    ends = {run_id: end_watched(there, run_id) for run_id in run_ids}

    assert {state["status"] for state in ends.values()} == {"done"}
    assert saved_runs(server.url) == {run_id: ["success"] for run_id in run_ids}
    reports = [each.client.get(f"/runs/{run_ids[0]}/report") for each in (here, there)]
    assert [report.status_code for report in reports] == [200, 200]
    assert reports[0].json() == reports[1].json()
    assert reports[0].json()["problem"] is None
    deliveries = eventually(
        lambda: found if (found := deliveries_of(told)).keys() == set(run_ids) else {}
    )
    assert {len(ids) for ids in deliveries.values()} == {1}


def test_a_machine_that_does_not_share_the_files_says_what_to_mount(
    machines: tuple[Machine, Machine], shared: Path, server: TcpServer
) -> None:
    front, back = machines
    front.mount(shared, *SHARED)
    api, worker = front.serve(), back.work()
    order = api.order()

    without_data = api.ended(api.submit(**order))
    back.mount(shared, "datasets")
    run_id = api.run(**order)
    report = api.client.get(f"/runs/{run_id}/report").json()
    listed = api.client.get(f"/runs/{run_id}/artifacts").json()["artifacts"]
    file = api.client.get(f"/runs/{run_id}/artifacts/{listed[0]['id']}")

    assert (without_data["status"], without_data["attempts"]) == ("failed", 1)
    assert str(back.home / "datasets") in without_data["error"]
    assert "mount it here" in without_data["error"]
    assert saved_runs(server.url) == {run_id: ["success"]}
    assert (report["equity"], "mount it here" in report["problem"]) == (None, True)
    assert report["run"]["metrics"]["total_trades"] is not None
    assert (file.status_code, file.json()["type"]) == (404, "urn:ntrader:problem:not_found")
    assert "mount it here" in file.json()["hint"]
    assert "Traceback" not in worker.log


def running(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.client.get("/queue", params={"status": "running"}).json()[
        "states"
    ]
    return found


def end_watched(api: Api, run_id: str) -> dict[str, Any]:
    """Follow a run by WebSocket, and return the final state that is told."""
    address = str(api.client.base_url).replace("http", "ws", 1)
    with connect(f"{address}runs/{run_id}/socket", open_timeout=PATIENCE_SECONDS) as socket:
        while True:
            state: dict[str, Any] = json.loads(socket.recv(timeout=PATIENCE_SECONDS))
            if state["status"] in FINAL:
                return state
