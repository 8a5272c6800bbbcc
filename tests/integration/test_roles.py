"""A shared server: what its owner, its writers and its readers may do, over TCP."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from ntrader.cli.main import main
from ntrader.storage.migrations import VERSION_TABLE
from support.commands import Result, run_here
from support.database import Background, execute
from support.homes import temporary_home
from support.tcp_server import start_tcp_server

ROLES = Path(__file__).parents[2] / "specs" / "roles.sql"
PASSWORD = "s3cret-p4ss"

# What a writer may do to a table beyond reading it, which a reader may too.
WRITERS: dict[str, set[str]] = {
    "backtest_runs": {"INSERT", "DELETE"},
    "performance_metrics": {"INSERT"},
    "artifacts": {"INSERT", "DELETE"},
    "events": {"INSERT"},
    "datasets": {"INSERT", "DELETE"},
    "strategies": {"INSERT", "UPDATE"},
    "strategy_sources": {"INSERT"},
    "run_tags": {"INSERT", "DELETE"},
    "run_notes": {"INSERT", "UPDATE", "DELETE"},
    # Kept by triggers, which have the owner's rights.
    # Kept by the database itself, with its owner's rights.
    "run_statistics": set(),
    "submissions": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    VERSION_TABLE: set(),
}
FOR_WRITERS_ALONE = {"idempotency_keys": {"SELECT", "INSERT", "UPDATE", "DELETE"}}
FOR_THE_SERVICE_ALONE = {
    "api_keys": {"SELECT", "INSERT", "UPDATE"},
    "webhooks": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "webhook_deliveries": {"SELECT", "INSERT", "UPDATE", "DELETE"},
}

type As = Callable[..., Result]


@dataclass(frozen=True)
class Shared:
    """A server with the roles of the file, and a login in each."""

    superuser: str
    home: Path

    def url(self, login: str) -> str:
        address = urlsplit(self.superuser).netloc.rpartition("@")[2]
        return f"postgresql://{login}:{PASSWORD}@{address}/backtests"


@pytest.fixture(scope="module")
def shared(background: Background) -> Iterator[Shared]:
    with temporary_home() as directory, temporary_home() as home:
        server = start_tcp_server(directory)
        try:
            superuser = server.url.rpartition("/")[0] + "/backtests"
            shared = Shared(superuser, home)
            background.run(
                execute(
                    server.url,
                    f"CREATE ROLE ntrader_owner LOGIN PASSWORD '{PASSWORD}'",
                    "CREATE DATABASE backtests OWNER ntrader_owner",
                )
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("NTRADER_HOME", str(home))
                patch.setenv("DATABASE_URL", shared.url("ntrader_owner"))
                assert main(["db", "upgrade"]) == 0
            # Twice, as after an upgrade.
            background.run(execute(superuser, ROLES.read_text(), ROLES.read_text()))
            background.run(
                execute(
                    superuser,
                    f"CREATE ROLE alice LOGIN PASSWORD '{PASSWORD}' IN ROLE ntrader_writer",
                    f"CREATE ROLE dashboard LOGIN PASSWORD '{PASSWORD}' IN ROLE ntrader_reader",
                    f"CREATE ROLE service LOGIN PASSWORD '{PASSWORD}' IN ROLE ntrader_service",
                    f"CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'",
                )
            )
            yield shared
        finally:
            server.stop()


@pytest.fixture
def as_(shared: Shared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> As:
    """Run a command with a login of the shared server, in the home of the team."""
    monkeypatch.setenv("NTRADER_HOME", str(shared.home))

    def run(login: str, *arguments: object) -> Result:
        monkeypatch.setenv("DATABASE_URL", shared.url(login))
        done = run_here(arguments, capsys)
        assert PASSWORD not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def refusal(shared: Shared, background: Background) -> Callable[[str, str], str]:
    """Return why the server refuses a statement of a login."""

    def refused(login: str, statement: str) -> str:
        with pytest.raises(asyncpg.PostgresError) as caught:
            background.run(execute(shared.url(login), statement))
        return str(caught.value)

    return refused


def test_a_writer_runs_saves_tags_notes_compares_reproduces_and_deletes(as_: As) -> None:
    for arguments in (
        ("run", "--strategy", "sma", "--tag", "first", "--note", "One."),
        ("run", "--strategy", "sma", "-p", "fast_period=5"),
        ("tag", "@", "baseline"),
        ("tag", "@", "baseline", "--remove"),
        ("note", "@", "Another."),
        ("note", "@", "Another again."),
        ("note", "@", "--clear"),
        ("compare", "@~1", "@"),
        ("reproduce", "@"),
        ("delete", "@", "@~1", "--yes"),
        ("db", "status"),
    ):
        done = as_("alice", *arguments)
        assert done.exit_code == 0, (arguments, done.stderr)


def test_keys_are_the_service_s_alone(as_: As) -> None:
    assert as_("service", "keys", "create", "desk").exit_code == 0
    assert as_("service", "keys", "revoke", "desk").exit_code == 0
    for login in ("alice", "dashboard"):
        refused = as_(login, "keys", "list")
        assert refused.exit_code == 1
        assert "permission denied" in refused.stderr


def test_a_writer_saves_a_strategy_of_a_file_and_its_next_version(as_: As, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    for period in (10, 20):
        file.write_text(
            "from ntrader.engine.strategies import LongFlatStrategy\n"
            "class Own(LongFlatStrategy):\n"
            '    """Never trades."""\n'
            f"    period = {period}\n"
            "    def prepare(self): pass\n"
            "    def on_bar(self, bar): pass\n"
        )
        done = as_("alice", "run", "--strategy", f"{file}:Own")
        assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE backtest_runs SET data_source = 'other'",
        "UPDATE performance_metrics SET sharpe_ratio = 9",
        "UPDATE artifacts SET sha256 = repeat('0', 64)",
        "UPDATE events SET payload = '{}'",
        "DELETE FROM events",
        "DELETE FROM performance_metrics",
        "TRUNCATE backtest_runs CASCADE",
        f"DELETE FROM {VERSION_TABLE}",
        "ALTER TABLE backtest_runs DISABLE TRIGGER ALL",
        "ALTER TABLE backtest_runs ADD COLUMN more int",
        "DROP TABLE run_tags",
        "CREATE TABLE mine (id int)",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION ntrader_refuse_update() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NEW; END'",
    ],
)
def test_a_writer_changes_neither_a_saved_run_nor_the_schema(
    refusal: Callable[[str, str], str], statement: str
) -> None:
    assert re.search("permission denied|must be owner", refusal("alice", statement))


def test_a_reader_reads(as_: As) -> None:
    assert as_("alice", "run", "--strategy", "sma", "--tag", "kept").exit_code == 0
    assert as_("alice", "run", "--strategy", "rsi").exit_code == 0
    for arguments in (
        ("history",),
        ("history", "--tag", "kept", "--json"),
        ("history", "--sort", "sharpe_ratio", "--csv"),
        ("show", "@"),
        ("show", "@", "--trades"),
        ("show", "@", "--config"),
        ("compare", "@", "@~1"),
        ("data", "list"),
        ("db", "status"),
    ):
        done = as_("dashboard", *arguments)
        assert done.exit_code == 0, (arguments, done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--strategy", "sma"),
        ("run", "--strategy", "sma", "--symbol", "GOOG"),
        ("reproduce", "@"),
        ("tag", "@", "mine"),
        ("note", "@", "Mine."),
        ("delete", "@", "--yes"),
    ],
    ids=" ".join,
)
def test_a_reader_is_refused_what_would_write(as_: As, arguments: tuple[str, ...]) -> None:
    assert as_("alice", "run", "--strategy", "sma").exit_code == 0
    before = as_("dashboard", "history", "--json").json

    done = as_("dashboard", *arguments)

    assert done.exit_code == 1
    assert "permission denied" in done.stderr
    assert "needs more rights" in done.stderr
    assert "Traceback" not in done.stderr
    assert as_("dashboard", "history", "--json").json == before


def test_a_reader_is_refused_before_the_engine_starts(as_: As, tmp_path: Path) -> None:
    assert as_("alice", "run", "--strategy", "sma").exit_code == 0
    started = tmp_path / "started"
    file = tmp_path / "own.py"
    file.write_text(
        "from ntrader.engine.strategies import LongFlatStrategy\n"
        "class Own(LongFlatStrategy):\n"
        "    def prepare(self):\n"
        f"        open({str(started)!r}, 'w').close()\n"
        "    def on_bar(self, bar): pass\n"
    )
    done = as_("dashboard", "run", "--strategy", f"{file}:Own")
    assert (done.exit_code, done.stdout) == (1, "")
    assert not started.exists()


def test_a_reader_runs_what_is_not_saved(as_: As) -> None:
    assert as_("alice", "run", "--strategy", "sma").exit_code == 0
    assert as_("dashboard", "run", "--strategy", "sma", "--no-save").exit_code == 0


def test_who_is_in_no_group_is_refused(as_: As) -> None:
    done = as_("stranger", "history")
    assert done.exit_code in (1, 4)
    assert "permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_each_table_has_the_rights_that_are_meant(shared: Shared, background: Background) -> None:
    """A table that a migration adds must be given its rights here and in the file."""

    async def granted(group: str) -> dict[str, set[str]]:
        connection = await asyncpg.connect(shared.superuser)
        try:
            tables = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
            found = await connection.fetch(
                "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
                " WHERE grantee = $1 AND table_schema = 'public' AND table_name <> 'runs'",
                group,
            )
        finally:
            await connection.close()
        rights: dict[str, set[str]] = {name: set() for (name,) in tables}
        for table, privilege in found:
            rights[table].add(privilege)
        return rights

    for_readers: dict[str, set[str]] = {name: {"SELECT"} for name in WRITERS}
    nothing: dict[str, set[str]] = {name: set() for name in FOR_THE_SERVICE_ALONE}
    hidden = {name: set[str]() for name in FOR_WRITERS_ALONE} | nothing
    others: dict[str, set[str]] = {name: set() for name in WRITERS | FOR_WRITERS_ALONE}
    assert background.run(granted("ntrader_service")) == others | FOR_THE_SERVICE_ALONE
    assert background.run(granted("ntrader_writer")) == WRITERS | FOR_WRITERS_ALONE | nothing
    assert background.run(granted("ntrader_reader")) == for_readers | hidden
