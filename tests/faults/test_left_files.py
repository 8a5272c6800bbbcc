"""Commands that are killed between a file and its row: the next command leaves neither alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.commands import Result
from support.old_stores import ASSETS
from support.processes import PATIENCE, run_process
from support.tortured import DESCRIBED, write_bars

pytestmark = pytest.mark.slow

# Ends itself when it is about to do the named thing to a path that ends so.
_KILLED = """
import os, signal, sys
from ntrader.cli.main import entry_point

event, end = sys.argv[1:3]
del sys.argv[1:3]

def heard(done, about):
    if done == event and any(str(each).endswith(end) for each in about):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(heard)
entry_point()
"""

type Kill = Callable[..., None]
type Run = Callable[..., Result]


@pytest.fixture
def run(
    home: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Run a command on an empty database."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    return lambda *arguments: run_process(*arguments, cwd=tmp_path)


@pytest.fixture
def kill(run: Run, tmp_path: Path) -> Kill:
    """Run a command that is killed when it comes to something."""

    def killed(event: str, end: str, *arguments: object) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, event, end, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode < 0, done

    return killed


def checked(run: Run) -> Any:
    report = run("db", "check", "--json").json
    return report["clean"], report["recent_files"], report["checked"]["datasets"]


def test_an_import_that_is_killed_when_its_bars_are_stored_gets_its_row(
    run: Run, kill: Kill, home: Path, tmp_path: Path
) -> None:
    bars = write_bars(tmp_path / "bars.csv")

    # The renaming is done; what follows is the flush of the directory, and then the row.
    kill("open", "/datasets", "data", "import", bars, *DESCRIBED)

    assert checked(run) == (True, 0, 1)


def test_a_restore_that_is_killed_within_a_file_leaves_none_behind_when_it_is_done_again(
    run: Run, kill: Kill, home: Path
) -> None:
    dump = max(ASSETS.glob("*.tar"))
    kill("os.rename", ".parquet", "db", "restore", dump)
    assert [path.name for path in (home / "artifacts").rglob("*.part")] != []

    assert run("db", "restore", dump).exit_code == 0

    clean, recent_files, _ = checked(run)
    assert clean
    assert recent_files == 0
