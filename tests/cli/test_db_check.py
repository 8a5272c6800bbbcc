"""`ntrader db check`: what is wrong in a store is found, and nothing is lost by a repair."""

import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from ntrader.storage.strays import filling
from support.commands import Command, Result
from support.database import TestServer, execute
from support.processes import ended, start

SHORT = ["run", "--strategy", "sma", "--start", "2012-01-01", "--json"]
LONG_AGO = 1_500_000_000

type Sql = Callable[..., None]


@pytest.fixture
def sql(database_url: str) -> Sql:
    """Change rows that the database itself protects, as a careless superuser does."""

    def run(*statements: str) -> None:
        asyncio.run(execute(database_url, "SET session_replication_role = replica", *statements))

    return run


def saved_run(ntrader: Command, *more: str) -> str:
    run_id: str = ntrader(*SHORT, *more).json["run_id"]
    return run_id


def file_of(home: Path, run_id: str, name: str) -> Path:
    return home / "artifacts" / run_id[:2] / run_id / name


def problems(found: Result) -> list[tuple[str, str | None]]:
    return [(problem["kind"], problem["run_id"]) for problem in found.json["problems"]]


def make_old(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        os.utime(each, (LONG_AGO, LONG_AGO))


def test_a_sound_store_is_clean(ntrader: Command, tmp_path: Path) -> None:
    strategy = tmp_path / "steps.py"
    strategy.write_text(
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "class Steps(LongFlatStrategy):\n"
        "    def prepare(self): pass\n"
        "    def on_bar(self, bar): raise ValueError('no')\n"
    )
    saved_run(ntrader)
    ntrader("run", "--strategy", f"{strategy}:Steps")

    found = ntrader("db", "check", "--json")

    assert found.exit_code == 0
    assert found.json["clean"] is True
    assert found.json["checked"] == {"runs": 2, "files": 3, "datasets": 1, "sources": 1}
    assert "all is well" in ntrader("db", "check").stdout


def test_an_empty_store_is_clean(ntrader: Command) -> None:
    assert ntrader("db", "check").exit_code == 0


def test_a_missing_file_is_named(ntrader: Command, home: Path) -> None:
    run_id = saved_run(ntrader)
    saved_run(ntrader, "-p", "fast_period=5")
    file_of(home, run_id, "fills.parquet").unlink()

    found = ntrader("db", "check", "--json")
    shown = ntrader("db", "check")

    assert found.exit_code == shown.exit_code == 1
    assert problems(found) == [("file_missing", run_id)]
    assert found.json["problems"][0]["file"] == f"artifacts/{run_id[:2]}/{run_id}/fills.parquet"
    assert run_id in shown.stdout
    assert "ntrader reproduce" in shown.stderr


@pytest.mark.parametrize("change", [b"", b"PAR1"], ids=["emptied", "longer"])
def test_an_altered_file_is_named(ntrader: Command, home: Path, change: bytes) -> None:
    run_id = saved_run(ntrader)
    file = file_of(home, run_id, "equity.parquet")
    file.write_bytes(file.read_bytes() + change if change else change)

    assert problems(ntrader("db", "check", "--json")) == [("file_altered", run_id)]


def test_a_row_that_names_a_place_elsewhere_is_not_followed(
    ntrader: Command, sql: Sql, home: Path
) -> None:
    run_id = saved_run(ntrader)
    (home / "secret").write_text("x")
    sql("UPDATE artifacts SET storage_path = '../secret' WHERE filename = 'fills.parquet'")

    found = ntrader("db", "check", "--json")

    assert ("file_missing", run_id) in problems(found)


def test_a_digest_that_does_not_fit_the_files_is_found(ntrader: Command, sql: Sql) -> None:
    run_id = saved_run(ntrader)
    sql(f"UPDATE backtest_runs SET result_digest = '{'0' * 64}'")

    assert problems(ntrader("db", "check", "--json")) == [("result_digest", run_id)]


def test_files_that_were_swapped_with_their_rows_do_not_pass(
    ntrader: Command, sql: Sql, home: Path
) -> None:
    """Whoever alters a file and the row that vouches for it is found by the digest."""
    first, second = saved_run(ntrader), saved_run(ntrader, "-p", "fast_period=5")
    shutil.copy(file_of(home, second, "fills.parquet"), file_of(home, first, "fills.parquet"))
    sql(
        "UPDATE artifacts SET sha256 = other.sha256, size_bytes = other.size_bytes"
        f" FROM artifacts AS other WHERE artifacts.run_id = '{first}'"
        f" AND other.run_id = '{second}' AND artifacts.filename = 'fills.parquet'"
        " AND other.filename = 'fills.parquet'"
    )

    assert problems(ntrader("db", "check", "--json")) == [("result_digest", first)]


def test_a_configuration_that_does_not_fit_its_fingerprint_is_found(
    ntrader: Command, sql: Sql
) -> None:
    run_id = saved_run(ntrader)
    sql(
        "UPDATE backtest_runs SET config_snapshot ="
        " jsonb_set(config_snapshot, '{config,strategy,parameters,fast_period}', '11')"
    )

    assert problems(ntrader("db", "check", "--json")) == [("fingerprint", run_id)]


def test_a_successful_run_without_metrics_is_found(ntrader: Command, sql: Sql) -> None:
    run_id = saved_run(ntrader)
    sql("DELETE FROM performance_metrics")

    assert problems(ntrader("db", "check", "--json")) == [("metrics", run_id)]


def test_a_kept_source_that_was_changed_is_found(
    ntrader: Command, sql: Sql, tmp_path: Path
) -> None:
    strategy = tmp_path / "flat.py"
    strategy.write_text(
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "class Flat(LongFlatStrategy):\n"
        "    def prepare(self): pass\n"
        "    def on_bar(self, bar): pass\n"
    )
    ntrader("run", "--strategy", f"{strategy}:Flat")
    sql('UPDATE strategy_sources SET files = \'{"flat.py": "import os"}\'')

    assert problems(ntrader("db", "check", "--json")) == [("source_altered", None)]


def test_altered_and_missing_data_are_told_apart(ntrader: Command, home: Path) -> None:
    saved_run(ntrader)
    ntrader("run", "--symbol", "GOOG", "--strategy", "sma")
    datasets = ntrader("data", "list", "--json").json["datasets"]
    hashes = {dataset["symbol"]: dataset["content_hash"] for dataset in datasets}
    shutil.rmtree(home / "datasets" / hashes["IBM"])
    bars = next((home / "datasets" / hashes["GOOG"]).glob("data/bar/*/*.parquet"))
    content = bytearray(bars.read_bytes())
    content[len(content) // 2] ^= 1
    bars.write_bytes(content)

    found = ntrader("db", "check", "--json").json

    assert found["counts"] == {"dataset_altered": 1, "dataset_missing": 1}
    assert all("ntrader data import" in problem["hint"] for problem in found["problems"])


def test_data_that_an_import_left_out_are_no_problem(
    ntrader: Command, postgres: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ntrader("export", saved_run(ntrader), tmp_path / "run.zip")
    with postgres.migrated_database() as url:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("NTRADER_HOME", str(tmp_path / "elsewhere"))
        ntrader("import", tmp_path / "run.zip")

        found = ntrader("db", "check", "--json")

    assert found.exit_code == 0
    assert found.json["absent_datasets"] == 1


def test_files_without_a_row_are_set_aside_and_not_removed(ntrader: Command, home: Path) -> None:
    run_id, ghost = saved_run(ntrader), str(uuid4())
    stray = file_of(home, ghost, "fills.parquet")
    stray.parent.mkdir(parents=True)
    stray.write_text("of nobody")
    ghost_data = home / "datasets" / ("a" * 64)
    (ghost_data / "data").mkdir(parents=True)
    make_old(home / "artifacts")
    make_old(ghost_data)

    found = ntrader("db", "check", "--json")
    repaired = ntrader("db", "check", "--repair")
    after = ntrader("db", "check", "--json")

    assert found.exit_code == 1
    assert problems(found) == [("file_without_row", ghost), ("dataset_without_row", None)]
    assert repaired.exit_code == 0
    assert "Set 2 without a row aside" in repaired.stdout
    assert after.json["clean"] is True
    assert [path.read_text() for path in (home / "lost+found").rglob("fills.parquet")] == [
        "of nobody"
    ]
    assert not stray.parent.exists()
    assert file_of(home, run_id, "fills.parquet").exists()


def test_a_file_that_was_just_written_may_be_of_a_run_that_is_being_saved(
    ntrader: Command, home: Path
) -> None:
    saved_run(ntrader)
    stray = file_of(home, str(uuid4()), "fills.parquet")
    stray.parent.mkdir(parents=True)
    stray.write_text("soon")

    repaired = ntrader("db", "check", "--repair", "--json")

    assert repaired.exit_code == 0
    assert repaired.json["recent_files"] == 1
    assert stray.exists()


def test_files_of_a_run_that_is_in_the_journal_are_left(ntrader: Command, home: Path) -> None:
    """However old they are: a living process holds its entry."""
    saved_run(ntrader)
    busy = str(uuid4())
    file = file_of(home, busy, "fills.parquet")
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    make_old(home / "artifacts")
    entry = home / "journal" / f"{busy}.entry"
    entry.parent.mkdir(exist_ok=True)
    with entry.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        repaired = ntrader("db", "check", "--repair", "--json")

    assert repaired.exit_code == 0
    assert repaired.json["journal"]["running"] == 1
    assert file.exists()


def test_an_entry_of_the_journal_that_cannot_be_saved_is_a_problem(
    ntrader: Command, home: Path
) -> None:
    saved_run(ntrader)
    lost = str(uuid4())
    (home / "journal").mkdir(exist_ok=True)
    (home / "journal" / f"{lost}.entry").write_text("half written")

    found = ntrader("db", "check", "--json")

    assert found.exit_code == 1
    assert problems(found) == [("journal", lost)]


def test_nothing_is_set_aside_while_a_restore_writes_its_files(
    ntrader: Command, home: Path
) -> None:
    saved_run(ntrader)
    stray = file_of(home, str(uuid4()), "fills.parquet")
    stray.parent.mkdir(parents=True)
    stray.write_text("restored long before its row")
    make_old(stray.parent)

    with filling(home):
        repaired = ntrader("db", "check", "--repair", "--json")

    assert repaired.exit_code == 1
    assert repaired.json["counts"] == {"file_without_row": 1}
    assert stray.exists()


def test_files_of_another_database_with_the_same_home_are_left(
    ntrader: Command, home: Path, postgres: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = saved_run(ntrader)
    make_old(home / "artifacts")
    make_old(home / "datasets")
    with postgres.migrated_database() as url, monkeypatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        other = ntrader("db", "check", "--repair", "--json")

    assert other.exit_code == 0
    assert other.json["other_files"] == 4
    assert file_of(home, run_id, "fills.parquet").exists()
    assert ntrader("db", "check").exit_code == 0


def test_some_runs_alone_can_be_checked(ntrader: Command, home: Path) -> None:
    damaged, sound = saved_run(ntrader), saved_run(ntrader, "-p", "fast_period=5")
    file_of(home, damaged, "fills.parquet").unlink()

    assert ntrader("db", "check", "--run", sound).exit_code == 0
    assert problems(ntrader("db", "check", "--run", damaged, "--json")) == [
        ("file_missing", damaged)
    ]
    assert ntrader("db", "check", "--run", uuid4()).exit_code == 3
    assert ntrader("db", "check", "--run", sound, "--repair").exit_code == 2


def test_a_check_beside_running_backtests_finds_nothing(
    ntrader: Command, home: Path, database_url: str
) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url}
    saved_run(ntrader)
    running = [start(*SHORT, env=environment) for _ in range(3)]
    found = []
    while any(process.poll() is None for process in running):
        found.append(ntrader("db", "check", "--repair", "--json"))
    assert [ended(process).exit_code for process in running] == [0, 0, 0]

    assert found
    assert [each.json["problems"] for each in found if each.exit_code != 0] == []
    assert ntrader("db", "check", "--json").json["checked"]["runs"] == 4
