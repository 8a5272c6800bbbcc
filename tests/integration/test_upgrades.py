"""Stores that earlier versions made: upgraded, read, checked and reproduced by today's."""

import asyncio
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest

from ntrader.storage.migrations import HEAD, revisions
from support.commands import Command, Result, run_here
from support.database import execute
from support.old_stores import ASSETS, load_old_store
from support.processes import start

PROCESSES = 8

# Counts what migrates: each change of the version is one row.
_COUNTED = """
    CREATE TABLE version_log (was text, became text);
    CREATE FUNCTION log_version() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO version_log VALUES (OLD.version_num, NEW.version_num); RETURN NEW; END
    $$;
    CREATE TRIGGER version_logged AFTER UPDATE ON ntrader_alembic_version
        FOR EACH ROW EXECUTE FUNCTION log_version();
"""

type Load = Callable[[str], None]


@pytest.fixture
def ntrader(
    home: Path,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command in this process, on an empty database."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)

    def run(*arguments: object) -> Result:
        return run_here(arguments, capsys)

    return run


@pytest.fixture
def load(home: Path, empty_database_url: str) -> Load:
    """Make the store of a revision, as its program left it."""

    return lambda revision: asyncio.run(load_old_store(empty_database_url, home, revision))


def fetched(url: str, query: str) -> list[tuple[str, ...]]:
    async def fetch() -> list[tuple[str, ...]]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_every_revision_but_the_newest_has_a_store() -> None:
    """Who adds a revision keeps a store of the one before it; see upgrade_assets/README.md."""
    assert set(revisions()[:-1]) <= {path.stem for path in ASSETS.glob("*.tar")}


@pytest.mark.parametrize("revision", sorted(path.stem for path in ASSETS.glob("*.tar")))
def test_a_store_of_an_earlier_version_is_upgraded_and_whole(
    ntrader: Command, load: Load, empty_database_url: str, revision: str
) -> None:
    load(revision)
    before = fetched(empty_database_url, "SELECT run_id::text FROM backtest_runs ORDER BY id DESC")

    upgraded = ntrader("db", "upgrade", "--json")

    assert upgraded.json == {"before": revision, "after": HEAD}
    runs = ntrader("history", "--json").json["runs"]
    assert [(run["run_id"],) for run in runs] == before
    assert len(runs) >= 5
    assert sorted({run["status"] for run in runs}) == ["failed", "success"]
    for run in runs:
        shown = ntrader("show", run["run_id"], "--json")
        assert shown.exit_code == 0, shown.stdout
        assert (shown.json["fills"] is None) is (run["status"] == "failed")
    assert ntrader("db", "check", "--json").json["problems"] == []


@pytest.mark.parametrize("revision", sorted(path.stem for path in ASSETS.glob("*.tar")))
def test_runs_of_an_earlier_version_reproduce(ntrader: Command, load: Load, revision: str) -> None:
    load(revision)
    original = ntrader("history", "--strategy", "sma", "--json").json["runs"][-1]

    reproduced = ntrader("reproduce", original["run_id"], "--json")

    assert reproduced.exit_code == 0, reproduced.stdout
    assert reproduced.json["verdict"] == "identical"
    newest = ntrader("history", "--limit", "1", "--json").json["runs"][0]
    assert newest["reproduced_from"] == original["run_id"]


@pytest.mark.parametrize("revision", sorted(path.stem for path in ASSETS.glob("*.tar")))
def test_a_dump_of_an_earlier_version_restores(ntrader: Command, revision: str) -> None:
    """Into a database without tables, as on a new machine."""
    restored = ntrader("db", "restore", ASSETS / f"{revision}.tar", "--json")

    assert restored.exit_code == 0, restored.stdout
    assert (restored.json["revision"], restored.json["schema"]) == (revision, HEAD)
    assert restored.json["check"]["checked"]["runs"] == restored.json["rows"]["backtest_runs"]
    assert ntrader("db", "upgrade", "--json").json == {"before": HEAD, "after": HEAD}


def test_a_dump_of_an_earlier_version_restores_into_an_empty_store_of_today(
    ntrader: Command,
) -> None:
    ntrader("db", "upgrade")

    restored = ntrader("db", "restore", ASSETS / "0001.tar", "--json")

    assert restored.exit_code == 0, restored.stdout
    assert restored.json["schema"] == HEAD


def test_what_was_said_of_runs_survives_the_upgrade(ntrader: Command, load: Load) -> None:
    load("0002")

    tagged = ntrader("history", "--tag", "größer", "--json").json["runs"]

    assert [(run["tags"], run["note"]) for run in tagged] == [
        (["größer", "upgraded"], "kept-beside")
    ]


def test_processes_that_start_at_once_after_an_upgrade_migrate_once(
    load: Load, empty_database_url: str, home: Path
) -> None:
    load("0001")
    asyncio.run(execute(empty_database_url, _COUNTED))
    environment = {**os.environ, "DATABASE_URL": empty_database_url}

    processes = [start("history", "--json", env=environment) for _ in range(PROCESSES)]
    outputs = [process.communicate(timeout=300) for process in processes]

    assert [process.returncode for process in processes] == [0] * PROCESSES, outputs
    assert len({output for output, _ in outputs}) == 1
    steps = list(pairwise(revisions()))
    assert fetched(empty_database_url, "SELECT was, became FROM version_log") == steps
