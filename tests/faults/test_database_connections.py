"""A database that cannot be reached, from the start: refused in words, and nothing is run."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.commands import Command
from support.complaints import SECRET, complaint_of, waiting
from support.database import Background, TestServer, execute
from support.proxy import Link, Proxy
from support.tcp_server import TcpServer, start_tcp_server

pytestmark = pytest.mark.slow

LOGIN = f"postgresql://quant:{SECRET}@"


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Accept connections on a port and give each to `answer`, which leaves it open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    answer(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def tcp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TcpServer]:
    server = start_tcp_server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


COMMANDS = [("run", "--strategy", "sma"), ("history",), ("show", "@"), ("db", "upgrade")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_port_that_refuses(ntrader_on: Command, home: Path, command: tuple[str, ...]) -> None:
    said = complaint_of(ntrader_on(f"{LOGIN}127.0.0.1:{closed_port()}/runs", *command), 4)

    assert "refused" in said
    assert "quant@127.0.0.1" in said
    assert waiting(home) == []


def test_a_refusal_is_an_object_for_a_program(ntrader_on: Command) -> None:
    refused = ntrader_on(f"{LOGIN}127.0.0.1:{closed_port()}/runs", "history", "--json")

    assert refused.exit_code == 4
    assert refused.json["error"]["code"] == "database_unavailable"
    assert refused.json["error"]["hint"]
    assert SECRET not in refused.stdout + refused.stderr


def test_a_host_name_that_does_not_resolve(ntrader_on: Command, home: Path) -> None:
    said = complaint_of(ntrader_on(f"{LOGIN}nowhere.invalid/runs", "run", "--strategy", "sma"), 4)

    assert "nowhere.invalid" in said
    assert waiting(home) == []


def test_a_host_that_accepts_and_never_answers(ntrader_on: Command, home: Path) -> None:
    with listening(lambda _: None) as port:
        url = f"{LOGIN}127.0.0.1:{port}/runs?connect_timeout=0.3"
        said = complaint_of(ntrader_on(url, "run", "--strategy", "sma"), 4)

    assert "no answer within 0.3 s" in said
    assert waiting(home) == []


def test_a_server_of_another_kind(ntrader_on: Command, home: Path) -> None:
    answered: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        answered.append(connection)
        connection.recv(8)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    with listening(answer) as port:
        url = f"{LOGIN}127.0.0.1:{port}/runs?sslmode=disable"
        complaint_of(ntrader_on(url, "run", "--strategy", "sma"), 4)

    # It never was what it should be: nothing is to be gained by asking it again.
    assert len(answered) == 1
    assert waiting(home) == []


def test_a_wrong_password(ntrader_on: Command, home: Path, tcp_server: TcpServer) -> None:
    address = tcp_server.url.rpartition("@")[2]
    url = f"postgresql://ntrader:{SECRET}@{address}"

    said = complaint_of(ntrader_on(url, "run", "--strategy", "sma"), 4)

    assert "password authentication failed" in said
    assert "Check the user and the password" in said
    assert waiting(home) == []


def test_a_role_that_is_missing(ntrader_on: Command, home: Path, postgres: TestServer) -> None:
    at_host = urlsplit(postgres.url_of("postgres"))
    url = f"{LOGIN}{at_host.netloc.rpartition('@')[2]}/postgres?{at_host.query}"

    said = complaint_of(ntrader_on(url, "run", "--strategy", "sma"), 4)

    assert '"quant"' in said
    assert "Check the user and the password" in said
    assert waiting(home) == []


def test_a_database_that_is_missing(ntrader_on: Command, home: Path, postgres: TestServer) -> None:
    url = postgres.url_of("not_made_yet")

    said = complaint_of(ntrader_on(url, "run", "--strategy", "sma"), 4)

    assert '"not_made_yet" does not exist' in said
    assert "createdb" in said
    assert waiting(home) == []


def test_a_postgresql_that_is_too_old(ntrader_on: Command, home: Path, proxy: Proxy) -> None:
    for version in (b"16.", b"17.", b"18."):
        proxy.replace(b"server_version\0" + version, b"server_version\x0015.")

    said = complaint_of(ntrader_on(proxy.url, "run", "--strategy", "sma"), 1)

    assert "is PostgreSQL 15" in said
    assert "16 or later" in said
    assert waiting(home) == []


@pytest.fixture
def one_connection(
    database_url: str, postgres: TestServer, background: Background
) -> Iterator[str]:
    """The URL of a user that may have one connection, and has it already."""
    import asyncpg

    role = f"{postgres.prefix}_single"
    at_host = database_url.rpartition("@")[2]
    url = f"postgresql://{role}@{at_host}"
    background.run(
        execute(
            database_url,
            f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        )
    )
    held = background.run(asyncpg.connect(url))
    try:
        yield url
    finally:
        background.run(held.close())
        background.run(execute(database_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}"))


def test_no_connection_is_free(ntrader_on: Command, home: Path, one_connection: str) -> None:
    said = complaint_of(
        ntrader_on(f"{one_connection}&connect_timeout=0.5", "run", "--strategy", "sma"), 4
    )

    assert "too many connections" in said
    assert "max_connections" in said
    assert waiting(home) == []


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (b"53300", b"sorry, too many clients already"),
        (b"57P03", b"the database system is starting up"),
    ],
)
def test_a_server_that_serves_in_a_moment_is_waited_for(
    ntrader_on: Command, proxy: Proxy, database_url: str, state: bytes, message: bytes
) -> None:
    fields = b"SFATAL\0C" + state + b"\0M" + message + b"\0\0"
    refusal = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields

    def refuse(link: Link) -> None:
        link.client.sendall(refusal)
        link.cut()

    # Only the packet that opens a connection names the database.
    proxy.on(urlsplit(database_url).path[1:].encode(), refuse, times=3)

    assert ntrader_on(proxy.url, "history", "--json").json == {"runs": [], "next": None}
    assert proxy.accepted == 4


def test_a_refusal_that_no_waiting_cures_is_told_at_once(
    ntrader_on: Command, proxy: Proxy, postgres: TestServer
) -> None:
    missing = proxy.url.replace(urlsplit(proxy.url).path, "/not_made_yet")

    complaint_of(ntrader_on(missing, "history"), 4)

    assert proxy.accepted == 1
