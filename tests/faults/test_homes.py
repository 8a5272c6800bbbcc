"""Homes that are read-only, full, shared or no directory, and what is half written in them."""

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ntrader.errors import TerminatedError
from ntrader.services.unfinished import unfinished
from ntrader.services.workspace import Workspace
from ntrader.storage.parts import open_part
from support.commands import Command
from support.database import Background, TestServer
from support.processes import run_process

pytestmark = pytest.mark.slow

BARS = ("--symbol", "ABC", "--venue", "V", "--kind", "equity", "--timeframe", "1d")

FORKING = """
import os
from ntrader.engine.strategies import LongFlatStrategy

class Forking(LongFlatStrategy):
    '''Makes a child on its way.'''

    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars == 50:
            os.fork()
"""

type Opened = Callable[[Callable[[Workspace], Awaitable[None]]], None]


@contextmanager
def mounted(*arguments: object, at: Path) -> Iterator[None]:
    """Mount something over a directory; only root may, and not everywhere."""
    done = subprocess.run(
        ["mount", *map(str, arguments), str(at)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("a file system can be mounted by root only, where it is allowed")
    try:
        yield
    finally:
        # Lazily: what failed to write in this process may not be closed yet.
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.fixture
def bars_csv(tmp_path: Path) -> Path:
    lines = [f"2020-01-{day:02d},10,11,9,10,1000" for day in range(1, 31)]
    file = tmp_path / "bars.csv"
    file.write_text("\n".join(["date,open,high,low,close,volume", *lines]))
    return file


@pytest.fixture
def opened(background: Background, home: Path, database_url: str) -> Opened:
    """Give a workspace on the test's home and database to what a killed command would have done."""

    def run(work: Callable[[Workspace], Awaitable[None]]) -> None:
        async def with_workspace() -> None:
            async with Workspace(home, database_url=database_url) as workspace:
                await work(workspace)

        background.run(with_workspace())

    return run


def stored_bars(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "datasets").glob("[!.]*"))


def entries(home: Path) -> list[str]:
    return os.listdir(home / "journal") if (home / "journal").exists() else []


def test_a_home_that_is_read_only_can_be_read_and_checked(ntrader: Command, home: Path) -> None:
    ran = ntrader("run", "--strategy", "sma", "--json")
    with mounted("-o", "bind,ro", home, at=home):
        done = {
            arguments: ntrader(*arguments.split())
            for arguments in (
                "history",
                "show @",
                "data list",
                "data verify IBM-sample",
                "db status",
                "db check",
                "show @ --trades",
            )
        }
        refused = ntrader("run", "--strategy", "sma", "--symbol", "GOOG")

    assert ran.exit_code == 0
    assert {name: each.exit_code for name, each in done.items()} == dict.fromkeys(done, 0)
    assert refused.exit_code == 1
    assert "Read-only file system" in refused.stderr
    assert "NTRADER_HOME" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_disk_that_is_full_of_bars_is_told_of_and_keeps_no_half_of_them(
    ntrader: Command, home: Path, bars_csv: Path
) -> None:
    (home / "datasets").mkdir()
    ntrader("data", "list")
    with mounted("-t", "tmpfs", "-o", "size=8k", "tmpfs", at=home / "datasets"):
        refused = ntrader("data", "import", bars_csv, *BARS)
        left = sorted(path.name for path in (home / "datasets").iterdir())
    imported = ntrader("data", "import", bars_csv, *BARS)

    assert refused.exit_code == 1, refused
    assert "No space left" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert left == [".lock"]
    assert imported.exit_code == 0
    assert entries(home) == []


@pytest.mark.parametrize(
    ("out", "back"),
    [(("export", "@", "--with-data"), ("import",)), (("db", "dump"), ("db", "restore"))],
)
def test_a_disk_without_room_for_bars_from_elsewhere_is_told_of_and_keeps_none_of_them(
    ntrader_on: Command,
    home: Path,
    database_url: str,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    out: tuple[str, ...],
    back: tuple[str, ...],
) -> None:
    file = tmp_path / "bars.zip"
    assert ntrader_on(database_url, "run", "--strategy", "sma").exit_code == 0
    assert ntrader_on(database_url, *out, file).exit_code == 0
    other = home / "other"
    other.mkdir()
    monkeypatch.setenv("NTRADER_HOME", str(other))

    # Less than the bars of the sample have, 48 bytes each.
    with mounted("-t", "tmpfs", "-o", "size=32k", "tmpfs", at=other):
        refused = ntrader_on(empty_database_url, *back, file)
        left = [path for path in other.rglob("*") if path.is_file() and path.stat().st_size]
    listed = ntrader_on(empty_database_url, "history", "--json")
    taken = ntrader_on(empty_database_url, *back, file)

    assert refused.exit_code == 1, refused
    assert "No space left" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert left == []
    assert listed.json["runs"] == []
    assert taken.exit_code == 0, taken.stderr


def test_a_disk_without_room_for_what_is_read_of_a_file_is_told_of_in_two_lines(
    home: Path, database_url: str, tmp_path: Path
) -> None:
    """Also when the process ends, and closes what it could not write."""
    file = tmp_path / "bars.csv"
    minutes = (f"{1_420_070_400 + 60 * row},10,11,9,10,1000" for row in range(9_000))
    file.write_text("\n".join(["time,open,high,low,close,volume", *minutes]))

    with mounted("-t", "tmpfs", "-o", "size=512k", "tmpfs", at=home):
        refused = run_process(
            "data", "import", file, *BARS[:-1], "1m", env={"DATABASE_URL": database_url}
        )

    assert refused.exit_code == 1
    assert "No space left" in refused.stderr
    assert len(refused.stderr.splitlines()) == 2, refused.stderr


def test_a_home_that_is_no_directory_is_told_of(
    ntrader_process: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("NTRADER_HOME", str(file))
    refused, told = (ntrader_process(*words) for words in (("history",), ("db", "status")))

    assert (refused.exit_code, told.exit_code) == (4, 0)
    assert "NTRADER_HOME" in refused.stderr
    assert "Traceback" not in refused.stderr + told.stderr


@pytest.mark.parametrize("deleted", [True, False])
def test_a_deletion_of_data_that_is_cut_off_leaves_all_of_them_or_nothing(
    ntrader: Command, home: Path, opened: Opened, bars_csv: Path, deleted: bool
) -> None:
    """The process ends before or after its commit, and before it has removed the bars."""
    ntrader("data", "import", bars_csv, *BARS)

    async def cut_off(workspace: Workspace) -> None:
        store = await workspace.store()
        dataset = await store.datasets.resolve("ABC-1d")
        with suppress(TerminatedError), unfinished(workspace, removed=dataset):
            if deleted:
                await store.datasets.delete(dataset.id)
            raise TerminatedError(signal.SIGTERM)

    opened(cut_off)
    assert len(stored_bars(home)) == 1

    listed = ntrader("data", "list", "--json").json["datasets"]

    assert (len(listed), len(stored_bars(home))) == ((0, 0) if deleted else (1, 1))
    assert entries(home) == []


@pytest.mark.parametrize("stored", [True, False])
def test_an_import_of_data_that_is_cut_off_leaves_all_of_them_or_nothing(
    ntrader: Command, home: Path, opened: Opened, bars_csv: Path, stored: bool
) -> None:
    """The process ends before or after the bars are stored, and before they have their row."""
    described = ntrader("data", "import", bars_csv, *BARS, "--json")

    async def cut_off(workspace: Workspace) -> None:
        store = await workspace.store()
        dataset = await store.datasets.resolve("ABC-1d")
        await store.datasets.delete(dataset.id)
        if not stored:
            workspace.catalog.delete(dataset.content_hash)
        with suppress(TerminatedError), unfinished(workspace, dataset=dataset):
            raise TerminatedError(signal.SIGTERM)

    opened(cut_off)

    listed = ntrader("data", "list", "--json").json["datasets"]

    assert described.exit_code == 0, described
    assert (len(listed), len(stored_bars(home))) == ((1, 1) if stored else (0, 0))
    assert entries(home) == []


def test_a_read_only_database_refuses_data_before_anything_is_stored(
    ntrader_on: Command, home: Path, database_url: str, bars_csv: Path
) -> None:
    joint = "&" if "?" in database_url else "?"
    url = f"{database_url}{joint}default_transaction_read_only=on"

    bundle = bars_csv.with_name("run.zip")
    for arguments in (
        ("run", "--strategy", "sma"),
        ("export", "@", bundle, "--with-data"),
        ("delete", "@", "--yes"),
        ("data", "delete", "IBM-sample", "--yes"),
    ):
        assert ntrader_on(database_url, *arguments).exit_code == 0

    refused = [
        ntrader_on(url, "data", "import", bars_csv, *BARS),
        ntrader_on(url, "run", "--strategy", "sma"),
        ntrader_on(url, "import", bundle),
    ]
    listed = ntrader_on(url, "data", "list")

    for each in refused:
        assert each.exit_code == 1
        assert "read-only" in each.stderr
    assert stored_bars(home) == entries(home) == []
    assert listed.exit_code == 0
    assert "journal" not in listed.stderr


def test_data_that_another_database_uses_stay_where_they_are(
    ntrader_on: Command, postgres: TestServer, home: Path, bars_csv: Path
) -> None:
    """Two databases share a home: what one deletes the other may have imported too."""
    with postgres.migrated_database() as one, postgres.migrated_database() as other:
        for url in (one, other):
            assert ntrader_on(url, "data", "import", bars_csv, *BARS).exit_code == 0

        deleted = ntrader_on(one, "data", "delete", "ABC-1d", "--yes")

        assert deleted.exit_code == 0, deleted
        assert ntrader_on(one, "data", "list", "--json").json["datasets"] == []
        assert ntrader_on(other, "data", "verify", "ABC-1d").exit_code == 0


def test_a_run_whose_strategy_forks_is_run_and_saved_once(
    ntrader_process: Command, home: Path, database_url: str, tmp_path: Path
) -> None:
    """The child comes back from the strategy as if it were the run."""
    (tmp_path / "forking.py").write_text(FORKING)
    env = {"DATABASE_URL": database_url}

    done = ntrader_process("run", "--strategy", "forking.py:Forking", cwd=tmp_path, env=env)

    assert done.exit_code == 0, done
    assert done.stdout.count("success") == 1
    assert "Internal error" not in done.stderr
    assert len(ntrader_process("history", "--json", env=env).json["runs"]) == 1
    assert entries(home) == []


def test_what_a_killed_dump_or_export_left_is_removed_by_the_next(
    ntrader: Command, tmp_path: Path
) -> None:
    """Only what nobody writes: another dump of the same name may be under way."""
    ntrader("run", "--strategy", "sma")
    dump, export = tmp_path / "all.tar", tmp_path / "run.zip"
    for left in (dump, export):
        part, descriptor = open_part(left)
        os.close(descriptor)
        assert part.exists()
    under_way, held = open_part(dump)

    dumped = ntrader("db", "dump", dump)
    exported = ntrader("export", "@", export)
    os.close(held)

    assert (dumped.exit_code, exported.exit_code) == (0, 0)
    assert set(tmp_path.glob(".*.part")) == {under_way}


def test_a_help_that_cannot_be_written_is_no_bug(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = run_process("--help", cwd=tmp_path, stdout=full)

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: No space left on device.")
