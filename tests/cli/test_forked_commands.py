"""Tests start most commands from a fork server: they are what a new interpreter makes of them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import Command, Result
from support.processes import GATED, PATIENCE, started, wait_until


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["history", "--limit", "0"],
        ["show", "no-such-run", "--json"],
        ["run", "--strategy", "own.py:Own", "--no-save", "--json"],
    ],
    ids=" ".join,
)
def test_a_forked_command_ends_as_one_of_a_new_interpreter(
    ntrader_process: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (tmp_path / "own.py").write_text("import beside\nraise ValueError(beside.__file__)\n")
    (tmp_path / "beside.py").touch()
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "ntrader", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert ntrader_process(*words) == Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_forked_command_is_ended_by_a_signal(
    home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "gated.py").write_text(GATED)
    words = ("run", "--strategy", "gated.py:Gated", "--no-save")
    with started(*words, cwd=tmp_path) as process:
        wait_until((tmp_path / "started").exists, process)
        process.send_signal(number)
        assert process.wait(PATIENCE) == (1 if number == signal.SIGINT else -number)
