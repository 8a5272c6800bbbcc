"""Nothing is lost: what a killed process, a lost database or a full disk leaves is saved, once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.commands import Command, Result, run_here
from support.processes import (
    GATED,
    KILLED_AT_A_STEP,
    Process,
    ended,
    run_process,
    started,
    wait_until,
)
from support.proxy import Proxy

pytestmark = pytest.mark.slow

RUN = ("run", "--strategy", "gated.py:Gated")


@pytest.fixture
def place(tmp_path: Path, home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with strategies to run, a home, and a database that DATABASE_URL names."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    (tmp_path / "gated.py").write_text(GATED)
    (tmp_path / "killed.py").write_text(KILLED_AT_A_STEP)
    return tmp_path


@pytest.fixture
def command(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command in this process, where its process is not what matters."""
    monkeypatch.chdir(place)

    def run(*arguments: object, env: Mapping[str, str] | None = None) -> Result:
        with monkeypatch.context() as changed:
            for name, value in (env or {}).items():
                changed.setenv(name, value)
            return run_here(arguments, capsys)

    return run


@contextmanager
def under_way(place: Path, *arguments: object, **options: Any) -> Iterator[Process]:
    """Start a run, and give it when it is in the middle of its bars."""
    with started(*RUN, *arguments, cwd=place, **options) as process:
        wait_until((place / "started").exists, process)
        yield process


def killed(place: Path, *arguments: object, count: int = 1) -> None:
    """Start runs, and kill them in the middle of their bars."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(under_way(place, *arguments))
            (place / "started").unlink()
            process.send_signal(signal.SIGSTOP)
            stack.callback(process.kill)


def journal_of(command: Command) -> Any:
    return command("db", "status", "--json").json["journal"]


def waiting(command: Command) -> tuple[int, int, int, int]:
    """Return how many entries have a result, have none, are running, are damaged."""
    journal = journal_of(command)
    return (
        journal["with_result"],
        journal["without_result"],
        journal["running"],
        len(journal["damaged"]),
    )


def runs_of(command: Command) -> list[dict[str, Any]]:
    listed = command("history", "--json")
    assert listed.exit_code == 0, listed
    runs: list[dict[str, Any]] = listed.json["runs"]
    return runs


def files_of_runs(home: Path) -> int:
    return sum(path.is_file() for path in (home / "artifacts").rglob("*"))


def test_a_run_is_in_the_journal_while_it_runs_and_gone_when_it_is_saved(
    command: Command, place: Path, home: Path
) -> None:
    with under_way(place) as process:
        assert waiting(command) == (0, 0, 1, 0)
        assert runs_of(command) == []
        (place / "go").touch()
        done = ended(process)

    assert done.exit_code == 0, done.stderr
    assert waiting(command) == (0, 0, 0, 0)
    assert list((home / "journal").iterdir()) == []
    assert [run["status"] for run in runs_of(command)] == ["success"]


def test_a_killed_run_becomes_a_failed_run_that_says_so(command: Command, place: Path) -> None:
    killed(place, "--tag", "night", "--note", "the long one")
    assert waiting(command) == (0, 1, 0, 0)

    first = command("history", "--json")
    second = command("history", "--json")

    assert first.stderr.count("\n") == 1
    assert "Saved 1 run that waited in the journal" in first.stderr
    (run,) = first.json["runs"]
    assert run["status"] == "failed"
    assert "process ended before" in run["error"]["message"]
    assert (run["tags"], run["note"]) == (["night"], "the long one")
    assert second.stderr == ""
    assert second.json == first.json
    assert waiting(command) == (0, 0, 0, 0)


def test_a_killed_run_keeps_its_code(command: Command, place: Path) -> None:
    """The file is gone, and what ran is known all the same."""
    killed(place)
    (place / "gated.py").unlink()
    (place / "go").touch()

    reproduced = command("reproduce", "@", "--json")

    assert reproduced.exit_code == 5, reproduced.stderr
    assert reproduced.json["checked"]["strategy_code"] == "same"


def test_a_killed_reproduction_is_a_failed_run_linked_to_its_original(
    command: Command, place: Path
) -> None:
    (place / "go").touch()
    original = command(*RUN, "--json").json["run_id"]
    (place / "go").unlink()
    (place / "started").unlink()
    with started("reproduce", original, cwd=place) as process:
        wait_until((place / "started").exists, process)
        process.kill()
        process.wait()

    newest, oldest = runs_of(command)

    assert (newest["status"], newest["reproduced_from"]) == ("failed", original)
    assert oldest["run_id"] == original


@pytest.mark.parametrize("step", [2, 12, 20])
def test_a_run_that_is_killed_while_it_is_saved_is_saved_once(
    command: Command, place: Path, home: Path, step: int
) -> None:
    assert not check_kill_at(command, place, home, step), "it was not killed"


def test_a_run_that_is_killed_at_any_step_of_being_saved_is_saved_once(
    command: Command, place: Path, home: Path
) -> None:
    for step in range(1, 200):
        if check_kill_at(command, place, home, step):
            assert step > 20, "the steps are not counted"
            return
    raise AssertionError("the steps do not end")


def check_kill_at(command: Command, place: Path, home: Path, step: int) -> bool:
    """Kill a run at a step of being saved; return whether it ended before it."""
    before = {run["run_id"] for run in runs_of(command)}
    killed = ("run", "--strategy", "killed.py:Killed")
    done = run_process(*killed, cwd=place, env={"KILL_AT": str(step)})
    assert done.exit_code in (0, -signal.SIGKILL), done.stderr

    (run,) = (run for run in runs_of(command) if run["run_id"] not in before)

    assert waiting(command) == (0, 0, 0, 0)
    shown = command("show", run["run_id"], "--json")
    assert shown.exit_code == 0, shown.stderr
    kept = {path.name for path in (home / "artifacts").glob(f"*/{run['run_id']}/*")}
    if run["status"] == "success":
        assert kept == {"equity.parquet", "fills.parquet", "trades.parquet"}
        assert run["metrics"]["total_trades"] > 10
    else:
        assert kept == set()
    return done.exit_code == 0


def test_a_run_whose_database_is_gone_at_its_end_is_shown_and_saved_by_the_next_command(
    command: Command, place: Path, proxy: Proxy
) -> None:
    over = {"DATABASE_URL": proxy.url}
    with under_way(place, "--json", "--tag", "kept", env={**os.environ, **over}) as process:
        proxy.refuse()
        (place / "go").touch()
        done = ended(process)
    waits = command("db", "status", "--json", env=over)
    proxy.serve()

    assert done.exit_code == 4
    assert done.json["saved"] is False
    assert done.json["waiting"] is True
    assert done.json["metrics"]["total_trades"] > 10
    assert "waits in the journal" in done.json["save_error"]["hint"]
    assert waits.exit_code == 4
    assert waits.json["journal"]["with_result"] == 1
    assert waits.json["error"]["code"] == "database_unavailable"

    first = command("history", "--json", env=over)
    (run,) = first.json["runs"]
    shown = command("show", "@", "--json", env=over)

    assert "Saved 1 run that waited in the journal: as it ended." in first.stderr
    for name in ("run_id", "status", "metrics", "result_digest", "fingerprint", "tags"):
        assert run[name] == done.json[name], name
    assert {file["filename"] for file in shown.json["artifacts"]} == {
        "equity.parquet",
        "fills.parquet",
        "trades.parquet",
    }
    assert command("history", env=over).stderr == ""


def test_what_waits_for_one_database_is_not_saved_in_another(
    command: Command, place: Path, empty_database_url: str
) -> None:
    killed(place)
    other = {"DATABASE_URL": empty_database_url}

    assert command("history", "--json", env=other).json["runs"] == []
    assert list(
        command("db", "status", "--json", env=other).json["journal"]["elsewhere"].values()
    ) == [1]
    assert len(runs_of(command)) == 1


def test_many_commands_that_sweep_at_once_save_each_run_once(command: Command, place: Path) -> None:
    killed(place, count=3)

    sweepers = [
        subprocess.Popen(
            [sys.executable, "-m", "ntrader", "history", "--json"],
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    done = [ended(each) for each in sweepers]

    assert [each.exit_code for each in done] == [0] * 6, done
    assert len({run["run_id"] for run in runs_of(command)}) == 3
    assert waiting(command) == (0, 0, 0, 0)
    said = [line for each in done for line in each.stderr.splitlines()]
    saved = sum(int(line.split()[1]) for line in said)
    assert saved == 3, said


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "altered": lambda content: content.replace(b"gated", b"grated"),
}


def test_a_damaged_entry_is_set_aside_and_told_of_and_blocks_nothing(
    command: Command, place: Path, home: Path
) -> None:
    killed(place, count=len(DAMAGES) + 1)
    damaged = {}
    for entry, damage in zip(sorted((home / "journal").iterdir()), DAMAGES.values(), strict=False):
        damaged[entry.stem] = damage(entry.read_bytes())
        entry.write_bytes(damaged[entry.stem])

    first = command("history", "--json")
    second = command("history", "--json")

    assert first.exit_code == 0
    assert first.stderr.count("was set aside") == len(DAMAGES)
    assert "db status" in first.stderr
    assert len(first.json["runs"]) == 1
    assert second.stderr == ""
    assert waiting(command) == (0, 0, 0, len(DAMAGES))
    aside = map(Path, journal_of(command)["damaged"])
    assert {path.stem: path.read_bytes() for path in aside} == damaged
    assert "Damaged entry" in command("db", "status").stdout


def test_a_journal_that_cannot_be_written_stops_a_run_before_it_starts(
    command: Command, place: Path, home: Path
) -> None:
    (home / "journal").write_text("not a directory")

    refused = command(*RUN)
    listed = command("history", "--json")

    assert refused.exit_code == 1
    assert "journal" in refused.stderr
    assert "NTRADER_HOME" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (place / "started").exists()
    assert listed.json["runs"] == []


def test_a_run_that_is_not_saved_needs_no_journal(
    command: Command, place: Path, home: Path
) -> None:
    (home / "journal").write_text("not a directory")
    (place / "go").touch()

    done = command(*RUN, "--no-save", "--json")

    assert done.exit_code == 0, done.stderr
    assert done.json["saved"] is False
    assert (home / "journal").read_text() == "not a directory"


@pytest.fixture
def small_disk(home: Path) -> Iterator[Callable[[], None]]:
    """Make the home's journal and artifacts a disk of 64 KiB; gives what fills it."""
    disk = home / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only, where it is allowed")

    def fill() -> None:
        try:
            with (disk / "ballast").open("wb") as file:
                for _ in range(64 * 1024 // 256 + 1):
                    file.write(b"x" * 256)
                    file.flush()
        except OSError:
            return

    try:
        for name in ("journal", "artifacts"):
            (disk / name).mkdir()
            (home / name).symlink_to(disk / name)
        yield fill
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_stops_a_run_before_it_starts(
    command: Command, place: Path, home: Path, small_disk: Callable[[], None]
) -> None:
    small_disk()

    refused = command(*RUN)

    assert refused.exit_code == 1
    assert "No space left" in refused.stderr
    assert not (place / "started").exists()
    assert list((home / "journal").iterdir()) == []


def test_a_disk_that_fills_up_during_a_run_makes_it_a_failed_run(
    command: Command, place: Path, home: Path, small_disk: Callable[[], None]
) -> None:
    with under_way(place, "--json") as process:
        small_disk()
        (place / "go").touch()
        done = ended(process)

    assert done.exit_code == 1
    assert done.json["saved"] is False
    assert done.json["metrics"]["total_trades"] > 10
    assert "No space left" in done.json["save_error"]["message"]
    (run,) = runs_of(command)
    assert run["status"] == "failed"
    assert "No space left" in run["error"]["message"]
    assert files_of_runs(home) == 0
    assert waiting(command) == (0, 0, 0, 0)


def test_an_entry_is_what_was_known_of_the_run(place: Path, home: Path, command: Command) -> None:
    killed(place, "--seed", "7")

    (entry,) = (home / "journal").iterdir()
    head, body = entry.read_text().split("\n", 1)

    assert head.startswith("ntrader-journal 1 begun ")
    assert json.loads(body)["snapshot"]["config"]["seed"] == 7
    assert oct(entry.stat().st_mode & 0o777) == "0o600"


def test_a_run_whose_dataset_is_deleted_meanwhile_is_saved(command: Command, place: Path) -> None:
    with under_way(place) as process:
        deleted = command("data", "delete", "IBM-sample", "--yes")
        (place / "go").touch()
        done = ended(process)

    assert deleted.exit_code == 0, deleted.stderr
    assert done.exit_code == 0, done.stderr
    assert [run["status"] for run in runs_of(command)] == ["success"]
