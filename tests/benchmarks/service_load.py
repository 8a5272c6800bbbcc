"""Requests a second of the live service, beside a bare route that does one query.

    uv run python -m tests.benchmarks.service_load [--runs 100000] [--seconds 10] [--connections 16]

Both listen on loopback, each a process of its own with as many connections to the same PostgreSQL,
and take turns; wrk asks where it is installed, else an asyncio client. Linux only.
Then the same with a backtest in each slot, and while somebody uploads and compares: not one
request may be lost.
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
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

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
BARE_ROUTE = "bare FastAPI route, one query"
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
    """What came of asking one address for a while; times in milliseconds.

    `cpu` is what the process that answers computed for each request: on a machine that others use
    too, it says more than the rate.
    """

    per_second: float
    p50: float
    p99: float
    failed: int
    cpu: float = 0.0

    @property
    def cells(self) -> list[str]:
        """The figures as text."""
        rates = [f"{self.per_second:.0f}", f"{self.p50:.1f}", f"{self.p99:.1f}", str(self.failed)]
        return [*rates, f"{self.cpu:.2f}"]


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
    """Ask by hand: a client that knows HTTP takes longer to ask than the service to answer."""
    taken: list[float] = []
    failed = 0
    place = urlsplit(address)
    request = (f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n").encode()
    end = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        while (started := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            failed += not head.startswith(b"HTTP/1.1 200")
            taken.append((time.perf_counter() - started) * 1_000)
        writer.close()

    ended = await asyncio.gather(*(one() for _ in range(connections)), return_exceptions=True)
    failed += sum(isinstance(each, Exception) for each in ended)
    taken.sort()
    middle, last = (taken[int(len(taken) * share)] for share in (0.5, 0.99))
    return Load(len(taken) / seconds, middle, last, failed)


def cpu_seconds(pid: int) -> float:
    """Return how long a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def bare_route(url: str) -> Iterator[tuple[str, int]]:
    """Give the address of a FastAPI route that does one query, and its process."""
    port = free_port()
    environment = {**os.environ, "DATABASE_URL": url, "PORT": str(port)}
    running = subprocess.Popen([sys.executable, "-c", BARE], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(address))
        yield address, running.pid
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


def measure(
    addresses: Mapping[str, tuple[str, int]], options: argparse.Namespace
) -> dict[str, Load]:
    """Ask each address in turn, and return the best round of each; what failed is added up."""
    found: dict[str, list[Load]] = {name: [] for name in addresses}
    for _ in range(options.rounds):
        for name, (address, pid) in addresses.items():
            before = cpu_seconds(pid)
            load = ask(address, connections=options.connections, seconds=options.seconds)
            computed = (cpu_seconds(pid) - before) * 1_000
            answered = max(load.per_second * options.seconds, 1)
            found[name].append(replace(load, cpu=computed / answered))
    return {
        name: replace(
            max(loads, key=lambda load: load.per_second),
            failed=sum(load.failed for load in loads),
            cpu=min(load.cpu for load in loads),
        )
        for name, loads in found.items()
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
            bare_route(url) as (bare, bare_pid),
            process(Path(directory), settings, *work[0]) as service,
            process(Path(directory), settings, *work[1]),
            Api(service.address) as api,
        ):
            ours = {
                "GET /health": service.address.removesuffix("/api/v1") + "/health",
                "GET /runs/{run_id}": f"{service.address}/runs/{run_id}",
                "GET /runs?limit=20": f"{service.address}/runs?limit=20",
                "GET /runs?strategy=sma&sort=sharpe_ratio": (
                    f"{service.address}/runs?strategy=sma&sort=sharpe_ratio"
                ),
            }
            addresses = {BARE_ROUTE: (f"{bare}/runs/{run_id}", bare_pid)}
            addresses |= {name: (address, service.pid) for name, address in ours.items()}
            _print("at rest", measure(addresses, options))
            _keep_busy(api)
            _print(f"with a backtest in each of {SLOTS} slots", measure(addresses, options))
            with _others(service.address, run_id) as done:
                _print("with uploads and comparisons besides", measure(addresses, options))
            states = api.client.get("/queue", params={"status": "running"}).json()["states"]
            print(f"{len(states)} backtests were still running at the end; {len(done)} uploads")
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


@contextmanager
def _others(address: str, run_id: str) -> Iterator[list[int]]:
    """Have somebody upload bars and compare runs, over and over; what was answered is told."""
    done: list[int] = []
    stopping = threading.Event()

    def work() -> None:
        with Api(address) as api:
            newest = api.client.get("/runs", params={"limit": 1}).json()["runs"][0]["run_id"]
            while not stopping.is_set():
                content = bars(20_000 + len(done), timeframe_minutes=1)
                uploaded = api.upload(content, symbol="MORE", timeframe="1m")
                compared = api.client.get("/runs/compare", params={"run": [run_id, newest]})
                uploaded.raise_for_status()
                compared.raise_for_status()
                done.append(uploaded.status_code)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield done
        finally:
            stopping.set()
            working.result()


def _print(when: str, loads: Mapping[str, Load]) -> None:
    bare = loads[BARE_ROUTE]
    rows = [
        [
            name,
            *load.cells,
            f"{load.per_second / bare.per_second:.2f}",
            f"{bare.cpu / load.cpu:.2f}",
        ]
        for name, load in loads.items()
    ]
    header = [when, "requests/s", "p50 ms", "p99 ms", "failed", "CPU ms", "x bare", "by CPU"]
    print_table(header, rows)
    print(json.dumps({name: load.per_second for name, load in loads.items()}))


if __name__ == "__main__":
    main()
