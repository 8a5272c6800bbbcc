"""A pooler before the database, and a replica behind it."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from ntrader.storage.embedded.accounts import Account
from ntrader.storage.embedded.binaries import Identity
from support.homes import reachable_base, temporary_home
from support.processes import run_process
from support.service import Api, bars, eventually, process
from support.tcp_server import TcpServer, free_port, start_tcp_server

pytestmark = pytest.mark.slow

SERVE = ("serve", "--port", "0", "--with-worker")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TcpServer]:
    # A replica may follow it.
    directory = tmp_path_factory.mktemp("postgres")
    started = start_tcp_server(directory, wal_level="replica", max_wal_senders="4")
    yield started
    started.stop()


@pytest.fixture
def environment(server: TcpServer) -> Iterator[dict[str, str]]:
    with temporary_home() as home:
        yield {
            "DATABASE_URL": server.url,
            "NTRADER_HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
        }


@pytest.fixture
def pooler(server: TcpServer, tmp_path: Path) -> Iterator[str]:
    """The URL of the server's database through PgBouncer, connections given by the transaction."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    directory = reachable_base(tmp_path, server.layout.account)
    parts, port = urlsplit(server.url), free_port()
    (directory / "users.txt").write_text(f'"{parts.username}" "{parts.password}"\n')
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={parts.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {directory}/users.txt\n"
        # Fewer than the service would keep: every transaction may have another.
        "pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n"
    )
    for path in directory.iterdir():
        path.chmod(0o644)
    with subprocess.Popen(
        [program, "--quiet", str(directory / "pgbouncer.ini")],
        stderr=subprocess.DEVNULL,
        **identity(server.layout.account),
    ) as running:
        try:
            eventually(lambda: answers(port))
            yield f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
        finally:
            running.terminate()
            shutil.rmtree(directory)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_service_behind_a_pooler_does_runs_and_tells_how_far_they_are(
    server: TcpServer, environment: dict[str, str], pooler: str, tmp_path: Path
) -> None:
    settings = {
        **environment,
        "DATABASE_URL": f"{pooler}?pgbouncer=true",
        "NTRADER_LISTEN_URL": server.url,
    }
    with process(tmp_path, settings, *SERVE) as service, Api(service.address) as api:
        dataset = api.upload(bars(40_000, timeframe_minutes=1), timeframe="1m").json()["id"]
        run_id = api.submit(dataset_id=dataset, initial_capital="0.01")
        with api.client.stream("GET", f"/runs/{run_id}/watch") as stream:
            told = [line for line in stream.iter_lines() if line.startswith("data: ")]
        assert '"status":"done"' in told[-1]
        assert len(told) > 2
        assert [run["run_id"] for run in api.client.get("/runs").json()["runs"]] == [run_id]
        # Many at once on four connections: a statement's name must not outlive its transaction.
        for _ in range(60):
            assert api.client.get("/runs", params={"limit": 1}).status_code == 200
        assert service.end() == 0


def test_a_pooler_that_is_not_said_to_be_one_is_suspected(pooler: str, tmp_path: Path) -> None:
    with temporary_home() as home:
        refused = run_process(
            "history", cwd=tmp_path, env={"DATABASE_URL": pooler, "NTRADER_HOME": str(home)}
        )
    assert refused.exit_code == 4
    assert "pgbouncer=true" in refused.stderr


def identity(account: Account) -> Identity:
    """Return the arguments of `subprocess` that have a program run as `account`."""
    if account.is_current:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


@contextmanager
def replica_of(server: TcpServer, directory: Path) -> Iterator[str]:
    """Give the URL of a hot standby of a server; it is ended afterwards."""
    account = server.layout.account
    base = reachable_base(directory, account)
    port = free_port()
    parts = urlsplit(server.url)
    found = {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port),
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password,
    }
    environment = {**os.environ, **{name: str(value) for name, value in found.items()}}
    programs = server.programs.directory
    run_as = identity(account)
    os.chown(base, account.uid, account.gid)
    data = str(base / "data")
    command = [str(programs / "pg_basebackup"), "-D", data, "-R", "-X", "stream", "-c", "fast"]
    subprocess.run(command, check=True, env=environment, capture_output=True, **run_as)
    arguments = ["-D", data, "-p", str(port), "-k", "", "-c", "hot_standby_feedback=on"]
    with subprocess.Popen(
        [str(programs / "postgres"), *arguments], stderr=subprocess.DEVNULL, **run_as
    ) as running:
        try:
            eventually(lambda: answers(port))
            yield server.url.replace(str(parts.port), str(port))
        finally:
            running.terminate()
            running.wait()
            shutil.rmtree(base)


@pytest.fixture
def replicated(server: TcpServer) -> TcpServer:
    """The server, which lets a replica in."""
    with (server.layout.data / "pg_hba.conf").open("a") as access:
        access.write("host replication all 127.0.0.1/32 scram-sha-256\n")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
    return server


def pause_replay(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
        eventually(lambda: (connection.execute(paused).fetchone() or [False])[0])


def test_lists_are_read_from_a_replica_and_a_run_from_where_it_is_written(
    replicated: TcpServer, environment: dict[str, str], tmp_path: Path
) -> None:
    with replica_of(replicated, tmp_path) as url:
        settings = {**environment, "NTRADER_READ_URL": url}
        with process(tmp_path, settings, *SERVE) as service, Api(service.address) as api:
            first = api.run()
            eventually(lambda: listed(api) == [first])
            pause_replay(url)
            second = api.run(parameters={"fast_period": 3})
            # The list is the replica's, and that lags; what is asked for by its id does not.
            assert listed(api) == [first]
            assert api.client.get(f"/runs/{second}").status_code == 200
            assert api.client.get(f"/runs/{second}/report").status_code == 200


def test_a_replica_that_is_away_or_without_our_schema_is_done_without(
    replicated: TcpServer, environment: dict[str, str], tmp_path: Path
) -> None:
    empty = replicated.url.rpartition("/")[0] + "/postgres"
    nowhere = f"postgresql://ntrader@127.0.0.1:{free_port()}/ntrader"
    for url in (empty, nowhere):
        settings = {**environment, "NTRADER_READ_URL": url}
        with process(tmp_path, settings, *SERVE) as service, Api(service.address) as api:
            assert api.run() in listed(api)


def test_a_replica_that_is_no_url_is_refused_at_the_start(
    environment: dict[str, str], tmp_path: Path
) -> None:
    settings = {**environment, "NTRADER_READ_URL": "not a url"}
    refused = run_process(*SERVE, cwd=tmp_path, env=settings)
    assert refused.exit_code == 2
    assert "postgresql://" in refused.stderr


def listed(api: Api) -> list[str]:
    answer = api.client.get("/runs")
    assert answer.status_code == 200, answer.text
    return [run["run_id"] for run in answer.json()["runs"]]
