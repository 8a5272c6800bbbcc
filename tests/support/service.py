"""The service as its users have it: a process on loopback, and a client."""

import os
import re
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

from support.processes import Process, start

PATIENCE_SECONDS = 120.0
"""For anything that a loaded machine does in a moment."""


class ServiceProcess:
    """`ntrader serve` or `ntrader worker` in a process of its own.

    It is forked, unless it is of an installed `program`.
    """

    def __init__(
        self,
        directory: Path,
        environment: dict[str, str],
        *arguments: str,
        program: str | None = None,
    ) -> None:
        self.directory = directory
        self._log = (directory / f"{arguments[0]}-{time.monotonic_ns()}.log").open("w+b")
        env = {**os.environ, "NTRADER_LOG_LEVEL": "INFO", **environment}
        self._process: Process
        if program is None:
            self._process = start(*arguments, env=env, stderr=self._log)
        else:
            self._process = subprocess.Popen(
                [program, *arguments],
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=env,
                text=True,
            )
        assert self._process.stdout is not None
        self.greeting = self._process.stdout.readline()
        assert self.greeting, self.log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        self._log.flush()
        return (Path(self._log.name)).read_text()

    @property
    def address(self) -> str:
        found = re.search(r"http://\S+", self.greeting)
        assert found, self.greeting
        return found[0]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def end(self) -> int:
        """End it as an operator does, and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        return self._process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


@contextmanager
def process(
    directory: Path, environment: dict[str, str], *arguments: str
) -> Iterator[ServiceProcess]:
    """Give a process that is ready, and see to it that it has ended afterwards."""
    started = ServiceProcess(directory, environment, *arguments)
    try:
        yield started
    finally:
        started.close()


def eventually[T](look: Callable[[], T], *, seconds: float = PATIENCE_SECONDS) -> T:
    """Return what `look` returns once that is true; it fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


class Api:
    """A client of the service, with what tests do over and over."""

    def __init__(self, address: str, *, key: str | None = None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.client = httpx.Client(base_url=address, timeout=PATIENCE_SECONDS, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def strategy_id(self, name: str = "sma") -> str:
        listed = self.client.get("/strategies", params={"name": name}).json()["strategies"]
        found: str = listed[0]["id"]
        return found

    def upload(self, content: bytes, *, symbol: str = "ABC", **options: Any) -> httpx.Response:
        described = {"symbol": symbol, "venue": "XNYS", "kind": "equity", "timeframe": "1d"}
        return self.client.post(
            "/datasets",
            params={**described, **options},
            content=content,
            headers={"Content-Type": "text/csv"},
        )

    def dataset_id(self, content: bytes | None = None) -> str:
        found: str = self.upload(content or bars()).json()["id"]
        return found

    def order(self, **changes: Any) -> dict[str, Any]:
        order = {
            "dataset_id": changes.pop("dataset_id", None) or self.dataset_id(),
            "strategy_id": changes.pop("strategy_id", None) or self.strategy_id(),
            "initial_capital": 10_000,
        }
        return {**order, **changes}

    def submit(self, **changes: Any) -> str:
        """Submit a run, and return its id."""
        accepted = self.client.post("/runs", json=self.order(**changes))
        assert accepted.status_code == 202, accepted.text
        found: str = accepted.json()["run_id"]
        return found

    def state(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/runs/{run_id}/state").json()
        return found

    def ended(self, run_id: str) -> dict[str, Any]:
        """Return the state of a run when it has ended."""
        return eventually(
            lambda: (
                state
                if (state := self.state(run_id))["status"] in ("done", "failed", "cancelled")
                else {}
            )
        )

    def run(self, **changes: Any) -> str:
        """Have a run done, and return its id."""
        run_id = self.submit(**changes)
        state = self.ended(run_id)
        assert state["status"] == "done", state
        return run_id


def bars(count: int = 60, *, timeframe_minutes: int = 24 * 60) -> bytes:
    """Return a CSV of bars that rise and fall."""
    from datetime import UTC, datetime, timedelta

    lines = ["time,open,high,low,close,volume"]
    at, step = datetime(2000, 1, 3, tzinfo=UTC), timedelta(minutes=timeframe_minutes)
    for index in range(count):
        close = 100 + 10 * ((index % 40) / 20 - 1) ** 2
        lines.append(
            f"{(at + index * step).isoformat()},{close:.2f},{close + 1:.2f},{close - 1:.2f},"
            f"{close:.2f},1000000"
        )
    return ("\n".join(lines) + "\n").encode()


def saved_runs(url: str) -> dict[str, list[str]]:
    """Return how each run is saved, once for each row that it has."""
    found = defaultdict(list)
    with psycopg.connect(url) as connection:
        for run_id, status in connection.execute(
            "SELECT run_id::text, execution_status::text FROM backtest_runs"
        ):
            found[run_id].append(status)
    return found
