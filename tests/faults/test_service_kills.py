"""Service, workers and database that are killed while runs go on: each run ends once.

Whatever is killed is started again, as a supervisor would. `--service-runs 200` is the long form;
`--kill-seed` chooses the moments and the victims.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from support.database import Background
from support.homes import temporary_home
from support.receiver import deliveries_of, receiver
from support.service import PATIENCE_SECONDS, Api, ServiceProcess, bars, eventually, saved_runs
from support.tcp_server import TcpServer, free_port, start_tcp_server

pytestmark = pytest.mark.slow

BARS = 5_000
WORKERS = 2
SECONDS_BETWEEN_KILLS = (2.0, 8.0)
KILLED_TOO_OFTEN = "The run ended its worker 3 times and is not tried again."
FINAL = {"done", "failed", "cancelled"}


class Supervised:
    """A process that is started again whenever it has ended, as long as it takes."""

    def __init__(self, directory: Path, environment: dict[str, str], *arguments: str) -> None:
        self._start: Callable[[], ServiceProcess] = partial(
            ServiceProcess, directory, environment, *arguments
        )
        self._process: ServiceProcess | None = None

    def start(self) -> None:
        def started() -> ServiceProcess | None:
            # It ends at once where the database is away.
            with suppress(AssertionError):
                return self._start()
            return None

        self._process = eventually(started)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.close()
        self.start()

    def close(self) -> None:
        if self._process is not None:
            self._process.close()


class Watcher:
    """Follows runs by WebSocket; where a connection is lost it makes another."""

    def __init__(self, address: str) -> None:
        self._address = address.replace("http", "ws", 1)
        self.connections = 0

    async def end_of(self, run_id: str) -> dict[str, Any]:
        """Return the first final state that is told."""
        while True:
            self.connections += 1
            with suppress(OSError, WebSocketException, TimeoutError):
                async with connect(f"{self._address}/runs/{run_id}/socket") as socket:
                    async for text in socket:
                        state: dict[str, Any] = json.loads(text)
                        if state["status"] in FINAL:
                            return state
            await asyncio.sleep(0.2)

    async def ends_of(self, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        states = await asyncio.gather(*map(self.end_of, run_ids))
        return dict(zip(run_ids, states, strict=True))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TcpServer]:
    # A server that is killed forgets what it has not written yet, unless commits wait for that.
    started = start_tcp_server(tmp_path, synchronous_commit="on")
    yield started
    started.stop()


@pytest.fixture
def environment(server: TcpServer) -> Iterator[dict[str, str]]:
    with temporary_home() as home:
        yield {
            "DATABASE_URL": server.url,
            "NTRADER_HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "NTRADER_WEBHOOK_PRIVATE": "true",
        }


def test_runs_are_saved_once_and_told_whatever_is_killed(
    request: pytest.FixtureRequest,
    server: TcpServer,
    environment: dict[str, str],
    tmp_path: Path,
    background: Background,
) -> None:
    count: int = request.config.getoption("--service-runs", 20)
    seed = request.config.getoption("--kill-seed", 1)
    chance = random.Random(seed)
    port = free_port()
    address = f"http://127.0.0.1:{port}/api/v1"
    began = time.monotonic()
    with ExitStack() as stack:
        service = Supervised(tmp_path, environment, "serve", "--port", str(port))
        workers = [Supervised(tmp_path, environment, "worker") for _ in range(WORKERS)]
        for each in (service, *workers):
            stack.callback(each.close)
            each.start()
        told = stack.enter_context(receiver())
        api = stack.enter_context(Api(address))
        assert api.client.post("/webhooks", json={"url": told.url}).status_code == 201
        dataset = api.upload(bars(BARS, timeframe_minutes=1), timeframe="1m").json()["id"]
        order = api.order(dataset_id=dataset)

        run_ids = [accepted(api, order) for _ in range(count // 2)]
        watcher = Watcher(address)
        watching = [background.start(watcher.ends_of(tuple(run_ids)))]
        victims: dict[str, Callable[[], None]] = {
            "service": service.kill,
            "database": lambda: restart(server),
            **{f"worker {number}": worker.kill for number, worker in enumerate(workers)},
        }
        killed: Counter[str] = Counter()
        late = iter(range(count - len(run_ids)))
        while not all(each.done() for each in watching) or len(run_ids) < count:
            # Some are submitted while everything falls.
            run_ids += (
                more := [accepted(api, order) for _, _ in zip(range(5), late, strict=False)]
            )
            if more:
                watching.append(background.start(watcher.ends_of(more)))
            time.sleep(chance.uniform(*SECONDS_BETWEEN_KILLS))
            victim = chance.choice(sorted(victims))
            victims[victim]()
            killed[victim] += 1
            assert time.monotonic() - began < count * PATIENCE_SECONDS, killed
        ended = {run_id: state for each in watching for run_id, state in each.result().items()}

        ids = eventually(
            lambda: found if (found := deliveries_of(told)).keys() >= set(run_ids) else {},
            seconds=4 * PATIENCE_SECONDS,
        )

    saved = saved_runs(server.url)
    print(  # noqa: T201
        f"--kill-seed {seed}: {count} runs, killed {dict(killed)},"
        f" {watcher.connections} connections of watchers, {len(told.received)} deliveries,"
        f" {Counter(state['attempts'] for state in ended.values())} attempts,"
        f" {time.monotonic() - began:.0f} s"
    )
    assert {run_id: saved.get(run_id) for run_id in run_ids} == {
        run_id: [outcome(state)] for run_id, state in ended.items()
    }
    assert len(saved) == count
    assert {run_id: len(found) for run_id, found in ids.items()} == dict.fromkeys(run_ids, 1)


def accepted(api: Api, order: dict[str, Any]) -> str:
    """Submit a run, again and again under one key until it is accepted; return its id."""
    headers = {"Idempotency-Key": str(uuid4())}

    def submitted() -> str | None:
        with suppress(httpx.TransportError):
            answer = api.client.post("/runs", json=order, headers=headers)
            # 409: the try before has not let go of the key yet.
            assert answer.status_code in (202, 409, 503), answer.text
            if answer.status_code == 202:
                run_id: str = answer.json()["run_id"]
                return run_id
        return None

    run_id = eventually(submitted)
    assert run_id is not None
    return run_id


def restart(server: TcpServer) -> None:
    server.kill()
    server.start()


def outcome(state: dict[str, Any]) -> str:
    """Return how a run in this state must be saved; one that was hit three times has failed."""
    if state["status"] == "failed":
        assert state["error"] == KILLED_TOO_OFTEN
        return "failed"
    assert state["status"] == "done", state
    return "success"
