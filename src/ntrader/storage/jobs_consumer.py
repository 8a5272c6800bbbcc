"""Taking jobs out of the queue: procrastinate's worker, on connections of its own (psycopg).

There is no connector of procrastinate's for asyncpg. Everything else about the queue goes through
our own connections, see `ntrader.storage.jobs_queue`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ntrader.storage.jobs_heard import application_name
from ntrader.storage.jobs_schema import quoted
from ntrader.storage.urls import DatabaseUrl

if TYPE_CHECKING:
    from procrastinate import App, JobContext
    from procrastinate.jobs import Job
    from procrastinate.retry import RetryDecision
    from procrastinate.worker import Worker

HEARTBEAT_SECONDS = 2.0
POLL_SECONDS = 2.0
RECONNECT_SECONDS = 1.0
_FIXED_CONNECTIONS = 4

# What libpq takes as a keyword of its own; all else in a URL is a setting of the server.
_LIBPQ = frozenset(
    {"application_name", "connect_timeout", "dbname", "host", "hostaddr", "options", "passfile"}
    | {"password", "port", "requiressl", "service", "target_session_attrs", "user"}
    | {"sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert"}
)
_NOT_FOR_THE_QUEUE = frozenset({"search_path"})


class TryAgainError(Exception):
    """The job is not done: it goes back into the queue, to be taken after `seconds`."""

    def __init__(self, seconds: int = 0) -> None:
        super().__init__(f"to be tried again in {seconds} s")
        self.seconds = seconds


class CancelledByUserError(Exception):
    """The job was stopped because somebody asked for that."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job that is being carried out. `is_shutdown()` tells why it was cancelled."""

    arguments: Mapping[str, Any]
    is_shutdown: Callable[[], bool]


type Handler = Callable[[Delivery], Awaitable[None]]


class Consumer:
    """Carries out jobs, up to `slots` at a time.

    A handler is cancelled where a user cancels its job, or when the consumer has to stop and
    `grace_seconds` are over. It then raises `CancelledByUserError` or `TryAgainError`.

    Args:
        url: the database; LISTEN must work on it, which it does not through some poolers.
        schema: the queue's schema.
        handlers: by task.
        queues: where to take from.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        schema: str,
        handlers: Mapping[str, Handler],
        *,
        queues: Sequence[str],
        slots: int,
        name: str,
        grace_seconds: float,
    ) -> None:
        self._conninfo = conninfo(url, schema, name)
        self._handlers = handlers
        self._queues = list(queues)
        self._slots = slots
        self._name = name
        self._grace_seconds = grace_seconds
        self._worker: Worker | None = None
        self._stopping = False

    def stop(self) -> None:
        """Take no more jobs; the consumer ends when those at hand have, or are given back."""
        self._stopping = True
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]

    async def run_until_stopped(self, tell_lost: Callable[[str], None]) -> None:
        """Take jobs until `stop`; a database that goes away is waited for, and `tell_lost` told."""
        while not self._stopping:
            try:
                await self._run()
            except OSError as error:
                tell_lost(str(error))
            await self._pause()

    async def _run(self) -> None:
        """Take jobs until `stop`, or until the connection to the database is lost: an `OSError`."""
        from procrastinate.exceptions import ConnectorException
        from psycopg import Error
        from psycopg_pool import PoolTimeout

        if self._stopping:
            return
        # Each attempt to reach a server that is away would be told; that it is lost, we tell.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        try:
            app = self._app()
            async with app.open_async():
                self._worker = app._worker(
                    queues=self._queues,
                    concurrency=self._slots,
                    name=self._name,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=POLL_SECONDS,
                    abort_job_polling_interval=POLL_SECONDS,
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    shutdown_graceful_timeout=self._grace_seconds,
                    delete_jobs="always",
                )
                await self._worker.run()  # type: ignore[no-untyped-call]
        except (ConnectorException, Error, PoolTimeout) as error:
            raise OSError(f"the queue's connection was lost: {error}") from error
        finally:
            self._worker = None

    async def _pause(self) -> None:
        """Wait before the next attempt, but not for long once `stop` was called."""
        loop = asyncio.get_running_loop()
        end = loop.time() + RECONNECT_SECONDS
        while loop.time() < end and not self._stopping:
            await asyncio.sleep(0.1)

    def _app(self) -> "App":
        from procrastinate import App, PsycopgConnector

        app = App(
            connector=PsycopgConnector(
                conninfo=self._conninfo,
                min_size=1,
                max_size=self._slots + _FIXED_CONNECTIONS,
                timeout=10.0,
                reconnect_timeout=10.0,
            )
        )
        retry = _retry_strategy()
        for task, handler in self._handlers.items():
            app.task(name=task, pass_context=True, retry=retry)(_adapted(handler))
        return app


def _adapted(handler: Handler) -> Callable[..., Awaitable[None]]:
    from procrastinate.exceptions import JobAborted
    from procrastinate.job_context import AbortReason

    async def carry_out(context: "JobContext", **arguments: Any) -> None:
        delivery = Delivery(arguments, lambda: context.abort_reason() is AbortReason.SHUTDOWN)
        try:
            await handler(delivery)
        except CancelledByUserError as error:
            raise JobAborted from error

    return carry_out


def _retry_strategy() -> Any:
    from procrastinate.retry import BaseRetryStrategy, RetryDecision

    class WhenAsked(BaseRetryStrategy):
        """Puts back what the handler wants to be put back, and nothing else."""

        def get_retry_decision(
            self, *, exception: BaseException, job: "Job"
        ) -> "RetryDecision | None":
            if isinstance(exception, TryAgainError):
                return RetryDecision(retry_in={"seconds": exception.seconds})
            return None

    return WhenAsked()


def conninfo(url: DatabaseUrl, schema: str, name: str) -> str:
    """Return a URL's database as libpq takes it, with the queue's schema as the search path."""
    from psycopg.conninfo import make_conninfo

    parts = urlsplit(url.dsn)
    query = dict(parse_qsl(parts.query))
    known = {name: value for name, value in query.items() if name in _LIBPQ}
    settings = {
        name: value
        for name, value in query.items()
        if name not in _LIBPQ and name not in _NOT_FOR_THE_QUEUE
    }
    given = {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "host": unquote(parts.hostname or ""),
        "port": str(parts.port or ""),
        "dbname": unquote(parts.path.lstrip("/")),
    }
    options = [
        known.pop("options", ""),
        *(f"-c {name}={_escaped(value)}" for name, value in settings.items()),
        f"-c search_path={_escaped(quoted(schema))}",
    ]
    return make_conninfo(
        **{
            "connect_timeout": "10",
            "keepalives_idle": "30",
            **{name: value for name, value in given.items() if value},
            **known,
            # By which others hear of this worker.
            "application_name": application_name(name),
            "options": " ".join(filter(None, options)),
        }
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
