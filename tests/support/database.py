"""Databases for tests: a server for the session, one migrated template, a clone for each test.

The server is that of NTRADER_TEST_DATABASE_URL or DATABASE_URL, whose user must be allowed to
create databases, or else one of the packaged binaries that forgets everything.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from ntrader.storage.database import Database
from ntrader.storage.embedded import EmbeddedServer
from ntrader.storage.migrations import ensure_schema
from ntrader.storage.urls import DatabaseUrl
from support.homes import temporary_home

SERVER_VARIABLES = ("NTRADER_TEST_DATABASE_URL", "DATABASE_URL")


class Background:
    """An event loop in a thread, for fixtures that serve synchronous and asynchronous tests."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return self.start(work).result()

    def start[T](self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Let it run beside the test; its `result()` waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class TestServer:
    """A server in which databases come and go."""

    __test__ = False

    def __init__(self, url: str, background: Background) -> None:
        self._url = url
        self._background = background
        self.prefix = (
            f"ntrader_test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{uuid4().hex[:8]}"
        )
        self._made = 0
        self._template: str | None = None

    def url_of(self, name: str) -> str:
        parts = urlsplit(self._url)
        return f"postgresql://{parts.netloc}/{name}?{parts.query}"

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """Give the URL of a database without any table."""
        with self._database("TEMPLATE template0") as url:
            yield url

    @contextmanager
    def migrated_database(self) -> Iterator[str]:
        """Give the URL of a database that has our tables."""
        if self._template is None:
            self._template = self._migrated_template()
        with self._database(f"TEMPLATE {self._template} STRATEGY file_copy") as url:
            yield url

    @contextmanager
    def copied_database(self, url: str) -> Iterator[str]:
        """Give the URL of a copy of another database of this server, which nobody uses."""
        with self._database(f"TEMPLATE {urlsplit(url).path[1:]} STRATEGY file_copy") as copy:
            yield copy

    def drop_template(self) -> None:
        if self._template is not None:
            self._execute(f"DROP DATABASE {self._template} WITH (FORCE)")

    @contextmanager
    def _database(self, how: str) -> Iterator[str]:
        self._made += 1
        name = f"{self.prefix}_{self._made}"
        self._execute(f"CREATE DATABASE {name} {how}")
        try:
            yield self.url_of(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _migrated_template(self) -> str:
        name = f"{self.prefix}_template"
        self._execute(f"CREATE DATABASE {name} TEMPLATE template0")
        self._background.run(_migrate(self.url_of(name)))
        return name

    def _execute(self, statement: str) -> None:
        self._background.run(execute(self._url, statement))


@contextmanager
def test_server(background: Background) -> Iterator[TestServer]:
    """Give the session's server, and stop it if it was started here."""
    with _server_url() as url:
        server = TestServer(url, background)
        yield server
        server.drop_template()


@contextmanager
def _server_url() -> Iterator[str]:
    given = next((os.environ[name] for name in SERVER_VARIABLES if os.environ.get(name)), None)
    if given is not None:
        yield DatabaseUrl.parse(given).dsn
        return
    with temporary_home() as home, EmbeddedServer(home, durable=False) as address:
        yield address.dsn


async def execute(url: str, *statements: str) -> None:
    """Run statements, each on its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _migrate(url: str) -> None:
    async with Database.open(url) as database:
        await ensure_schema(database)
