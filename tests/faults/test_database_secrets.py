"""The password of the database: nobody reads it in what ntrader says, keeps or shows."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from support.commands import Command, Result
from support.complaints import SECRET
from support.database import Background
from support.tcp_server import TcpServer, start_tcp_server
from support.waiting_run import waiting_run

pytestmark = pytest.mark.slow

TELLTALE = """
import os
from ntrader.engine.strategies import LongFlatStrategy

class Telltale(LongFlatStrategy):
    def on_bar(self, bar):
        raise RuntimeError(f"cannot work with {os.environ['DATABASE_URL']}")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TcpServer]:
    """A server whose password is long and random."""
    started = start_tcp_server(tmp_path_factory.mktemp("server"))
    yield started
    started.stop()


@pytest.fixture
def password(server: TcpServer) -> str:
    given = urlsplit(server.url).password
    assert given is not None
    assert len(given) >= 16
    return given


def written(home: Path) -> bytes:
    """Return all that a home holds in files that are not the database's."""
    files = [
        each for part in ("journal", "artifacts", "datasets") for each in (home / part).rglob("*")
    ]
    return b"".join(each.read_bytes() for each in files if each.is_file())


async def stored(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(
            [
                await connection.fetch(f"SELECT * FROM {table}")
                for table in ("backtest_runs", "events", "strategies", "datasets")
            ]
        )
    finally:
        await connection.close()


@pytest.mark.parametrize("level", ["WARNING", "DEBUG"])
def test_a_failed_run_keeps_and_shows_no_password(
    ntrader_on: Command,
    server: TcpServer,
    password: str,
    home: Path,
    background: Background,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    level: str,
) -> None:
    monkeypatch.setenv("NTRADER_LOG_LEVEL", level)
    file = tmp_path / "telltale.py"
    file.write_text(TELLTALE)

    failed = ntrader_on(server.url, "run", "--strategy", f"{file}:Telltale")
    shown = ntrader_on(server.url, "show", "@", "--json")

    assert failed.exit_code == 1
    assert shown.json["error"]["message"].endswith(
        f"cannot work with {server.url.replace(password, '***')}"
    )
    assert "***" in shown.json["error"]["traceback"]
    said = "".join(each.stdout + each.stderr for each in (failed, shown))
    assert password not in said
    assert password.encode() not in written(home)
    assert password not in background.run(stored(server.url))


def test_a_bug_that_quotes_the_url_is_shown_without_the_password(
    ntrader_on: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(dsn: str, **_: object) -> None:
        raise RuntimeError(f"the driver cannot read {dsn}")

    monkeypatch.setattr(asyncpg, "connect", connect)
    url = f"postgresql://quant:{SECRET}@127.0.0.1/runs"

    told: list[Result] = [ntrader_on(url, "history", *more) for more in ((), ("--json",))]

    for each in told:
        assert each.exit_code == 1
        assert "Traceback" in each.stderr
        assert "postgresql://quant:***@127.0.0.1/runs" in each.stdout + each.stderr
        assert SECRET not in each.stdout + each.stderr


def command_lines() -> bytes:
    """Return the command lines of all processes, which every user of the machine may read."""
    lines = b""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines += (process / "cmdline").read_bytes() + (process / "comm").read_bytes()
        except OSError:
            continue
    return lines


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
def test_the_process_list_shows_no_password(
    home: Path, server: TcpServer, password: str, tmp_path: Path
) -> None:
    with waiting_run(tmp_path, server.url) as run:
        lines = command_lines()
        ended = run.finish()

    assert b"gated.py:Gated" in lines
    assert password.encode() not in lines
    assert ended.exit_code == 0, ended
