"""`ntrader delete`: runs go with all that belongs to them, and nothing else goes."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Command
from support.saving import SaveRun

SHORT = ["run", "--strategy", "sma", "--start", "2012-01-01", "--json"]


def saved(ntrader: Command) -> list[str]:
    return [run["run_id"] for run in ntrader("history", "--json").json["runs"]]


def files_in(home: Path) -> list[Path]:
    return [path for path in (home / "artifacts").rglob("*") if path.is_file()]


def test_a_run_is_deleted_with_its_files(ntrader: Command, home: Path) -> None:
    kept = ntrader(*SHORT).json
    gone = ntrader(*SHORT, "--tag", "a", "--note", "b").json

    deleted = ntrader("delete", gone["run_id"][:8], "--yes")

    assert deleted.exit_code == 0
    assert deleted.stdout.startswith("Deleted 1 run with 3 files (")
    assert saved(ntrader) == [kept["run_id"]]
    assert {path.parent.name for path in files_in(home)} == {kept["run_id"]}
    assert len(list((home / "artifacts").iterdir())) == 1
    assert ntrader("show", gone["run_id"]).exit_code == 3


def test_several_runs_are_deleted_at_once_each_once(ntrader: Command, save_run: SaveRun) -> None:
    """`@` means what it meant at the start, however many runs go."""
    kept, first, second = save_run(), save_run(), save_run()

    done = ntrader("delete", "@", "@~1", first, str(second)[:8], "--yes", "--json").json

    assert done["deleted"] is True
    assert set(done["runs"]) == {str(first), str(second)}
    assert saved(ntrader) == [str(kept)]


def test_a_dry_run_shows_and_changes_nothing(ntrader: Command, home: Path) -> None:
    run = ntrader(*SHORT).json

    shown = ntrader("delete", "@", "--dry-run")
    as_json = ntrader("delete", "@", "--dry-run", "--json").json

    assert run["run_id"][:8] in shown.stdout
    assert "To delete: 1 run with 3 files" in shown.stderr
    assert as_json == {
        "deleted": False,
        "runs": [run["run_id"]],
        "files": [artifact["storage_path"] for artifact in run["artifacts"]],
        "bytes": sum(artifact["size_bytes"] for artifact in run["artifacts"]),
        "reproductions": [],
        "not_removed": [],
    }
    assert saved(ntrader) == [run["run_id"]]
    assert len(files_in(home)) == 3


def test_reproductions_stay_and_lose_their_link(ntrader: Command, save_run: SaveRun) -> None:
    original = save_run()
    reproduction = save_run(reproduced_from=original)

    planned = ntrader("delete", original, "--dry-run")
    ntrader("delete", original, "--yes")

    assert "1 reproduction will stay and loses its link" in planned.stderr
    (left,) = ntrader("history", "--json").json["runs"]
    assert (left["run_id"], left["reproduced_from"]) == (str(reproduction), None)


def test_a_reproduction_that_goes_too_is_not_said_to_stay(
    ntrader: Command, save_run: SaveRun
) -> None:
    original = save_run()
    reproduction = save_run(reproduced_from=original)

    done = ntrader("delete", original, reproduction, "--yes", "--json").json

    assert done["reproductions"] == []
    assert saved(ntrader) == []


@pytest.mark.parametrize(
    ("references", "exit_code"),
    [(["@", "cccc"], 3), (["@", "@~9"], 3), (["@", "a"], 2), ([], 2), (["@", "@~1"], 2)],
    ids=str,
)
def test_nothing_goes_where_one_cannot_or_nobody_can_be_asked(
    ntrader: Command, save_run: SaveRun, references: list[str], exit_code: int
) -> None:
    runs = {str(save_run()), str(save_run())}
    sure = [] if references == ["@", "@~1"] else ["--yes"]

    refused = ntrader("delete", *references, *sure)

    assert refused.exit_code == exit_code
    assert "Traceback" not in refused.stderr
    assert set(saved(ntrader)) == runs


def test_a_file_that_cannot_be_removed_is_told(
    ntrader: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ntrader(*SHORT)
    (stuck,) = (home / "artifacts").rglob("fills.parquet")
    # A directory where the file was cannot be removed as a file, not even by root.
    stuck.unlink()
    stuck.mkdir()

    told = ntrader("delete", "@", "--yes", "--json")

    assert told.exit_code == 1
    assert told.json["not_removed"] == [str(stuck.relative_to(home / "artifacts"))]
    assert "1 file could not be removed" in told.stderr
    assert files_in(home) == []
    assert saved(ntrader) == []


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("", 1), ("y", 0)])
def test_on_a_terminal_it_asks(ntrader: Command, save_run: SaveRun, answer: str, left: int) -> None:
    run_id = save_run()
    leader, terminal = pty.openpty()
    os.write(leader, f"{answer}\n".encode())

    done = subprocess.run(
        [sys.executable, "-m", "ntrader", "delete", "@"],
        stdin=terminal,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TERM": "dumb"},
        timeout=60,
    )
    os.close(leader)
    os.close(terminal)

    assert "Delete 1 run?" in done.stderr
    assert str(run_id)[:8] in done.stdout
    assert (done.returncode == 0) is (left == 0)
    assert len(saved(ntrader)) == left


def test_a_dataset_can_be_deleted_after_its_runs(
    ntrader: Command, bars_csv: Callable[..., Path]
) -> None:
    described = ["--symbol", "X", "--venue", "V", "--kind", "equity", "--timeframe", "1d"]
    ntrader("data", "import", bars_csv(), *described)
    ntrader("run", "--strategy", "sma", "--symbol", "X")
    assert ntrader("data", "delete", "X-1d", "--yes").exit_code == 1

    ntrader("delete", "@", "--yes")

    assert ntrader("data", "delete", "X-1d", "--yes").exit_code == 0
