"""A database that is there and does not do what it is asked: who is in the way, and what then."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit

import asyncpg
import pytest

from ntrader.storage.embedded.accounts import unprivileged_account
from ntrader.storage.migrations import HEAD, VERSION_TABLE
from support.commands import Command
from support.complaints import complaint_of, waiting
from support.database import Background, TestServer, execute

pytestmark = pytest.mark.slow

RUN = ("run", "--strategy", "sma")

type Holding = Callable[..., AbstractContextManager[asyncpg.Connection]]


@pytest.fixture
def holding(background: Background) -> Holding:
    """Hold what a statement takes, in a transaction of somebody else's."""

    @contextmanager
    def hold(url: str, statement: str) -> Iterator[asyncpg.Connection]:
        other = background.run(asyncpg.connect(url))
        background.run(other.execute("BEGIN"))
        background.run(other.execute(statement))
        try:
            yield other
        finally:
            background.run(other.close())

    return hold


LOCKED = "LOCK TABLE backtest_runs IN ACCESS EXCLUSIVE MODE"


@pytest.mark.parametrize("command", [RUN, ("history",), ("show", "@")], ids=" ".join)
def test_a_table_that_somebody_locks(
    ntrader_on: Command, home: Path, database_url: str, holding: Holding, command: tuple[str, ...]
) -> None:
    with holding(database_url, LOCKED):
        said = complaint_of(ntrader_on(f"{database_url}&lock_timeout=200ms", *command), 4)

    assert "lock timeout" in said
    assert "Somebody else holds a lock" in said
    assert waiting(home) == []


def test_a_table_that_is_locked_when_the_run_ends(
    ntrader_on: Command, database_url: str, holding: Holding
) -> None:
    url = f"{database_url}&lock_timeout=200ms"
    with holding(database_url, "LOCK TABLE events IN ACCESS EXCLUSIVE MODE"):
        ended = ntrader_on(url, *RUN, "--json")

    assert ended.exit_code == 4
    assert (ended.json["status"], ended.json["saved"]) == ("success", False)
    assert ended.json["save_error"]["code"] == "database_busy"
    listed = ntrader_on(url, "history", "--json").json["runs"]
    assert [run["run_id"] for run in listed] == [ended.json["run_id"]]


def test_somebody_else_migrates_for_too_long(
    ntrader_on: Command, home: Path, empty_database_url: str, holding: Holding
) -> None:
    key = int.from_bytes(b"ntrader")
    with holding(empty_database_url, f"SELECT pg_advisory_xact_lock({key})"):
        said = complaint_of(ntrader_on(f"{empty_database_url}&lock_timeout=50ms", *RUN), 4)

    assert "a migration" in said
    assert waiting(home) == []
    assert ntrader_on(empty_database_url, "history").exit_code == 0


def test_a_statement_that_takes_too_long(
    ntrader_on: Command, home: Path, database_url: str, holding: Holding
) -> None:
    url = f"{database_url}&lock_timeout=0&statement_timeout=200ms"
    with holding(database_url, LOCKED):
        said = complaint_of(ntrader_on(url, *RUN), 4)

    assert "statement timeout" in said
    assert "statement_timeout" in said.partition("\n")[2]
    assert waiting(home) == []


async def signal_whoever_waits(url: str, function: str) -> None:
    """Wait until a statement of ntrader waits for a lock, and call `function` with its pid."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(60):
            while not await connection.fetch(
                f"SELECT {function}(pid) FROM pg_stat_activity WHERE application_name = 'ntrader'"
                " AND datname = current_database() AND wait_event_type = 'Lock'"
            ):
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


def test_a_statement_that_an_administrator_cancels(
    ntrader_on: Command, database_url: str, holding: Holding, background: Background
) -> None:
    with holding(database_url, LOCKED):
        cancelling = background.start(signal_whoever_waits(database_url, "pg_cancel_backend"))
        said = complaint_of(ntrader_on(f"{database_url}&lock_timeout=60s", "history"), 4)
        cancelling.result()

    assert "user request" in said
    assert "somebody cancelled it" in said


def test_a_session_that_an_administrator_ends_is_made_anew(
    ntrader_on: Command, database_url: str, holding: Holding, background: Background
) -> None:
    async def end_it(other: asyncpg.Connection) -> None:
        await signal_whoever_waits(database_url, "pg_terminate_backend")
        await other.execute("ROLLBACK")

    with holding(database_url, LOCKED) as other:
        ending: Future[None] = background.start(end_it(other))
        listed = ntrader_on(f"{database_url}&lock_timeout=60s", "history", "--json")
        ending.result()

    assert listed.json == {"runs": [], "next": None}


@pytest.fixture
def read_only(database_url: str, background: Background) -> str:
    """The URL of a database in which nothing may be written."""
    name = urlsplit(database_url).path[1:]
    background.run(
        execute(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    )
    return database_url


def test_a_read_only_database(ntrader_on: Command, home: Path, read_only: str) -> None:
    said = complaint_of(ntrader_on(read_only, *RUN), 1)

    assert "read-only" in said
    assert "primary" in said
    assert waiting(home) == []


def test_a_read_only_database_can_be_read(ntrader_on: Command, read_only: str) -> None:
    assert ntrader_on(read_only, "history", "--json").json == {"runs": [], "next": None}


def test_a_read_only_database_without_our_tables(
    ntrader_on: Command, home: Path, empty_database_url: str, background: Background
) -> None:
    name = urlsplit(empty_database_url).path[1:]
    alter = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
    background.run(execute(empty_database_url, alter))

    said = complaint_of(ntrader_on(empty_database_url, *RUN), 1)

    assert "read-only" in said
    assert waiting(home) == []


def test_a_user_without_rights(
    ntrader_on: Command,
    home: Path,
    database_url: str,
    postgres: TestServer,
    background: Background,
) -> None:
    role = f"{postgres.prefix}_stranger"
    background.run(execute(database_url, f"CREATE ROLE {role} LOGIN"))
    url = f"postgresql://{role}@{database_url.rpartition('@')[2]}"
    try:
        refused = [ntrader_on(url, *command) for command in (RUN, ("history",))]
    finally:
        background.run(execute(database_url, f"DROP ROLE {role}"))

    for each in refused:
        said = complaint_of(each, 1)
        assert "permission denied" in said
        assert "more rights" in said
    assert waiting(home) == []


def test_a_schema_that_is_newer_than_the_program(
    ntrader_on: Command, home: Path, database_url: str, background: Background
) -> None:
    newer = f"UPDATE {VERSION_TABLE} SET version_num = '9999'"
    background.run(execute(database_url, newer))

    for command in (RUN, ("history",), ("db", "upgrade")):
        said = complaint_of(ntrader_on(database_url, *command), 1)
        assert "does not know" in said
        assert "upgrade this one" in said
    assert ntrader_on(database_url, "db", "status", "--json").json["schema"] == "9999"
    assert waiting(home) == []


def test_a_schema_whose_version_says_older(
    ntrader_on: Command, home: Path, database_url: str, background: Background
) -> None:
    older = f"UPDATE {VERSION_TABLE} SET version_num = '0001'"
    background.run(execute(database_url, older))

    said = complaint_of(ntrader_on(database_url, *RUN), 1)

    assert "not that of version 0001" in said
    assert "by half" in said
    assert ntrader_on(database_url, "db", "status", "--json").json["schema"] == "0001"
    assert waiting(home) == []


def test_a_schema_that_lacks_a_table(
    ntrader_on: Command, home: Path, database_url: str, background: Background
) -> None:
    background.run(execute(database_url, "DROP TABLE backtest_runs CASCADE"))

    said = complaint_of(ntrader_on(database_url, *RUN), 1)

    assert '"backtest_runs" does not exist' in said
    assert "restore a backup" in said
    assert waiting(home) == []


def test_a_migration_that_was_interrupted_left_nothing_and_is_done_again(
    ntrader_on: Command, empty_database_url: str, background: Background
) -> None:
    # As a process that ends within a migration leaves it: begun, never committed.
    async def begin_and_end() -> None:
        other = await asyncpg.connect(empty_database_url)
        await other.execute("BEGIN")
        await other.execute("CREATE TABLE strategies (id int)")
        await other.execute(f"CREATE TABLE {VERSION_TABLE} (version_num text)")
        other.terminate()

    background.run(begin_and_end())

    assert ntrader_on(empty_database_url, *RUN, "--json").exit_code == 0
    assert ntrader_on(empty_database_url, "db", "status", "--json").json["schema"] == HEAD


@contextmanager
def disk(megabytes: int) -> Iterator[Path]:
    """Give a small disk that belongs to the account of root's servers."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    account = unprivileged_account()
    place = Path(mkdtemp(prefix="ntrader-test-", dir="/tmp"))
    options = f"size={megabytes}m,uid={account.uid},gid={account.gid},mode=755"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        place.rmdir()
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


@pytest.fixture
def small_disk(postgres: TestServer, database_url: str, background: Background) -> Iterator[Path]:
    """A disk of 24 MB that holds the test's database."""
    name, space = urlsplit(database_url).path[1:], f"{postgres.prefix}_space"
    elsewhere = postgres.url_of("postgres")
    with disk(24) as place:
        background.run(
            execute(
                elsewhere,
                f"CREATE TABLESPACE {space} LOCATION '{place}'",
                f"ALTER DATABASE {name} SET TABLESPACE {space}",
            )
        )
        yield place
        background.run(
            execute(
                elsewhere,
                f"ALTER DATABASE {name} SET TABLESPACE pg_default",
                f"DROP TABLESPACE {space}",
            )
        )


def test_a_disk_that_is_full_when_the_run_ends(
    ntrader_on: Command, database_url: str, small_disk: Path, background: Background
) -> None:
    assert ntrader_on(database_url, *RUN).exit_code == 0
    # A row for each page: the next run needs another one.
    background.run(execute(database_url, "ALTER TABLE backtest_runs SET (fillfactor = 10)"))
    filling = small_disk / "filling"
    filling.write_bytes(bytes(shutil.disk_usage(small_disk).free))

    ended = ntrader_on(database_url, *RUN, "--json")

    assert ended.exit_code == 1
    assert (ended.json["status"], ended.json["saved"]) == ("success", False)
    assert "No space left on device" in ended.json["save_error"]["message"]
    assert "Free some space" in ended.json["save_error"]["hint"]
    filling.unlink()
    listed = ntrader_on(database_url, "history", "--json").json["runs"]
    assert listed[0]["run_id"] == ended.json["run_id"]
    assert len(listed) == 2


def test_a_disk_without_room_for_the_embedded_server(ntrader_process: Command) -> None:
    with disk(20) as place:
        home = {"NTRADER_HOME": str(place)}
        said = complaint_of(ntrader_process(*RUN, env=home), 4)
        subprocess.run(["mount", "-o", "remount,size=400m", place], check=True)
        run = ntrader_process(*RUN, "--json", env=home)

    assert "could not be created" in said
    assert "No space left on device" in said
    assert "Set NTRADER_HOME" in said
    assert (run.exit_code, run.json["saved"]) == (0, True)
