"""Fixtures for what machines and networks do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.commands import Command, Result, run_here
from support.proxy import Proxy, proxy_for
from support.victims import Tally

_KILLS = pytest.StashKey[Tally]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kills", "processes that are killed; with tests/faults only")
    group.addoption("--rounds", type=int, default=3, help="rounds of kills for each test")
    group.addoption("--seconds", type=float, default=8, help="how long the writers write")
    group.addoption("--service-runs", type=int, default=20, help="runs while the service falls")
    group.addoption("--kill-seed", type=int, default=1, help="what chooses the moments")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    tally = config.stash.get(_KILLS, None)
    if tally is not None:
        terminalreporter.section("kills")
        for line in tally.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> Tally:
    """What is counted of processes that are killed, and told at the end of the session."""
    return pytestconfig.stash.setdefault(_KILLS, Tally())


@pytest.fixture
def ntrader_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run a command in this process, on the database of a URL and a home of the test's own."""

    def run(url: str, *arguments: object) -> Result:
        monkeypatch.setenv("DATABASE_URL", url)
        return run_here(arguments, capsys)

    return run


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A proxy before a database of the test's own, which has our tables."""
    with proxy_for(database_url) as given:
        yield given


@pytest.fixture
def ntrader(ntrader_on: Command, database_url: str) -> Command:
    """Run a command on the database of the test, without anything in between."""
    return lambda *arguments: ntrader_on(database_url, *arguments)
