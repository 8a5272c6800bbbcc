"""Requests a second of the live service, beside a bare route that does one query.

    uv run python -m tests.benchmarks.service_load [--runs 100000] [--seconds 10] [--connections 16]

Both listen on loopback, each a process of its own with as many connections to the same PostgreSQL,
and take turns; wrk asks where it is installed, else an asyncio client, which is slower than both.
Then the same with a backtest in each slot: not one request may be lost.
"""
# ruff: noqa: T201

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from ntrader.services.workspace import Workspace
from support.database import Background, test_server
from support.homes import temporary_home
from support.service import Api, bars, eventually, process
from support.tcp_server import free_port

from .filling import fill
from .timing import print_table

SLOTS = 2
BARE = """
import os
import asyncpg, uvicorn
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def pooled(app):
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=20, max_size=30) as pool:
        app.state.pool = pool
        yield

app = FastAPI(lifespan=pooled)

@app.get("/runs/{run_id}")
async def one(run_id: str):
    return dict(await app.state.pool.fetchrow("SELECT * FROM runs WHERE id = $1", run_id))

uvicorn.run(app, port=int(os.environ["PORT"]), log_level="error", access_log=False)
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of asking one address for a while; latency in milliseconds."""

    per_second: float
    p50: float
    p99: float
    failed: int

    @property
    def cells(self) -> list[str]:
        """The figures as text."""
        return [f"{self.per_second:.0f}", f"{self.p50:.1f}", f"{self.p99:.1f}", str(self.failed)]


def ask(address: str, *, connections: int, seconds: int) -> Load:
    """Ask an address over and over."""
    if (program := shutil.which("wrk")) is None:
        return asyncio.run(_ask_slowly(address, connections=connections, seconds=seconds))
    duration = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s"]
    done = subprocess.run(
        [program, *duration, "--latency", address], capture_output=True, text=True, check=True
    )
    text = done.stdout
    lost = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    refused = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    rate = re.search(r"Requests/sec: +([\d.]+)", text)
    if rate is None:
        raise RuntimeError(text)
    return Load(float(rate[1]), _latency(text, "50"), _latency(text, "99"), lost + refused)


def _latency(text: str, percentile: str) -> float:
    found = re.search(rf"{percentile}% +([\d.]+)(us|ms|s)", text)
    if found is None:
        raise RuntimeError(text)
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1_000}[found[2]]


async def _ask_slowly(address: str, *, connections: int, seconds: int) -> Load:
    taken: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal failed
        while (started := time.perf_counter()) < end:
            try:
                answer = await client.get(address)
                failed += not answer.is_success
            except httpx.TransportError:
                failed += 1
            taken.append((time.perf_counter() - started) * 1_000)

    async with httpx.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(one(client) for _ in range(connections)))
    taken.sort()
    middle, last = (taken[int(len(taken) * share)] for share in (0.5, 0.99))
    return Load(len(taken) / seconds, middle, last, failed)


@contextmanager
def bare_route(url: str) -> Iterator[str]:
    """Give the address of a FastAPI route that does one query."""
    port = free_port()
    environment = {**os.environ, "DATABASE_URL": url, "PORT": str(port)}
    running = subprocess.Popen([sys.executable, "-c", BARE], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(address))
        yield address
    finally:
        running.terminate()
        running.wait()


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).status_code == 404
    except httpx.TransportError:
        return False


async def _filled(url: str, home: Path, runs: int) -> str:
    """Fill the store, and return the id of a run in the middle."""
    async with Workspace(home, database_url=url) as workspace:
        await fill(await workspace.store(), runs)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM ANALYZE")
        run_id = await connection.fetchval(
            "SELECT run_id FROM backtest_runs ORDER BY id OFFSET $1 LIMIT 1", runs // 2
        )
        return str(run_id)
    finally:
        await connection.close()


def measure(addresses: Mapping[str, str], options: argparse.Namespace) -> dict[str, Load]:
    """Ask each address in turn, and return the best round of each; what failed is added up."""
    found: dict[str, list[Load]] = {name: [] for name in addresses}
    for _ in range(options.rounds):
        for name, address in addresses.items():
            found[name].append(
                ask(address, connections=options.connections, seconds=options.seconds)
            )
    best = {name: max(loads, key=lambda load: load.per_second) for name, loads in found.items()}
    return {
        name: Load(load.per_second, load.p50, load.p99, sum(each.failed for each in found[name]))
        for name, load in best.items()
    }


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    background = Background()
    with (
        tempfile.TemporaryDirectory() as directory,
        test_server(background) as server,
        server.migrated_database() as url,
        temporary_home() as home,
    ):
        run_id = asyncio.run(_filled(url, home, options.runs))
        settings = {
            "DATABASE_URL": url,
            "NTRADER_HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "NTRADER_LOG_LEVEL": "WARNING",
        }
        work = ("serve", "--port", "0"), ("worker", "--slots", str(SLOTS))
        with (
            bare_route(url) as bare,
            process(Path(directory), settings, *work[0]) as service,
            process(Path(directory), settings, *work[1]),
            Api(service.address) as api,
        ):
            addresses = {
                "bare FastAPI route, one query": f"{bare}/runs/{run_id}",
                "GET /health": service.address.removesuffix("/api/v1") + "/health",
                "GET /runs/{run_id}": f"{service.address}/runs/{run_id}",
                "GET /runs?limit=20": f"{service.address}/runs?limit=20",
                "GET /runs?strategy=sma&sort=sharpe_ratio": (
                    f"{service.address}/runs?strategy=sma&sort=sharpe_ratio"
                ),
            }
            _print("at rest", measure(addresses, options))
            _keep_busy(api)
            _print(f"with a backtest in each of {SLOTS} slots", measure(addresses, options))
            states = api.client.get("/queue", params={"status": "running"}).json()["states"]
            print(f"{len(states)} backtests were still running at the end")
    background.close()


def _keep_busy(api: Api) -> None:
    """Have long backtests in the slots, more of them waiting."""
    content = bars(150_000, timeframe_minutes=1)
    dataset = api.upload(content, symbol="LONG", timeframe="1m").json()["id"]
    for _ in range(30):
        # So little that growing without end stays a number.
        api.submit(dataset_id=dataset, initial_capital="1000", equity_fraction="0.00001")
    running = {"status": "running"}
    eventually(lambda: len(api.client.get("/queue", params=running).json()["states"]) == SLOTS)


def _print(when: str, loads: Mapping[str, Load]) -> None:
    floor = loads["bare FastAPI route, one query"].per_second
    rows = [[name, *load.cells, f"{load.per_second / floor:.2f}"] for name, load in loads.items()]
    print_table([when, "requests/s", "p50 ms", "p99 ms", "failed", "x bare"], rows)
    print(json.dumps({name: load.per_second for name, load in loads.items()}))


if __name__ == "__main__":
    main()
