"""ntrader in processes of its own: many at once, interrupted, killed, cut off."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command
from support.processes import Process, start, started

SLOW_STRATEGY = """
import time
from ntrader.engine.strategies import LongFlatStrategy

class Slow(LongFlatStrategy):
    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars == 50:
            open("started", "w").close()
        time.sleep(0.002)
"""


def wait_for(path: Path, process: Process) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def server_runs(ntrader_process: Command) -> bool:
    running: bool = ntrader_process("db", "status", "--json").json["running"]
    return running


def test_eight_runs_at_once_on_an_empty_machine(ntrader_process: Command, tmp_path: Path) -> None:
    processes = [start("run", "--strategy", "sma", "--json") for _ in range(8)]
    ended = [(process, *process.communicate(timeout=180)) for process in processes]

    assert [(process.returncode, stderr) for process, _, stderr in ended] == [(0, "")] * 8
    runs = ntrader_process("history", "--json").json["runs"]
    assert len({run["run_id"] for run in runs}) == 8
    assert len({run["result_digest"] for run in runs}) == 1
    assert len(ntrader_process("data", "list", "--json").json["datasets"]) == 1
    assert not server_runs(ntrader_process)


def test_ctrl_c_stops_the_run_and_saves_it_as_failed(
    ntrader_process: Command, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW_STRATEGY)
    with started("run", "--strategy", "slow.py:Slow", cwd=tmp_path) as process:
        wait_for(tmp_path / "started", process)

        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "Interrupted after" in stdout
    assert "Traceback" not in stdout + stderr
    (run,) = ntrader_process("history", "--json").json["runs"]
    assert run["status"] == "failed"
    assert "Interrupted after" in run["error"]["message"]
    assert not server_runs(ntrader_process)


def test_the_server_of_a_killed_run_ends_with_the_next_command(
    ntrader_process: Command, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW_STRATEGY)
    with started("run", "--strategy", "slow.py:Slow", cwd=tmp_path) as process:
        wait_for(tmp_path / "started", process)
        process.kill()
        process.wait(timeout=30)

    assert ntrader_process("history", "--json").exit_code == 0
    assert not server_runs(ntrader_process)


def test_an_import_that_is_killed_stores_nothing_half(
    ntrader_process: Command, bars_csv: Callable[..., Path], home: Path, tmp_path: Path
) -> None:
    described = ["--symbol", "ABC", "--venue", "V", "--kind", "equity", "--timeframe", "1d"]
    arguments = ("data", "import", bars_csv(), *described)
    for seconds in (0.1, 0.3, 0.5, 0.6, 0.7, 0.9):
        with started(*arguments, cwd=tmp_path) as process:
            time.sleep(seconds)
            process.kill()
            process.wait(timeout=30)
        for dataset in ntrader_process("data", "list", "--json").json["datasets"]:
            assert ntrader_process("data", "verify", dataset["id"]).exit_code == 0

    assert ntrader_process(*arguments).exit_code == 0
    assert ntrader_process("data", "verify", "ABC-1d").exit_code == 0
    assert len(list((home / "datasets").glob("[!.]*"))) == 1
    assert not list((home / "datasets").glob(".partial*"))


def test_a_closed_pipe_ends_quietly(ntrader_process: Command, home: Path) -> None:
    ntrader_process("run", "--strategy", "sma")

    done = subprocess.run(
        f"{sys.executable} -m ntrader show @ --json | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines()[0] == "{"
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_block_characters_gets_ascii(
    ntrader_process: Command, encoding: str
) -> None:
    shown = ntrader_process(
        "run", "--strategy", "sma", "--no-save", env={"PYTHONIOENCODING": encoding}
    )

    assert shown.exit_code == 0, shown.stderr
    assert "@" in shown.stdout
    assert shown.stdout.isascii()
    assert ntrader_process("strategies", env={"PYTHONIOENCODING": encoding}).exit_code == 0


def test_a_narrow_terminal_is_no_fault(ntrader_process: Command) -> None:
    shown = ntrader_process("run", "--strategy", "sma", env={"COLUMNS": "20"})

    assert shown.exit_code == 0, shown.stderr
    assert ntrader_process("history", env={"COLUMNS": "20"}).exit_code == 0


def test_no_colour_reaches_a_pipe(ntrader_process: Command) -> None:
    shown = ntrader_process("run", "--strategy", "sma", "--no-save", env={"TERM": "xterm-256color"})

    assert "\x1b" not in shown.stdout + shown.stderr


def test_home_that_cannot_be_written_is_refused(ntrader_process: Command, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")

    refused = ntrader_process(
        "run", "--strategy", "sma", env={"NTRADER_HOME": os.fspath(blocked / "home")}
    )

    assert refused.exit_code == 4
    assert "Traceback" not in refused.stderr
    assert os.fspath(blocked) in refused.stderr
