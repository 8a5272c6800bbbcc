"""Reaching the database, and what is said where that fails."""

import asyncio
import socket
import traceback
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ntrader.errors import (
    ConflictError,
    DatabaseError,
    DatabaseUnavailableError,
    InvalidConfigError,
    NotFoundError,
    SchemaError,
)
from ntrader.storage.database import Database
from ntrader.storage.transactions import Transaction
from ntrader.storage.urls import DatabaseUrl
from support.database import TestServer, execute

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("given", "dsn"),
    [
        ("postgres://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+asyncpg://u:p@h:6000/d", "postgresql://u:p@h:6000/d"),
        ("postgresql+psycopg2://h/d", "postgresql://h/d"),
        ("POSTGRESQL://h/d", "postgresql://h/d"),
        ("postgresql:///d", "postgresql:///d"),
        ("  postgresql://h/d\n", "postgresql://h/d"),
        ("postgresql://u:p@[::1]:5432/d", "postgresql://u:p@[::1]:5432/d"),
        ("postgresql://a:1,b:2/d", "postgresql://a:1,b:2/d"),
        (
            "postgresql://u@/d?host=/run/my%20db&port=1",
            "postgresql://u@/d?host=/run/my%20db&port=1",
        ),
        ("postgresql://u:p%40s%2Fs@h/d", "postgresql://u:p%40s%2Fs@h/d"),
        ("postgresql://u:p@s@h/d", "postgresql://u:p%40s@h/d"),
        ("postgresql://h/d?sslmode=require", "postgresql://h/d?sslmode=require"),
        ("postgresql+asyncpg://h/d?ssl=true", "postgresql://h/d?sslmode=require"),
        ("postgresql+asyncpg://h/d?ssl=verify-full", "postgresql://h/d?sslmode=verify-full"),
        ("postgresql://h/d?schema=bt", "postgresql://h/d?search_path=bt"),
        (
            "postgresql://h/d?options=-c%20work_mem%3D8MB",
            "postgresql://h/d?options=-c%20work_mem%3D8MB",
        ),
        ("postgresql://h/d?channel_binding=require&pgbouncer=true", "postgresql://h/d"),
        ("postgresql://h/d?connect_timeout=3", "postgresql://h/d"),
    ],
)
def test_a_url_is_read_in_every_common_spelling(given: Any, dsn: str) -> None:
    assert DatabaseUrl.parse(given).dsn == dsn


@pytest.mark.parametrize(
    ("query", "connect", "command"),
    [("", 10, 75), ("?connect_timeout=3", 3, 75), ("?command_timeout=0.5", 10, 0.5)],
)
def test_a_url_says_how_long_things_may_take(query: str, connect: float, command: float) -> None:
    url = DatabaseUrl.parse(f"postgresql://h/d{query}")
    assert (url.connect_seconds, url.command_seconds) == (connect, command)
    assert url.dsn == "postgresql://h/d"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ("10s", "1min")),
        ("&lock_timeout=3s", ("3s", "1min")),
        ("&options=-c%20statement_timeout%3D2min", ("10s", "2min")),
    ],
)
async def test_settings_of_the_url_win_over_ours(
    database_url: str, query: str, shown: tuple[str, str]
) -> None:
    async with Database.open(f"{database_url}{query}") as database:
        assert await first(database, "SHOW lock_timeout") == shown[0]
        assert await first(database, "SHOW statement_timeout") == shown[1]


@pytest.mark.parametrize(
    "spelled", [SECRET, "p%40ss%2Fword", "p@ss/word", "p%40ss/word", "pa%20ss", "pa ss"]
)
def test_a_text_is_censored_of_the_password_in_every_spelling(spelled: str) -> None:
    for password in (SECRET, "p%40ss%2Fword", "pa%20ss"):
        url = DatabaseUrl.parse(f"postgresql://u:{password}@h/d")
        assert password not in url.censored(f"of {url.dsn}")
    urls = [f"postgresql://u:{SECRET}@h/d", "postgresql://u:p%40ss%2Fword@h/d?sslpassword=pa%20ss"]
    text = f"KeyError: {spelled!r}"
    for each in urls:
        text = DatabaseUrl.parse(each).censored(text)
    assert text == "KeyError: '***'"


def test_a_url_without_a_password_censors_nothing() -> None:
    assert DatabaseUrl.parse("postgresql://u@h/d").censored("postgres at h") == "postgres at h"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "runs.db",
        "sqlite:///runs.db",
        "mysql://u:s3cr3t@h/d",
        "host=h password=s3cr3t",
        "postgresql://u:s3cr3t#1@h/d",
        "postgresql://u:s3cr3t[@h/d",
        "postgresql://u:s3cr3t@h/d?connect_timeout=soon",
        "postgresql://u:s3cr3t@h/d?connect_timeout=-1",
        "postgresql://u:s3cr3t@h/d?command_timeout=inf",
    ],
)
def test_what_is_no_url_is_refused_without_the_password(given: Any) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        DatabaseUrl.parse(given)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_url_is_shown_without_its_password() -> None:
    url = DatabaseUrl.parse(f"postgresql://u:{SECRET}@h/d?password={SECRET}&sslpassword={SECRET}")
    assert str(url) == "postgresql://u@h/d"
    assert SECRET not in repr(url)


async def first(database: Database, query: str) -> Any:
    return (await database.fetch(text(query)))[0][0]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("application_name", "ntrader"),
        ("timezone", "UTC"),
        ("plan_cache_mode", "force_custom_plan"),
        ("lock_timeout", "10s"),
        ("statement_timeout", "1min"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("transaction_isolation", "read committed"),
    ],
)
async def test_a_connection_has_our_settings(database: Database, setting: str, value: Any) -> None:
    async with database.transaction() as transaction:
        assert await transaction.scalar(text(f"SHOW {setting}")) == value
    assert await first(database, f"SHOW {setting}") == value


async def test_a_transaction_is_kept_whole(database: Database, database_url: str) -> None:
    await execute(database_url, "CREATE TABLE t (x int)")
    async with database.transaction() as transaction:
        await transaction.execute(text("INSERT INTO t VALUES (1)"))

    async def give_up() -> None:
        async with database.transaction() as transaction:
            await transaction.execute(text("INSERT INTO t VALUES (2)"))
            raise NotFoundError

    with pytest.raises(NotFoundError):
        await give_up()
    assert await first(database, "SELECT sum(x) FROM t") == 1


async def test_a_command_keeps_one_connection(database: Database) -> None:
    before = await first(database, "SELECT pg_backend_pid()")
    async with database.transaction() as transaction:
        assert await transaction.scalar(text("SELECT pg_backend_pid()")) == before
    await database.close()
    assert await first(database, "SELECT pg_backend_pid()") != before


@pytest.mark.parametrize("pooled", [False, True])
async def test_ten_at_once_are_served(database_url: str, pooled: bool) -> None:
    async with Database.open(database_url, pooled=pooled) as database:
        query = "SELECT pg_backend_pid() FROM pg_sleep(0.02)"
        pids = await asyncio.gather(*(first(database, query) for _ in range(10)))
    assert len(set(pids)) == 10


async def unreachable(url: str, **options: Any) -> DatabaseUnavailableError:
    async with Database.open(url, **options) as database:
        with pytest.raises(DatabaseUnavailableError) as caught:
            await database.fetch(text("SELECT 1"))
    assert caught.value.exit_code == 4
    assert caught.value.hint
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_refused_connection_is_explained() -> None:
    error = await unreachable(f"postgresql://u:{SECRET}@127.0.0.1:{closed_port()}/d")
    assert "postgresql://u@127.0.0.1" in error.message
    assert isinstance(error.__cause__, OSError)


async def test_an_unknown_host_is_explained() -> None:
    error = await unreachable(f"postgresql://u:{SECRET}@nowhere.invalid/d")
    assert "nowhere.invalid" in error.message


async def test_a_missing_socket_is_explained(tmp_path: Path) -> None:
    error = await unreachable(f"postgresql://u:{SECRET}@/d?host={tmp_path}")
    assert str(tmp_path) in error.message


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        error = await unreachable(
            f"postgresql://u:{SECRET}@127.0.0.1:{port}/d?connect_timeout=0.2&sslmode=disable"
        )
    assert "no answer within 0.2 s" in error.message


async def test_a_server_of_another_kind_is_explained() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await unreachable(f"postgresql://u:{SECRET}@127.0.0.1:{port}/d?sslmode=disable")


async def test_a_database_that_does_not_exist_is_explained(postgres: TestServer) -> None:
    error = await unreachable(postgres.url_of("nothing_here"))
    assert '"nothing_here" does not exist' in error.message
    assert "createdb" in (error.hint or "")


async def test_a_user_that_may_not_log_in_is_explained(
    database_url: str, postgres: TestServer
) -> None:
    role = f"{postgres.prefix}_nobody"
    await execute(database_url, f"CREATE ROLE {role} NOLOGIN")
    try:
        parsed = DatabaseUrl.parse(database_url).dsn.partition("@")[2]
        error = await unreachable(f"postgresql://{role}:{SECRET}@{parsed}")
    finally:
        await execute(database_url, f"DROP ROLE {role}")
    assert "user" in (error.hint or "")


async def test_options_that_the_driver_refuses_are_explained() -> None:
    async with Database.open("postgresql://h/d?sslmode=perhaps") as database:
        with pytest.raises(InvalidConfigError, match="sslmode"):
            await database.fetch(text("SELECT 1"))


@pytest.mark.parametrize(
    ("query", "kind", "message"),
    [
        ("SELECT * FROM nothing", SchemaError, '"nothing" does not exist'),
        ("SELECT nothing FROM datasets", SchemaError, '"nothing" does not exist'),
        ("SELECT 1/0", DatabaseError, "division by zero"),
        ("SELEC", DatabaseError, "syntax error"),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'; END $$",
            DatabaseError,
            "full",
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'taken' USING ERRCODE = 'unique_violation'; END $$",
            ConflictError,
            "taken",
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'bye' USING ERRCODE = 'admin_shutdown'; END $$",
            DatabaseUnavailableError,
            "bye",
        ),
    ],
)
async def test_errors_of_the_server_become_ours(
    database: Database, query: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        async with database.transaction() as transaction:
            await transaction.execute(text(query))
    assert type(caught.value) is kind
    assert caught.value.__cause__ is not None


async def test_a_read_only_database_is_explained(database: Database) -> None:
    async def write(transaction: Transaction) -> None:
        await transaction.execute(text("SET TRANSACTION READ ONLY"))
        await transaction.execute(text("CREATE TABLE t (x int)"))

    with pytest.raises(DatabaseError, match="read-only") as caught:
        await database.run(write)
    assert "replica" in (caught.value.hint or "")


END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def test_a_kept_connection_that_died_is_replaced(
    database: Database, database_url: str
) -> None:
    await first(database, "SELECT 1")
    await execute(database_url, END_OTHERS)
    assert await first(database, "SELECT 2") == 2


async def test_work_that_loses_its_connection_every_time_is_given_up(database_url: str) -> None:
    attempts: list[int] = []

    async def work(transaction: Transaction) -> None:
        attempts.append(await transaction.scalar(text("SELECT pg_backend_pid()")))
        await execute(database_url, END_OTHERS)
        await transaction.execute(text("SELECT 1"))

    async with Database.open(f"{database_url}&connect_timeout=0.5") as database:
        with pytest.raises(DatabaseUnavailableError):
            await database.run(work)
        assert len(attempts) > 1
        assert await first(database, "SELECT 2") == 2


async def test_work_that_lost_its_connection_is_done_again(database_url: str) -> None:
    revived: list[str] = []
    attempts: list[int] = []

    async def work(transaction: Transaction) -> int:
        attempts.append(await transaction.scalar(text("SELECT pg_backend_pid()")))
        if len(attempts) == 1:
            await execute(database_url, END_OTHERS)
        await transaction.execute(text("CREATE TABLE made_once (x int)"))
        return len(attempts)

    async with Database.open(database_url, revive=lambda: revived.append("again")) as database:
        assert await database.run(work) == 2
    assert revived == ["again"]
    assert len(set(attempts)) == 2


async def test_a_server_that_is_down_is_revived_until_that_fails() -> None:
    calls: list[int] = []

    def revive() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise NotFoundError("no programs to start")

    url = f"postgresql://127.0.0.1:{closed_port()}/d"
    async with Database.open(url, revive=revive) as database:
        with pytest.raises(NotFoundError, match="no programs"):
            async with database.transaction():
                pass
    assert len(calls) == 3


async def test_a_mistake_in_the_work_is_not_repeated(database_url: str) -> None:
    attempts: list[int] = []

    async def work(transaction: Transaction) -> None:
        attempts.append(1)
        await transaction.execute(text("SELECT 1/0"))

    async with Database.open(database_url, revive=lambda: None) as database:
        with pytest.raises(DatabaseError, match="division by zero"):
            await database.run(work)
    assert attempts == [1]


@pytest.mark.parametrize(
    ("query", "is_pooler"),
    [("", False), ("?pgbouncer=true", True), ("?pgbouncer=false", False), ("?pgbouncer=1", True)],
)
def test_a_url_says_whether_a_pooler_is_there(query: str, is_pooler: bool) -> None:
    url = DatabaseUrl.parse(f"postgresql://u@db:6432/name{query}")
    assert url.is_pooler is is_pooler
    # The server would take it for one of its own settings.
    assert "pgbouncer" not in url.dsn


async def test_a_database_behind_a_pooler_sends_no_settings_that_one_refuses(
    database_url: str,
) -> None:
    """On a server without one it works too, with what that has by default."""
    mark = "&" if "?" in database_url else "?"
    async with Database.open(f"{database_url}{mark}pgbouncer=true") as database:
        (row,) = await database.fetch(text("SELECT current_setting('lock_timeout') AS patience"))
        kept = await database.fetch(text("SELECT name FROM pg_prepared_statements"))
    assert row.patience == "0"
    assert not kept
