"""Serving: the application on a port, with or without a worker beside it, until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from ntrader import logs
from ntrader.api.access import LOOPBACK
from ntrader.api.app import create_app
from ntrader.api.context import Service
from ntrader.api.keys import USUAL_ACCESS, AccessOptions, KeyGate
from ntrader.api.protocol import HttpProtocol
from ntrader.api.worker_metrics import WorkerMetrics, answered
from ntrader.errors import UsageError
from ntrader.services.access import open_keys
from ntrader.services.jobs import Jobs, open_jobs
from ntrader.services.jobs_watch import Watchtower
from ntrader.services.jobs_worker import GRACE_SECONDS, Worker
from ntrader.services.registered import ensure_registered
from ntrader.services.watching_over import Figures
from ntrader.services.webhooks import USUAL_POLICY, WebhookPolicy
from ntrader.services.webhooks_courier import Courier
from ntrader.storage.idempotency import IdempotencyRepository

if TYPE_CHECKING:
    from ntrader.services.jobs_attempts import AttemptWatcher
    from ntrader.services.workspace import Workspace

LONGEST_MESSAGE = 4_096
"""Of a WebSocket's client, in bytes: nothing that it says matters."""

DRAIN_SECONDS = 10
"""For requests that are being answered when the service has to stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """Where to serve, and whom. `worker_slots` is None where workers are other processes."""

    host: str = "127.0.0.1"
    port: int = 8000
    worker_slots: int | None = None
    grace_seconds: float = GRACE_SECONDS
    access: AccessOptions = USUAL_ACCESS
    webhooks: WebhookPolicy = USUAL_POLICY


@dataclass(frozen=True, kw_only=True, slots=True)
class Working:
    """How a worker works; `metrics_port` is None where nobody is told how it does."""

    slots: int = 1
    grace_seconds: float = GRACE_SECONDS
    webhooks: WebhookPolicy = USUAL_POLICY
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop to serve on: uvloop's, where it is installed, which computes a third less."""
    return auto_loop_factory()()


async def serve(workspace: Workspace, serving: Serving, *, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; runs at work are then finished or given back.

    `ready` is told the address once it answers.

    Raises:
        UsageError: without keys, an address that others can reach; or one that is in use.
        DatabaseUnavailableError: the database cannot be reached.
    """
    gate = await _gate(workspace, serving)
    jobs = await open_jobs(workspace)
    await ensure_registered(workspace)
    watchtower = Watchtower(jobs, listen_on=workspace.direct_database())
    service = Service(
        jobs,
        watchtower,
        IdempotencyRepository(jobs.submissions.database),
        await Figures.from_now_on(jobs),
        webhooks=serving.webhooks,
    )
    logs.take_over("uvicorn", "procrastinate")
    app = create_app(service, gate=gate, origins=serving.access.origins)
    server = _Server(
        uvicorn.Config(
            app,
            host=serving.host,
            port=serving.port,
            http=HttpProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ws_max_size=LONGEST_MESSAGE,
            lifespan="off",
        )
    )
    crew: Sequence[_Member] = ()
    if serving.worker_slots is not None:
        watcher = WorkerMetrics(app.state.metrics.registry, slots=serving.worker_slots)
        working = Working(
            slots=serving.worker_slots,
            grace_seconds=serving.grace_seconds,
            webhooks=serving.webhooks,
        )
        crew = _crew(jobs, working, watcher)

    def stop() -> None:
        server.should_exit = True
        for member in crew:
            member.stop()

    watchtower.start()
    with on_signals(stop):
        try:
            await _together(server, crew, watchtower, ready)
        finally:
            await watchtower.close()


async def _gate(workspace: Workspace, serving: Serving) -> KeyGate:
    """Return the gate of the service, and tell the user of one that asks for no key.

    Raises:
        UsageError: there are no keys, and others could reach the address.
    """
    keys = await open_keys(workspace)
    on_loopback = serving.host in LOOPBACK
    if not await keys.any():
        if not on_loopback:
            raise UsageError(
                f"Without keys the service does not listen on {serving.host}.",
                hint="Make one with `ntrader keys create NAME`, or listen on 127.0.0.1.",
            )
        workspace.tell(
            "There are no keys: whoever can run programs on this machine may do everything. "
            "`ntrader keys create NAME` changes that."
        )
    return KeyGate(keys, serving.access, on_loopback=on_loopback)


class _Member(Protocol):
    """One who works beside the service, or without it."""

    async def run(self) -> None:
        """Work until `stop`."""

    def stop(self) -> None:
        """Begin nothing more."""


def _crew(
    jobs: Jobs, working: Working, watcher: AttemptWatcher | None = None
) -> tuple[Worker, Courier]:
    worker = Worker(jobs, slots=working.slots, grace_seconds=working.grace_seconds, watcher=watcher)
    return worker, Courier(jobs, working.webhooks, name=worker.name)


async def work(workspace: Workspace, working: Working, *, ready: Callable[[str], None]) -> None:
    """Carry out accepted runs until SIGINT or SIGTERM; those at work are finished or given back.

    Webhooks are told meanwhile. `ready` is told how it works, in a sentence.

    Raises:
        UsageError: the port of the metrics is in use.
        DatabaseUnavailableError: the database cannot be reached.
    """
    with contextlib.ExitStack() as answering:
        watcher, where = None, ""
        if working.metrics_port is not None:
            watcher, address = answering.enter_context(
                answered(working.metrics_host, working.metrics_port, slots=working.slots)
            )
            where = f" Its metrics: {address}"
        worker, courier = crew = _crew(await open_jobs(workspace), working, watcher)
        logs.take_over("procrastinate")

        def stop() -> None:
            for member in crew:
                member.stop()

        with on_signals(stop):
            ready(f"Working as {worker.name}, {working.slots} at a time.{where}")
            await _first_ends_all([worker.run(), courier.run()], stop)


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
    crew: Sequence[_Member],
    watchtower: Watchtower,
    ready: Callable[[str], None],
) -> None:
    """Run server and crew; whichever ends first ends the others."""

    def stop() -> None:
        server.should_exit = True
        for member in crew:
            member.stop()

    running = [_serve(server, watchtower, ready), *(member.run() for member in crew)]
    await _first_ends_all(running, stop)


async def _first_ends_all(
    running: Sequence[Coroutine[Any, Any, None]], stop: Callable[[], None]
) -> None:
    tasks = [asyncio.create_task(each) for each in running]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
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
