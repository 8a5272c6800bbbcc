"""Serving: the application on a port, with or without a worker beside it, until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from ntrader.api.access import LOOPBACK
from ntrader.api.app import create_app
from ntrader.api.context import Service
from ntrader.errors import UsageError
from ntrader.services.jobs import open_jobs
from ntrader.services.jobs_watch import Watchtower
from ntrader.services.jobs_worker import GRACE_SECONDS, Worker
from ntrader.services.registered import ensure_registered
from ntrader.storage.idempotency import IdempotencyRepository

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace

DRAIN_SECONDS = 10
"""For requests that are being answered when the service has to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """Where to serve. `worker_slots` is None where workers are other processes."""

    host: str = "127.0.0.1"
    port: int = 8000
    worker_slots: int | None = None
    grace_seconds: float = GRACE_SECONDS


async def serve(workspace: Workspace, serving: Serving, *, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; runs at work are then finished or given back.

    `ready` is told the address once it answers.

    Raises:
        UsageError: without keys, an address that others can reach; or one that is in use.
        DatabaseUnavailableError: the database cannot be reached.
    """
    if serving.host not in LOOPBACK:
        raise UsageError(
            f"Without keys the service does not listen on {serving.host}.",
            hint="Listen on 127.0.0.1.",
        )
    jobs = await open_jobs(workspace)
    await ensure_registered(workspace)
    watchtower = Watchtower(jobs)
    service = Service(jobs, watchtower, IdempotencyRepository(jobs.submissions.database))
    server = _Server(
        uvicorn.Config(
            create_app(service),
            host=serving.host,
            port=serving.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            lifespan="off",
        )
    )
    worker = None
    if serving.worker_slots is not None:
        worker = Worker(jobs, slots=serving.worker_slots, grace_seconds=serving.grace_seconds)

    def stop() -> None:
        server.should_exit = True
        if worker is not None:
            worker.stop()

    watchtower.start()
    with on_signals(stop):
        try:
            await _together(server, worker, watchtower, ready)
        finally:
            await watchtower.close()


async def work(
    workspace: Workspace,
    *,
    slots: int,
    grace_seconds: float,
    ready: Callable[[str], None],
) -> None:
    """Carry out accepted runs until SIGINT or SIGTERM; those at work are finished or given back.

    Raises:
        DatabaseUnavailableError: the database cannot be reached.
    """
    worker = Worker(await open_jobs(workspace), slots=slots, grace_seconds=grace_seconds)
    with on_signals(worker.stop):
        ready(worker.name)
        await worker.run()


@contextlib.contextmanager
def on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have SIGINT and SIGTERM call `stop` instead of ending the process."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """A server that leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @property
    def address(self) -> str:
        """The address that it listens on; a port of 0 has become a real one."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _together(
    server: _Server,
    worker: Worker | None,
    watchtower: Watchtower,
    ready: Callable[[str], None],
) -> None:
    """Run server and worker; whichever ends first ends the other."""
    serving = asyncio.create_task(_serve(server, watchtower, ready))
    tasks = {serving}
    if worker is not None:
        tasks.add(asyncio.create_task(worker.run()))
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    if worker is not None:
        worker.stop()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _serve(server: _Server, watchtower: Watchtower, ready: Callable[[str], None]) -> None:
    starting = asyncio.create_task(_tell_when_started(server, ready))
    ending = asyncio.create_task(_end_watches(server, watchtower))
    try:
        await server.serve()
    except SystemExit as error:
        # How uvicorn says that it cannot listen; its log has said why.
        raise UsageError(
            f"The service cannot listen on {server.config.host}:{server.config.port}.",
            hint="Is the port in use? Choose another with --port.",
        ) from error
    finally:
        starting.cancel()
        ending.cancel()


async def _tell_when_started(server: _Server, ready: Callable[[str], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    ready(server.address)


async def _end_watches(server: _Server, watchtower: Watchtower) -> None:
    """End the streams when the server stops: it waits for open answers, and these never end."""
    while not server.should_exit:
        await asyncio.sleep(0.1)
    await watchtower.close()
