"""Signals, closed pipes and closed streams: a command ends in order, and the next one works."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ntrader.errors import TerminatedError
from ntrader.services.unfinished import unfinished
from ntrader.services.workspace import Workspace
from support.commands import Command, Result
from support.processes import GATED, PATIENCE, ended, run_process, started, wait_until
from support.proxy import Proxy
from support.victims import Fault, Tally, Victim, see_through

pytestmark = pytest.mark.slow

RUN = ("run", "--strategy", "gated.py:Gated")


@pytest.fixture
def place(tmp_path: Path, home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a strategy to run, a home, and a database that DATABASE_URL names."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    (tmp_path / "gated.py").write_text(GATED)
    return tmp_path


@pytest.fixture
def command(place: Path) -> Command:
    """Run a command in a process of its own."""
    return lambda *arguments, **options: run_process(*arguments, cwd=place, **options)


def runs_of(command: Command) -> list[dict[str, Any]]:
    done = command("history", "--json")
    assert done.exit_code == 0, done.stderr
    runs: list[dict[str, Any]] = done.json["runs"]
    return runs


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (signal.SIGINT, "Interrupted"),
        (signal.SIGTERM, "Terminated"),
        (signal.SIGHUP, "Terminated"),
    ],
)
def test_a_signal_makes_the_run_a_failed_one_that_says_how_far_it_came(
    command: Command, place: Path, home: Path, number: int, word: str
) -> None:
    with started(*RUN, cwd=place) as process:
        wait_until((place / "started").exists, process)
        process.send_signal(number)
        done = ended(process)

    assert done.exit_code == 1
    assert f"{word} after " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    (run,) = runs_of(command)
    assert run["status"] == "failed"
    assert f"{word} after " in run["error"]["message"]
    assert list((home / "journal").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_reproduction_that_a_signal_ends_has_no_verdict(
    command: Command, place: Path, number: int
) -> None:
    (place / "go").touch()
    assert command(*RUN).exit_code == 0
    (place / "go").unlink()
    (place / "started").unlink()

    with started("reproduce", "@", cwd=place) as process:
        wait_until((place / "started").exists, process)
        process.send_signal(number)
        done = ended(process)

    assert done.exit_code == 1
    assert "There is no verdict" in done.stderr
    assert "different" not in done.stdout.lower()
    assert [run["status"] for run in runs_of(command)] == ["failed", "success"]


def has_ended(entry: Path) -> bool:
    return b" ended " in entry.read_bytes().partition(b"\n")[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_and_the_run_is_accounted_for(
    command: Command, place: Path, home: Path, proxy: Proxy, number: int
) -> None:
    """The first makes the run a failed one; the second comes while a mute database saves it."""
    over = {**os.environ, "DATABASE_URL": proxy.url}
    with started(*RUN, cwd=place, env=over) as process:
        wait_until((place / "started").exists, process)
        for link in proxy.links:
            link.fall_silent()
        process.send_signal(number)
        wait_until(lambda: any(map(has_ended, (home / "journal").glob("*.entry"))), process)
        process.send_signal(number)
        done = ended(process)

    assert done.exit_code == 128 + number
    assert "Traceback" not in done.stdout + done.stderr
    swept = command("history", "--json", env={"DATABASE_URL": proxy.url})
    (run,) = swept.json["runs"]
    assert run["status"] == "failed"
    assert " after " in run["error"]["message"]
    assert "as it ended" in swept.stderr


def history_where_silent(place: Path, proxy: Proxy, *, at: bytes, number: int) -> Result:
    """Send a signal to `history` once the database has fallen silent `at` what is sent to it."""
    over = {**os.environ, "DATABASE_URL": proxy.url}
    proxy.on(at, lambda link: link.fall_silent())
    with started("history", cwd=place, env=over) as process:
        wait_until(lambda: any(link.silent.is_set() for link in proxy.links), process)
        process.send_signal(number)
        return ended(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_where_nothing_runs_ends_the_command_with_its_number(
    command: Command, place: Path, proxy: Proxy, number: int
) -> None:
    done = history_where_silent(place, proxy, at=b"backtest_runs", number=number)

    assert done.exit_code == 128 + number
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_command_takes_leave_of_the_database_is_no_fault(
    command: Command, place: Path, proxy: Proxy, number: int
) -> None:
    done = history_where_silent(place, proxy, at=b"X\0\0\0\4", number=number)

    assert done.exit_code in (0, 128 + number)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("step", [30, 40, 50, 60])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_midst_of_talking_to_the_database_ends_the_command(
    home: Path,
    tmp_path: Path,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    step: int,
) -> None:
    """Raised where a packet is sent, it would leave a connection that nobody waits for."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    victim = Victim(("history",), Fault(number, step), tmp_path)

    see_through([victim], Tally())

    assert victim.was_hit
    assert victim.result.exit_code == 128 + number, victim.result
    assert "Traceback" not in victim.result.stderr


def test_an_interrupted_command_says_so_as_json(
    command: Command, place: Path, proxy: Proxy
) -> None:
    over = {**os.environ, "DATABASE_URL": proxy.url}
    proxy.on(b"backtest_runs", lambda link: link.fall_silent())
    with started("history", "--json", cwd=place, env=over) as process:
        wait_until(lambda: any(link.silent.is_set() for link in proxy.links), process)
        process.send_signal(signal.SIGINT)
        done = ended(process)

    assert done.exit_code == 130
    assert done.json["error"]["code"] == "interrupted"


def test_who_ignores_hangups_is_not_ended_by_one(command: Command, place: Path) -> None:
    """As under nohup."""
    arguments = [sys.executable, "-m", "ntrader", *RUN, "--json"]
    with subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *arguments],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until((place / "started").exists, process)
        process.send_signal(signal.SIGHUP)
        (place / "go").touch()
        done = ended(process)

    assert done.exit_code == 0, done.stderr
    assert done.json["saved"] is True


def test_the_embedded_server_ends_with_a_run_that_is_terminated(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    for number in (signal.SIGTERM, signal.SIGHUP):
        with started(*RUN, cwd=place) as process:
            wait_until((place / "started").exists, process)
            process.send_signal(number)
            assert ended(process).exit_code == 1
        (place / "started").unlink()

        assert command("db", "status", "--json").json["running"] is False
    assert [run["status"] for run in runs_of(command)] == ["failed", "failed"]


@pytest.mark.parametrize(
    "arguments",
    [("history",), ("history", "--json"), ("history", "--csv"), ("show", "@"), ("--help",)],
    ids=" ".join,
)
def test_a_reader_that_has_gone_is_no_fault(
    command: Command, place: Path, arguments: tuple[str, ...]
) -> None:
    (place / "go").touch()
    command(*RUN)

    done = with_closed_pipe(place, *arguments)

    assert done.stderr == ""
    assert done.exit_code == (1 if arguments == ("--help",) else 0)


def test_a_run_whose_reader_has_gone_is_saved_and_ends_as_ever(
    command: Command, place: Path
) -> None:
    (place / "go").touch()

    done = with_closed_pipe(place, *RUN)

    assert done.exit_code == 0
    assert "Saved" in done.stderr
    assert [run["status"] for run in runs_of(command)] == ["success"]


def with_closed_pipe(place: Path, *arguments: str) -> Result:
    """Run a command whose stdout is a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return run_process(*arguments, cwd=place, stdout=writer)
    finally:
        os.close(writer)


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_with_closed_streams_is_saved_whole(
    command: Command, place: Path, closed: str
) -> None:
    """What is printed must not go into the file or the connection that got the number."""
    (place / "go").touch()

    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "ntrader", *RUN],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert done.returncode == 0, done.stderr
    (run,) = runs_of(command)
    assert run["status"] == "success"
    assert command("show", "@", "--json").json["metrics"]["total_trades"] > 10
    assert command("data", "verify", "IBM-sample").exit_code == 0


@pytest.mark.parametrize("option", [(), ("--json",), ("--csv",)])
def test_an_output_that_is_full_is_a_fault_in_words(
    command: Command, place: Path, option: tuple[str, ...]
) -> None:
    (place / "go").touch()
    command(*RUN)

    with open("/dev/full", "w") as full:
        done = command("history", *option, stdout=full)

    assert done.exit_code == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("run", "--strategy", "sma"), ("history",), ("show", "@"), ("compare", "@", "@~1")],
    ids=" ".join,
)
def test_a_terminal_of_twenty_columns_is_no_fault(
    command: Command, place: Path, arguments: tuple[str, ...]
) -> None:
    (place / "go").touch()
    for fast in ("5", "10"):
        command("run", "--strategy", "sma", "-p", f"fast_period={fast}")

    done = command(*arguments, env={"COLUMNS": "20"})

    assert done.exit_code == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 20


def test_a_terminated_import_leaves_nothing_half_done(
    command: Command, place: Path, proxy: Proxy, home: Path
) -> None:
    """The bars are stored, and the database does not answer when their row is to be made."""
    lines = [f"2020-01-{day:02d},10,11,9,10,1000" for day in range(1, 31)]
    (place / "bars.csv").write_text("\n".join(["date,open,high,low,close,volume", *lines]))
    described = ("--symbol", "ABC", "--venue", "V", "--kind", "equity", "--timeframe", "1d")
    arguments = ("data", "import", "bars.csv", *described)
    proxy.on(b"INSERT INTO datasets", lambda link: link.fall_silent())

    with started(*arguments, cwd=place, env={**os.environ, "DATABASE_URL": proxy.url}) as process:
        wait_until(lambda: any(link.silent.is_set() for link in proxy.links), process)
        process.send_signal(signal.SIGTERM)
        done = ended(process)

    assert done.exit_code == 143
    waits = command("db", "status", "--json", env={"DATABASE_URL": proxy.url}).json["journal"]
    assert (waits["unfinished"], waits["without_result"]) == (1, 0)
    (dataset,) = command("data", "list", "--json", env={"DATABASE_URL": proxy.url}).json["datasets"]
    assert [path.name for path in (home / "datasets").glob("[!.]*")] == [dataset["content_hash"]]
    assert command("data", "verify", "ABC-1d").exit_code == 0
    assert list((home / "journal").iterdir()) == []


@pytest.mark.parametrize("deleted", [True, False])
async def test_a_deletion_that_is_cut_off_leaves_all_of_a_run_or_nothing(
    command: Command, place: Path, home: Path, database_url: str, deleted: bool
) -> None:
    """The process ends before or after its commit, and before it has removed the files."""
    (place / "go").touch()
    run_id = UUID(command(*RUN, "--json").json["run_id"])
    async with Workspace(home, database_url=database_url) as workspace:
        store = await workspace.store()
        with suppress(TerminatedError), unfinished(workspace, runs=[run_id]):
            if deleted:
                await store.runs.delete([run_id])
            raise TerminatedError(signal.SIGTERM)
    assert len(list((home / "artifacts").glob("*/*/*"))) == 3

    runs = runs_of(command)

    files = list((home / "artifacts").glob("*/*/*"))
    assert (len(runs), len(files)) == ((0, 0) if deleted else (1, 3))
    assert list((home / "journal").iterdir()) == []


def test_an_import_that_is_killed_leaves_no_files_of_runs_that_are_not_there(
    command: Command, place: Path, home: Path, proxy: Proxy
) -> None:
    (place / "go").touch()
    command(*RUN)
    command("export", "@", "run.zip")
    command("delete", "@", "--yes")
    proxy.on(b'COPY "backtest_runs"', lambda link: link.fall_silent())
    over = {"DATABASE_URL": proxy.url}
    with started("import", "run.zip", cwd=place, env={**os.environ, **over}) as process:
        wait_until(lambda: any(link.silent.is_set() for link in proxy.links), process)
        process.kill()
        process.wait()
    assert len(list((home / "artifacts").glob("*/*/*"))) == 3

    assert command("history", "--json", env=over).json["runs"] == []

    assert list((home / "artifacts").glob("*/*/*")) == []
    assert command("import", "run.zip").exit_code == 0
    assert len(runs_of(command)) == 1
