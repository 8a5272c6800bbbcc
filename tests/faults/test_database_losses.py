"""A database that goes away while ntrader works: what is begun is finished, or waits."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from ntrader.storage.embedded import EmbeddedServer
from support.commands import Command, Result
from support.complaints import complaint_of, waiting
from support.proxy import Link, Proxy
from support.saving import SaveRun
from support.tcp_server import TcpServer, start_tcp_server
from support.waiting_run import waiting_run

pytestmark = pytest.mark.slow

RUN = ("run", "--strategy", "sma", "--json")
SAVING = b"INSERT INTO backtest_runs"
TERMINATE = b"X\0\0\0\4"


def saved_runs(command: Command, *arguments: object) -> list[str]:
    return [run["run_id"] for run in command(*arguments, "history", "--json").json["runs"]]


def is_shown_and_waits(ended: Result) -> bool:
    """Return whether the result was shown and the user told that it is not saved."""
    return (
        ended.exit_code == 4
        and ended.json["status"] == "success"
        and ended.json["saved"] is False
        and ended.json["save_error"]["hint"] is not None
        and "Traceback" not in ended.stderr
    )


def test_a_connection_that_breaks_within_a_save(
    ntrader_on: Command, ntrader: Command, proxy: Proxy, home: Path
) -> None:
    proxy.on(SAVING, Link.cut)

    ended = ntrader_on(proxy.url, *RUN)

    assert (ended.exit_code, ended.json["saved"]) == (0, True)
    assert saved_runs(ntrader) == [ended.json["run_id"]]
    assert waiting(home) == []


def test_a_save_whose_confirmation_is_lost_is_saved_once(
    ntrader_on: Command, ntrader: Command, proxy: Proxy, home: Path
) -> None:
    proxy.on(SAVING, lambda _: proxy.on(b"COMMIT", Link.cut_at_reply))

    ended = ntrader_on(proxy.url, *RUN)

    assert (ended.exit_code, ended.json["saved"]) == (0, True)
    assert saved_runs(ntrader) == [ended.json["run_id"]]
    assert waiting(home) == []


def test_a_deletion_whose_confirmation_is_lost_is_complete(
    ntrader_on: Command, ntrader: Command, proxy: Proxy, home: Path
) -> None:
    run_id = ntrader(*RUN).json["run_id"]
    proxy.on(b"DELETE FROM backtest_runs", lambda _: proxy.on(b"COMMIT", Link.cut_at_reply))

    deleted = ntrader_on(proxy.url, "delete", run_id, "--yes")

    assert deleted.exit_code == 0, deleted.stderr
    assert saved_runs(ntrader) == []
    assert [each for each in (home / "artifacts").rglob("*") if each.is_file()] == []


def test_a_deletion_of_data_whose_confirmation_is_lost_is_complete(
    ntrader_on: Command, ntrader: Command, proxy: Proxy
) -> None:
    run_id = ntrader(*RUN).json["run_id"]
    ntrader("delete", run_id, "--yes")
    (dataset,) = ntrader("data", "list", "--json").json["datasets"]
    proxy.on(b"DELETE FROM datasets", lambda _: proxy.on(b"COMMIT", Link.cut_at_reply))

    deleted = ntrader_on(proxy.url, "data", "delete", dataset["id"], "--yes")

    assert deleted.exit_code == 0, deleted.stderr
    assert ntrader("data", "list", "--json").json["datasets"] == []


def test_a_connection_that_breaks_within_a_query(
    ntrader_on: Command, proxy: Proxy, save_run: SaveRun
) -> None:
    run_id = save_run()
    proxy.on(b"FROM backtest_runs", Link.cut)

    assert [UUID(each) for each in saved_runs(ntrader_on, proxy.url)] == [run_id]


def test_connections_that_break_every_time(
    ntrader_on: Command, ntrader: Command, proxy: Proxy
) -> None:
    proxy.on(SAVING, Link.cut, times=1_000_000)

    ended = ntrader_on(f"{proxy.url}&connect_timeout=0.5", *RUN)

    assert is_shown_and_waits(ended), ended
    assert saved_runs(ntrader) == []


def test_a_server_that_falls_silent_within_a_query(
    ntrader_on: Command, proxy: Proxy, home: Path
) -> None:
    proxy.on(b"FROM backtest_runs", Link.fall_silent)

    said = complaint_of(ntrader_on(f"{proxy.url}&command_timeout=0.5", "history"), 4)

    assert "did not answer within 0.5 s" in said


def test_a_server_that_does_not_even_take_leave(
    ntrader_on: Command, proxy: Proxy, save_run: SaveRun
) -> None:
    run_id = save_run()
    proxy.on(TERMINATE, Link.fall_silent)

    assert [UUID(each) for each in saved_runs(ntrader_on, proxy.url)] == [run_id]


def test_a_server_that_falls_silent_within_a_save(ntrader_on: Command, proxy: Proxy) -> None:
    proxy.on(SAVING, Link.fall_silent)

    ended = ntrader_on(f"{proxy.url}&command_timeout=2", *RUN)

    assert is_shown_and_waits(ended), ended
    # The rule was for once: the next command saves what waits.
    assert saved_runs(ntrader_on, proxy.url) == [ended.json["run_id"]]


@pytest.fixture
def server(home: Path) -> Iterator[TcpServer]:
    """A server of the test's own, over TCP and with a password."""
    started = start_tcp_server(home)
    yield started
    started.stop()


def test_a_server_that_is_down_when_the_run_ends(
    ntrader_on: Command, server: TcpServer, tmp_path: Path, home: Path
) -> None:
    url = f"{server.url}?connect_timeout=0.5"
    with waiting_run(tmp_path, url, "--json") as run:
        server.halt()
        ended = run.finish()

    assert is_shown_and_waits(ended), ended
    server.start()
    assert saved_runs(ntrader_on, url) == [ended.json["run_id"]]
    assert saved_runs(ntrader_on, url) == [ended.json["run_id"]]
    assert waiting(home) == []


@pytest.mark.parametrize("how", ["halt", "kill"])
def test_a_server_that_comes_back_when_the_run_ends(
    ntrader_on: Command, server: TcpServer, tmp_path: Path, home: Path, how: str
) -> None:
    url = f"{server.url}?connect_timeout=60"
    with waiting_run(tmp_path, url, "--json") as run:
        getattr(server, how)()
        run.go_on()
        server.start()
        ended = run.finish()

    assert (ended.exit_code, ended.json["saved"]) == (0, True), ended
    assert saved_runs(ntrader_on, url) == [ended.json["run_id"]]
    assert waiting(home) == []


def test_the_embedded_server_is_killed_while_a_run_runs(
    ntrader_process: Command, tmp_path: Path, home: Path
) -> None:
    with waiting_run(tmp_path, None, "--json") as run:
        pid = EmbeddedServer(home).status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        ended = run.finish()

    assert (ended.exit_code, ended.json["saved"]) == (0, True), ended
    assert saved_runs(ntrader_process) == [ended.json["run_id"]]
    assert not EmbeddedServer(home).status().running
    assert waiting(home) == []
