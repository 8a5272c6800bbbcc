"""Fixtures for all tests."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings

from support.commands import Command
from support.database import SERVER_VARIABLES, Background, TestServer, test_server
from support.homes import temporary_home
from support.processes import run_process

# The same examples every time, few of them; `--hypothesis-profile=long` looks for new ones.
_SHARED: Any = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("quick", max_examples=20, derandomize=True, **_SHARED)
settings.register_profile("long", max_examples=2_000, **_SHARED)
settings.load_profile("quick")

# Who is started by `nohup`, or in the background of a script, ignores these signals, and so do all
# of its children: the tests of signals would wait for ever.
_HEEDED: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


def pytest_configure() -> None:
    for number, handler in _HEEDED.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    """An event loop beside the tests."""
    loop = Background()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def postgres(background: Background) -> Iterator[TestServer]:
    """The PostgreSQL server of the session."""
    with test_server(background) as server:
        yield server


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in os.environ:
        if name.startswith(("NTRADER_", "PG")) or name in SERVER_VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home of ntrader, which NTRADER_HOME names; the server's account can reach it."""
    with temporary_home() as path:
        monkeypatch.setenv("NTRADER_HOME", str(path))
        yield path


@pytest.fixture
def empty_database_url(postgres: TestServer) -> Iterator[str]:
    """A database of the test's own, without tables."""
    with postgres.empty_database() as url:
        yield url


@pytest.fixture
def database_url(postgres: TestServer) -> Iterator[str]:
    """A database of the test's own, with our tables."""
    with postgres.migrated_database() as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Any]:
    """The test's own database, opened."""
    from ntrader.storage.database import Database

    async with Database.open(database_url) as opened:
        yield opened


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Any]:
    """The test's own store."""
    from ntrader.storage.database import Database
    from ntrader.storage.store import Store

    async with Database.open(database_url) as opened:
        yield Store.of(opened)


@pytest.fixture
def save_run(database_url: str, background: Background) -> Iterator[Callable[..., UUID]]:
    """Save a run with any detail replaced, and return its id; see `support.outcomes`.

    `failed=True` makes it a failure. Its dataset and strategy are made where they are missing.
    """
    from ntrader.storage.database import Database
    from support.saving import Saver

    database = Database(database_url)
    saver = Saver(database)
    yield lambda **changes: background.run(saver.save_new(**changes))
    background.run(database.close())


@pytest.fixture
def ntrader_process(home: Path) -> Command:
    """Run a command in a process of its own, on the embedded server of an empty home."""

    return run_process
