"""The life of the embedded server: the first user starts it, the last one stops it."""

import atexit
import contextlib
import os
import signal
import stat
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType, TracebackType
from urllib.parse import quote

from ntrader import logs
from ntrader.errors import DatabaseUnavailableError, TerminatedError
from ntrader.storage.embedded.accounts import current_account
from ntrader.storage.embedded.binaries import find_binaries, programs_for, version_of
from ntrader.storage.embedded.cluster import DATABASE, USER, Cluster
from ntrader.storage.embedded.layout import (
    PORT,
    Layout,
    locate,
    network_file_system,
)
from ntrader.storage.embedded.locks import FileLock, holders
from ntrader.storage.embedded.waiting import wait_until
from ntrader.storage.timeouts import START_SECONDS


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server listens, and as whom to connect. There is no password."""

    socket_directory: Path
    port: int = PORT
    user: str = USER
    database: str = DATABASE

    @property
    def dsn(self) -> str:
        """The address as a URL that psql, asyncpg and SQLAlchemy understand."""
        host = quote(str(self.socket_directory), safe="/")
        return f"postgresql://{self.user}@/{self.database}?host={host}&port={self.port}"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What there is, running or not.

    `version` is that of the binaries, `users` the pids that use the server; None if unknown.
    """

    running: bool
    kept: bool
    pid: int | None
    version: str | None
    binaries: Path | None
    data_directory: Path
    log_file: Path
    users: tuple[int, ...] | None


class StopOutcome(StrEnum):
    """What became of the server when somebody left it."""

    STOPPED = "stopped"
    IN_USE = "in_use"
    KEPT = "kept"
    STOPPING = "stopping"
    NOT_RUNNING = "not_running"


class EmbeddedServer:
    """A PostgreSQL server for everything that uses one home directory.

    A process that uses it holds a shared lock from `acquire` to `release`. Whoever can take that
    lock exclusively on leaving was the last one, and stops the server. The kernel drops the lock
    of a process that is killed; the server then stays until the next user leaves.

    An object is one user, however often it acquires. It may be shared between threads. A forked
    child is no user until it acquires.

    Files: HOME/postgres has the locks (`users.lock`, `server.lock`), the marker
    `kept`, and `data`, `run` (the socket) and `log`. As root these last three are below
    /var/lib/ntrader instead where the server's account (`postgres`, else `nobody`) may not pass
    through HOME; /var/lib/ntrader/binaries has a copy of programs that it may not run in place.
    If HOME is too long for a socket's path, the socket is in /tmp/ntrader-UID-HASH.

    Args:
        home: ntrader's home directory, created if missing.
        pg_bin: the directory of PostgreSQL's programs, if it is not to be searched for.
        durable: whether data must survive a crash of the machine; False is for tests.

    Raises:
        DatabaseUnavailableError: on Windows, where there is no embedded server.
    """

    def __init__(self, home: Path, *, pg_bin: Path | None = None, durable: bool = True) -> None:
        if sys.platform == "win32":
            raise DatabaseUnavailableError(
                "The embedded database does not work on Windows.",
                hint="Set DATABASE_URL to a PostgreSQL server.",
            )
        self.home = home.absolute()
        self._pg_bin = pg_bin
        self._durable = durable
        self._users: FileLock | None = None
        self._mutex = threading.RLock()
        _instances.add(self)

    @property
    def address(self) -> ServerAddress:
        """Where the server listens when it runs."""
        return ServerAddress(locate(self.home).sockets)

    def acquire(self) -> ServerAddress:
        """Become a user of the server, and start it if it does not run.

        Called again by the same user it starts a server that has died, and does nothing else.

        Raises:
            DatabaseUnavailableError: the server cannot be started, or the home not be written.
        """
        with self._mutex, self._explained():
            layout = self._prepare()
            self._join(layout)
            try:
                self._start(layout)
            except BaseException:
                self._leave(layout)
                raise
            return ServerAddress(layout.sockets)

    def release(self) -> StopOutcome:
        """Leave the server; the last user stops it, unless it is kept running."""
        with self._mutex:
            if self._users is None:
                return StopOutcome.NOT_RUNNING
            with self._explained():
                return self._leave(locate(self.home))

    def keep_running(self) -> ServerAddress:
        """Acquire the server, and let it run on when its last user has left, until `stop`.

        Nobody starts it again after a crash or a reboot but its next user.
        """
        with self._mutex, self._explained():
            address = self.acquire()
            locate(self.home).kept.touch(mode=0o600)
            return address

    def stop(self) -> StopOutcome:
        """End `keep_running` and leave; the server stops now, or when its last user leaves."""
        with self._mutex, self._explained():
            layout = locate(self.home)
            if not layout.locks.exists():
                return StopOutcome.NOT_RUNNING
            # As a user, so that whoever leaves at the same time leaves the stopping to us.
            self._join(layout)
            layout.kept.unlink(missing_ok=True)
            return self._leave(layout)

    def status(self) -> ServerStatus:
        """Look at the server; nothing is started, created or locked."""
        layout = locate(self.home)
        pid = Cluster(layout).ready_pid()
        try:
            binaries = find_binaries(self._pg_bin)
        except DatabaseUnavailableError:
            binaries = None
        return ServerStatus(
            running=pid is not None,
            kept=layout.kept.exists(),
            pid=pid,
            version=version_of(binaries, current_account()) if binaries else None,
            binaries=binaries,
            data_directory=layout.data,
            log_file=layout.log,
            users=holders(layout.users_lock),
        )

    def __enter__(self) -> ServerAddress:
        return self.acquire()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _prepare(self) -> Layout:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "postgres").mkdir(mode=0o700, exist_ok=True)
        layout = locate(self.home)
        # Root's server has another account, which passes through; only root lists them.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        _directory(layout.locks, mode)
        if layout.base != layout.locks:
            _directory(layout.base.parent, 0o755)
            _directory(layout.base, mode)
        return layout

    def _join(self, layout: Layout) -> None:
        if self._users is not None:
            return
        users = FileLock(layout.users_lock)
        try:
            # Waits while the last user before us stops the server.
            if not wait_until(users.try_share, START_SECONDS):
                raise DatabaseUnavailableError(
                    f"Another ntrader stops the embedded database in {self.home} and does not end.",
                    hint=f"Look for a process that holds {layout.users_lock}, and end it.",
                )
        except BaseException:
            users.close()
            raise
        self._users = users
        atexit.register(self.release)
        _unwind_when_terminated()

    def _start(self, layout: Layout) -> None:
        cluster = Cluster(layout, durable=self._durable)
        if cluster.ready_pid() is not None:
            return
        if not layout.data.exists():
            _warn_of_network_file_system(layout.base)
        cluster.start(programs_for(layout.account, self._pg_bin))

    def _leave(self, layout: Layout) -> StopOutcome:
        users, self._users = self._users, None
        atexit.unregister(self.release)
        if users is None:
            return StopOutcome.NOT_RUNNING
        with users:
            if not users.try_lock():
                return StopOutcome.IN_USE
            cluster = Cluster(layout)
            if layout.kept.exists():
                return StopOutcome.KEPT
            running = cluster.ready_pid() is not None
            if not cluster.stop():
                return StopOutcome.STOPPING
            return StopOutcome.STOPPED if running else StopOutcome.NOT_RUNNING

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DatabaseUnavailableError(
                f"The embedded database in {self.home} cannot be used: {error}.",
                hint="Set NTRADER_HOME to a directory that you may write to, "
                "or DATABASE_URL to a PostgreSQL server.",
            ) from error

    def _forget(self) -> None:
        """Be no user, in a forked child: the lock belongs to the parent."""
        self._mutex = threading.RLock()
        if self._users is not None:
            self._users.close()
            self._users = None
            atexit.unregister(self.release)


_instances: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


def _forget_all() -> None:
    for server in _instances:
        server._forget()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_all)


def _directory(path: Path, mode: int) -> None:
    """Create the directory `path`, which is ours, with `mode` whatever the umask."""
    path.mkdir(mode=mode, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def _unwind_when_terminated() -> None:
    """Let SIGTERM and SIGHUP end the program as an exception, unless it handles them itself.

    By default they end it on the spot, and the last user would leave the server behind.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise TerminatedError(number)


def _warn_of_network_file_system(base: Path) -> None:
    kind = network_file_system(base)
    if kind is not None:
        logs.logger().warning(
            "the database is on a network file system; only one host may use it",
            directory=str(base),
            file_system=kind,
        )
