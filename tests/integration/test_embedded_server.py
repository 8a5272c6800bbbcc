"""The embedded server, on the real programs, abused as users and machines abuse it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ntrader.errors import DatabaseUnavailableError
from ntrader.storage.embedded import EmbeddedServer, ServerAddress, StopOutcome
from ntrader.storage.embedded import server as server_module
from ntrader.storage.embedded.accounts import unprivileged_account
from ntrader.storage.embedded.binaries import find_binaries, identity, programs_for
from ntrader.storage.embedded.layout import locate
from ntrader.storage.embedded.locks import FileLock
from support.homes import temporary_home

CLIENT = """
import sys
from pathlib import Path
from ntrader.storage.embedded import EmbeddedServer

server = EmbeddedServer(Path(sys.argv[1]), durable=False)
{before}
server.{method}()
print(server.status().pid, flush=True)
sys.stdin.readline()
{after}
"""


class Client:
    """Another process that uses the server of `home` until it is told to leave."""

    def __init__(
        self,
        home: Path,
        *,
        method: str = "acquire",
        before: str = "",
        after: str = "",
        env: dict[str, str] | None = None,
    ) -> None:
        code = CLIENT.format(before=before, method=method, after=after)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
        )

    def server_pid(self) -> int:
        """Wait until the client has acquired the server; return its pid."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.leave()
        return int(line)

    def leave(self) -> str:
        """Let the client go its way to the end; return what it wrote to stderr."""
        return self.process.communicate("\n", timeout=60)[1]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End the client by a signal; return its exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture(scope="module")
def database() -> Iterator[Path]:
    """A directory `postgres` with a database, for one test at a time to move into its home."""
    with temporary_home() as home:
        with EmbeddedServer(home, durable=False):
            pass
        yield home / "postgres"


@pytest.fixture
def empty_home() -> Iterator[Path]:
    with temporary_home() as home:
        yield home
        leave_nothing(home)


@pytest.fixture
def home(empty_home: Path, database: Path) -> Iterator[Path]:
    """A home with a database. A test that damages its data uses `spare_home`."""
    with moved(database, empty_home / "postgres"):
        yield empty_home


@pytest.fixture
def spare_home(empty_home: Path, database: Path) -> Path:
    subprocess.run(["cp", "-a", database, empty_home], check=True)
    return empty_home


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(home, durable=False)
    yield server
    server.release()


@contextlib.contextmanager
def moved(database: Path, target: Path) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
    database.rename(target)
    try:
        yield
    finally:
        leave_nothing(target.parent)
        target.rename(database)


def leave_nothing(home: Path) -> None:
    """Stop a server that a failed test left behind."""
    pids = servers_of(home)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not servers_of(home))


def servers_of(home: Path) -> list[int]:
    """Return the running servers below `home`, as the machine sees them."""
    columns = ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="]
    table = subprocess.run(columns, capture_output=True, text=True).stdout
    wanted = f"-D {home / 'postgres' / 'data'} "
    found = [line.split()[:2] for line in table.splitlines() if wanted in line]
    parents = {int(pid): int(parent) for pid, parent in found}
    # A server's child looks like it until it has named itself.
    return [pid for pid, parent in parents.items() if parent not in parents]


def wait_for(condition: Callable[[], Any]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come about")


def ask(address: ServerAddress, sql: str = "SELECT current_database()") -> Any:
    async def connect_and_ask() -> Any:
        connection = await asyncpg.connect(address.dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(connect_and_ask())


def kill_server(server: EmbeddedServer) -> int:
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not server.status().running)
    return pid


# Sharing


def test_the_first_user_makes_the_database_and_the_last_one_stops_the_server(
    empty_home: Path,
) -> None:
    home = empty_home / "is" / "created 'Börse' \"取引\""

    with EmbeddedServer(home, durable=False) as address:
        assert ask(address) == "ntrader"
        assert len(servers_of(home)) == 1
    assert servers_of(home) == []


def test_data_is_there_after_a_stop_and_a_start(server: EmbeddedServer) -> None:
    with server as address:
        ask(address, "CREATE TABLE kept AS SELECT 7 AS value")

    with server as address:
        assert ask(address, "SELECT value FROM kept") == 7


def test_the_settings_suit_one_user_and_little_data(home: Path) -> None:
    shown = "SELECT json_object_agg(name, setting)::text FROM pg_settings"
    with EmbeddedServer(home) as address:
        settings = json.loads(ask(address, shown))

    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "wal_level": "minimal",
        "jit": "off",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "data_directory_mode": "0700",
        "unix_socket_permissions": "0700",
        "wal_segment_size": str(4 * 1024 * 1024),
    }
    assert {name: settings[name] for name in expected} == expected


def test_two_processes_share_one_server_until_both_have_left(home: Path) -> None:
    first, second = Client(home), Client(home)
    pid = first.server_pid()
    assert second.server_pid() == pid

    assert first.leave() == ""
    assert servers_of(home) == [pid]
    assert second.leave() == ""
    assert servers_of(home) == []


def test_eight_processes_start_together_on_an_empty_home(empty_home: Path) -> None:
    clients = [Client(empty_home) for _ in range(8)]

    assert len({client.server_pid() for client in clients}) == 1
    assert [client.leave() for client in clients] == [""] * 8
    assert servers_of(empty_home) == []


def test_a_second_acquire_of_the_same_user_changes_nothing(
    server: EmbeddedServer, home: Path
) -> None:
    assert server.acquire() == server.acquire()

    assert server.release() is StopOutcome.STOPPED
    assert servers_of(home) == []
    assert server.release() is StopOutcome.NOT_RUNNING


def test_two_users_in_one_process_are_two(server: EmbeddedServer, home: Path) -> None:
    other = EmbeddedServer(home)
    server.acquire()
    other.acquire()

    assert server.release() is StopOutcome.IN_USE
    assert ask(other.address) == "ntrader"
    assert other.release() is StopOutcome.STOPPED


# Ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_asks_for_the_end_stops_the_server_too(
    home: Path, number: signal.Signals
) -> None:
    # A process in the background of a shell would ignore SIGINT.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    client = Client(home, before=heeding)
    client.server_pid()

    assert client.kill(number) != 0
    assert servers_of(home) == []


def test_an_exception_stops_the_server(home: Path) -> None:
    client = Client(home, after="raise ValueError('of the user')")
    client.server_pid()

    assert "of the user" in client.leave()
    assert servers_of(home) == []


def test_a_program_that_handles_sigterm_keeps_its_handler(home: Path) -> None:
    handler = "import signal; signal.signal(signal.SIGTERM, lambda *_: print('mine', flush=True))"
    client = Client(home, before=handler)
    client.server_pid()
    client.process.send_signal(signal.SIGTERM)
    assert client.process.stdout is not None

    assert client.process.stdout.readline() == "mine\n"
    client.leave()


def test_the_next_user_stops_the_server_of_a_killed_one(server: EmbeddedServer, home: Path) -> None:
    client = Client(home)
    pid = client.server_pid()
    client.kill()
    assert servers_of(home) == [pid]

    with server as address:
        assert ask(address) == "ntrader"
        assert server.status().pid == pid
    assert servers_of(home) == []


def test_a_forked_child_of_a_killed_user_does_not_hold_the_server(
    server: EmbeddedServer, home: Path
) -> None:
    fork = """
import os, time
if os.fork() == 0:
    print(os.getpid(), flush=True)
time.sleep(60)
os._exit(0)
"""
    client = Client(home, after=fork)
    client.server_pid()
    assert client.process.stdin is not None
    assert client.process.stdout is not None
    client.process.stdin.write("\n")
    client.process.stdin.flush()
    child = int(client.process.stdout.readline())
    try:
        os.kill(client.process.pid, signal.SIGKILL)
        client.process.wait()
        with server:
            pass
        assert servers_of(home) == []
    finally:
        os.kill(child, signal.SIGKILL)
        client.process.communicate()


def test_neither_the_server_nor_a_child_inherits_the_locks_of_users(
    server: EmbeddedServer,
) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    with server:
        pid = server.status().pid
        server_files = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
        listing = ["ls", "-l", "/proc/self/fd"]
        child = subprocess.run(listing, close_fds=False, capture_output=True, text=True).stdout

    names = {Path(file).name for file in server_files}
    assert names & {"users.lock", "server.lock"} == {"server.lock"}
    assert ".lock" not in child


# Crashes


def test_acquire_starts_a_server_again_that_was_killed(server: EmbeddedServer) -> None:
    async def kill_below_an_open_connection() -> int:
        connection = await asyncpg.connect(server.acquire().dsn)
        killed = kill_server(server)
        await asyncio.to_thread(server.acquire)
        connection.terminate()
        return killed

    killed = asyncio.run(kill_below_an_open_connection())
    assert server.status().pid not in (killed, None)
    assert ask(server.address) == "ntrader"
    assert server.release() is StopOutcome.STOPPED


def test_a_server_that_is_killed_while_it_starts_is_started_again(home: Path) -> None:
    real = programs_for(locate(home).account).directory
    mortal = home / "bin"
    mortal.mkdir()
    mortal.chmod(0o777)
    (mortal / "initdb").symlink_to(real / "initdb")
    script = f'#!/bin/sh\nmkdir {mortal}/killed && kill -9 $$\nexec {real}/postgres "$@"\n'
    (mortal / "postgres").write_text(script)
    (mortal / "postgres").chmod(0o755)

    with EmbeddedServer(home, pg_bin=mortal, durable=False) as address:
        assert (mortal / "killed").exists()
        assert ask(address) == "ntrader"


def test_a_stale_pid_of_another_living_process_is_no_obstacle_and_is_not_signalled(
    server: EmbeddedServer, home: Path
) -> None:
    layout = locate(home)
    # Of the server's own account: PostgreSQL takes only such a process for another server.
    unrelated = subprocess.Popen(["sleep", "60"], **identity(layout.account))
    try:
        server.acquire()
        killed = kill_server(server)
        pid_file = layout.data / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(str(killed), str(unrelated.pid), 1))

        assert ask(server.acquire()) == "ntrader"
        assert server.release() is StopOutcome.STOPPED
        assert unrelated.poll() is None
    finally:
        unrelated.kill()
        unrelated.wait()


@pytest.mark.parametrize("content", ["", "\n", "rubbish\n"])
def test_a_broken_pid_file_is_no_obstacle(server: EmbeddedServer, home: Path, content: str) -> None:
    (locate(home).data / "postmaster.pid").write_text(content)

    with server as address:
        assert ask(address) == "ntrader"


def test_what_an_interrupted_first_start_left_is_removed(empty_home: Path) -> None:
    client = Client(empty_home)
    base = empty_home / "postgres"
    wait_for(lambda: list(base.glob("data.new-*/base")))
    client.kill()
    assert not (base / "data").exists()

    with EmbeddedServer(empty_home, durable=False) as address:
        assert ask(address) == "ntrader"
    assert [path.name for path in base.glob("data*")] == ["data"]


def test_a_server_that_cannot_start_shows_the_end_of_its_log(spare_home: Path) -> None:
    layout = locate(spare_home)
    server = EmbeddedServer(spare_home, durable=False)
    with (layout.data / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")

    with pytest.raises(DatabaseUnavailableError, match="no_such_setting") as caught:
        server.acquire()

    assert caught.value.hint is not None
    assert str(layout.log) in caught.value.hint
    assert server.status().users in ((), None)


def test_data_of_another_major_version_is_refused(spare_home: Path) -> None:
    server = EmbeddedServer(spare_home, durable=False)
    (locate(spare_home).data / "PG_VERSION").write_text("15\n")

    with pytest.raises(DatabaseUnavailableError, match="made by PostgreSQL 15") as caught:
        server.acquire()

    assert caught.value.hint is not None
    assert "NTRADER_PG_BIN" in caught.value.hint


def test_a_long_log_is_put_aside_at_the_next_start(server: EmbeddedServer, home: Path) -> None:
    log = locate(home).log
    log.write_bytes(b"old\n" * 300_000)

    with server:
        pass

    assert log.with_name("server.log.1").read_bytes().startswith(b"old\n")
    assert b"old\n" not in log.read_bytes()


# Places


@pytest.mark.parametrize(
    "name", ["with space", "Börse 取引", "100% 'quoted' \"twice\" #?&=+", "a,b"]
)
def test_a_home_may_have_any_name(database: Path, empty_home: Path, name: str) -> None:
    home = empty_home / name

    with (
        moved(database, home / "postgres"),
        EmbeddedServer(home, durable=False) as address,
    ):
        assert ask(address, "SHOW data_directory") == str(home / "postgres" / "data")
    assert servers_of(home) == []


@pytest.fixture
def long_home(empty_home: Path, database: Path) -> Iterator[Path]:
    home = empty_home / ("long" * 30)
    with moved(database, home / "postgres"):
        yield home


def test_a_home_too_long_for_a_socket_has_it_in_a_private_directory_while_it_runs(
    long_home: Path,
) -> None:
    with EmbeddedServer(long_home, durable=False) as address:
        directory = address.socket_directory
        assert directory.parent == Path("/tmp")
        assert directory.stat().st_mode & 0o777 == 0o700
        assert ask(address) == "ntrader"
    assert not directory.exists()


def test_a_socket_directory_that_others_may_enter_is_refused_and_left_alone(
    long_home: Path,
) -> None:
    directory = locate(long_home).sockets
    directory.mkdir()
    try:
        directory.chmod(0o755)
        with pytest.raises(DatabaseUnavailableError, match="not a private directory"):
            EmbeddedServer(long_home).acquire()
        assert directory.stat().st_mode & 0o777 == 0o755
    finally:
        directory.rmdir()


def test_two_homes_have_two_servers(spare_home: Path, database: Path) -> None:
    second_home = spare_home / "second"
    with (
        moved(database, second_home / "postgres"),
        EmbeddedServer(spare_home, durable=False) as one,
        EmbeddedServer(second_home, durable=False) as other,
    ):
        assert ask(one, "SHOW data_directory") == str(spare_home / "postgres" / "data")
        assert ask(other, "SHOW data_directory") == str(second_home / "postgres" / "data")


def test_a_home_that_cannot_be_made_is_explained(empty_home: Path) -> None:
    (empty_home / "file").touch()

    with pytest.raises(DatabaseUnavailableError, match="Not a directory") as caught:
        EmbeddedServer(empty_home / "file" / "home").acquire()

    assert caught.value.hint is not None
    assert "NTRADER_HOME" in caught.value.hint


def test_programs_that_are_not_there_are_explained(home: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match="postgres and initdb") as caught:
        EmbeddedServer(home, pg_bin=home / "nowhere").acquire()

    assert caught.value.hint is not None
    assert "NTRADER_PG_BIN" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_server_of_root_runs_as_another_user_in_a_home_that_he_may_pass(
    server: EmbeddedServer, home: Path
) -> None:
    with server:
        status = server.status()
        assert Path(f"/proc/{status.pid}").stat().st_uid == unprivileged_account().uid
        assert status.data_directory == home / "postgres" / "data"


def test_the_environment_of_the_user_does_not_reach_the_server(home: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    leaking = {
        "PGDATA": "/nowhere",
        "PGOPTIONS": "-c jit=on",
        "LD_LIBRARY_PATH": "/nowhere",
        "LC_ALL": "xx_XX.UTF-8",
        "DATABASE_URL": "postgresql://secret",
    }
    client = Client(home, env=leaking)
    pid = client.server_pid()
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    client.leave()

    names = {entry.partition(b"=")[0].decode() for entry in environment if entry}
    assert "PATH" in names
    assert names <= {"PATH", "LC_ALL", "TZ", "PGDATA", "PG_GRANDPARENT_PID"}
    assert b"PGDATA=/nowhere" not in environment


# Status, start and stop


def test_status_of_an_empty_home_creates_nothing(empty_home: Path) -> None:
    status = EmbeddedServer(empty_home).status()

    assert not status.running
    assert not status.kept
    assert status.pid is None
    assert status.binaries == find_binaries()
    assert list(empty_home.iterdir()) == []


def test_status_tells_who_uses_the_server(server: EmbeddedServer, home: Path) -> None:
    client = Client(home)
    pid = client.server_pid()

    with server:
        status = server.status()
        assert status.running
        assert status.pid == pid
        assert status.users in (tuple(sorted((os.getpid(), client.process.pid))), None)
        client.leave()


def test_a_kept_server_outlives_its_users_until_it_is_stopped(
    server: EmbeddedServer, home: Path
) -> None:
    keeper = Client(home, method="keep_running")
    pid = keeper.server_pid()
    assert keeper.leave() == ""
    with server:
        pass

    assert servers_of(home) == [pid]
    assert server.status().kept
    assert server.stop() is StopOutcome.STOPPED
    assert servers_of(home) == []
    assert not server.status().kept


def test_stop_leaves_the_stopping_to_the_last_user(server: EmbeddedServer, home: Path) -> None:
    user = Client(home, method="keep_running")
    pid = user.server_pid()

    assert server.stop() is StopOutcome.IN_USE
    assert servers_of(home) == [pid]
    user.leave()
    assert servers_of(home) == []


def test_stop_without_a_server_says_so(server: EmbeddedServer, empty_home: Path) -> None:
    assert server.stop() is StopOutcome.NOT_RUNNING


def test_stop_ends_the_server_of_a_killed_user(server: EmbeddedServer, home: Path) -> None:
    client = Client(home)
    client.server_pid()
    client.kill()

    assert server.stop() is StopOutcome.STOPPED
    assert servers_of(home) == []


def test_stopping_is_not_disturbed_by_open_connections(server: EmbeddedServer) -> None:
    async def release_below_an_open_connection() -> StopOutcome:
        connection = await asyncpg.connect(server.acquire().dsn)
        try:
            return server.release()
        finally:
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                await connection.close(timeout=1)

    assert asyncio.run(release_below_an_open_connection()) is StopOutcome.STOPPED


def test_a_user_that_never_ends_stopping_is_not_waited_for_for_ever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "START_SECONDS", 0.2)
    with EmbeddedServer(home):
        pass
    with FileLock(locate(home).users_lock) as hanging:
        hanging.lock()

        with pytest.raises(DatabaseUnavailableError, match="does not end") as caught:
            EmbeddedServer(home).acquire()

    assert str(locate(home).users_lock) in (caught.value.hint or "")
    with EmbeddedServer(home) as address:
        assert address.dsn
