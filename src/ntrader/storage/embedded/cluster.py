"""One data directory of PostgreSQL: making it, serving it, and knowing whether it is served."""

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path

from ntrader.errors import DatabaseUnavailableError
from ntrader.storage.embedded.accounts import private_directory
from ntrader.storage.embedded.binaries import Programs, identity
from ntrader.storage.embedded.layout import PORT, Layout
from ntrader.storage.embedded.locks import FileLock
from ntrader.storage.embedded.waiting import wait_until
from ntrader.storage.parts import flush_directory
from ntrader.storage.timeouts import START_SECONDS, STOP_SECONDS

USER = "ntrader"
DATABASE = "ntrader"

_ATTEMPTS = 3
_LOG_BYTES = 1_000_000
_LOG_LINES = 8

# One user and little data: small, quiet, and nothing that it does not use.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# For data that nobody will miss.
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class _Postmaster(subprocess.Popen[bytes]):
    """A server outlives the process that started it on purpose: no warning about that."""

    def __del__(self) -> None:
        pass


_started: list[_Postmaster] = []


def _reap() -> None:
    """Leave no zombie of a server that this process started and that has ended."""
    _started[:] = [process for process in _started if process.poll() is None]


class _State(Enum):
    FREE = auto()
    READY = auto()


class Cluster:
    """The server of one `Layout`.

    Whoever starts it takes `layout.server_lock`, which all of its processes inherit: while that
    is taken, somebody starts it or some of them live, whatever the pid file says. The caller
    sees to it that nobody stops it while others use it.
    """

    def __init__(
        self, layout: Layout, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.layout = layout
        self._durable = durable
        self._settings = settings or {}

    def ready_pid(self) -> int | None:
        """Return the server's pid if it is ready: its pid file says so and its socket accepts."""
        lines = self._pid_file()
        if len(lines) < 8 or lines[7].strip() != "ready":
            return None
        with contextlib.suppress(OSError), self._connect(lines[3]):
            return int(lines[0])
        return None

    def start(self, programs: Programs) -> None:
        """Make the data directory if there is none, start the server and wait until it is ready.

        Nothing happens if it runs already.

        Raises:
            DatabaseUnavailableError: it does not start; the message has the end of its log.
        """
        for _ in range(_ATTEMPTS):
            with FileLock(self.layout.server_lock) as guard:
                if self._settle(guard) is _State.READY:
                    return
                self._clear_away()
                if not self.layout.data.exists():
                    self._initialise(programs, guard)
                self._refuse_other_major(programs)
                position = self._open_log()
                process = self._spawn(programs, guard)
            if self._becomes_ready(process):
                return
            # Killed from outside, perhaps for want of memory: worth another attempt.
            if process.returncode != -signal.SIGKILL:
                break
        what = "is not ready yet" if process.returncode is None else "stopped at once"
        raise DatabaseUnavailableError(
            "\n".join(
                [f"The database server {what}. The end of its log:", *self._log_from(position)]
            ),
            hint=f"Its whole log is {self.layout.log}. DATABASE_URL can name another server.",
        )

    def stop(self) -> bool:
        """Stop the server; return whether none of its processes is left.

        Open transactions are rolled back, what was committed is on disk.
        """
        with FileLock(self.layout.server_lock) as guard:
            if self._settle(guard) is _State.FREE:
                return True
            pid = self.ready_pid()
            if pid is None or self._peer() not in (None, pid):
                # In another container its pid means something else, or nothing, to us.
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            stopped = wait_until(guard.try_lock, STOP_SECONDS)
            if stopped and self.layout.sockets.parent != self.layout.base:
                with contextlib.suppress(OSError):
                    self.layout.sockets.rmdir()
        _reap()
        return stopped

    def execute(self, programs: Programs, sql: str) -> None:
        """Run one line of SQL as the superuser, while no server runs.

        Raises:
            DatabaseUnavailableError: PostgreSQL refused it.
        """
        with FileLock(self.layout.server_lock) as guard:
            guard.lock()
            self._execute(programs, sql, self.layout.data, guard)

    def _settle(self, guard: FileLock) -> _State:
        """Wait until a server is ready, or until none is left and `guard` holds its lock.

        There is something to wait for while another process starts it, or where whoever
        started or stopped it was killed.

        Raises:
            DatabaseUnavailableError: neither comes about.
        """
        state: _State | None = None

        def settled() -> bool:
            nonlocal state
            if self.ready_pid() is not None:
                state = _State.READY
            elif guard.try_lock():
                state = _State.FREE
            return state is not None

        wait_until(settled, START_SECONDS)
        if state is None:
            raise DatabaseUnavailableError(
                "A database server from before is still busy, starting or ending.",
                hint=f"Try again later; its log is {self.layout.log}.",
            )
        return state

    def _clear_away(self) -> None:
        """Remove what an interrupted start left behind; no server lives."""
        for leftover in self.layout.base.glob("data.new-*"):
            shutil.rmtree(leftover)
        pid_file = self.layout.data / "postmaster.pid"
        if pid_file.exists() and self._stale_pid() is None:
            pid_file.unlink()

    def _stale_pid(self) -> int | None:
        # A backend that ran without a server writes its pid with a minus sign.
        first = "".join(self._pid_file()[:1]).strip().removeprefix("-")
        return int(first) if first.isdecimal() else None

    def _initialise(self, programs: Programs, guard: FileLock) -> None:
        account = self.layout.account
        fresh = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.layout.base))
        private_directory(fresh, account)
        provider = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        outcome = subprocess.run(
            [
                programs.directory / "initdb",
                *("--pgdata", fresh, "--username", USER),
                *("--encoding=UTF8", "--locale=C", *(provider if programs.major >= 17 else [])),
                *("--auth-local=trust", "--auth-host=reject", "--wal-segsize=4"),
                *("--no-instructions", *([] if self._durable else ["--no-sync"])),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_environment(),
            pass_fds=[guard.fileno()],
            check=False,
            **identity(account),
        )
        if outcome.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            output = outcome.stdout.decode(errors="replace").strip()
            raise DatabaseUnavailableError(
                f"The database could not be created in {self.layout.data}:\n{output}",
                hint="Set NTRADER_HOME to another directory, or DATABASE_URL to a running server.",
            )
        self._execute(programs, f"CREATE DATABASE {DATABASE} STRATEGY file_copy", fresh, guard)
        # Whoever finds the data directory finds it whole.
        fresh.rename(self.layout.data)
        if self._durable:
            # Or a crash of the machine could undo the renaming, and the next start remove it all.
            flush_directory(self.layout.base)

    def _execute(self, programs: Programs, sql: str, data: Path, guard: FileLock) -> None:
        outcome = subprocess.run(
            [
                programs.directory / "postgres",
                "--single",
                *("-D", data),
                *_options(self._all_settings(programs)),
                "template1",
            ],
            input=sql.encode() + b"\n",
            capture_output=True,
            cwd="/",
            env=_environment(),
            pass_fds=[guard.fileno()],
            check=False,
            **identity(self.layout.account),
        )
        # The exit code is 0 after an error in SQL.
        complaints = outcome.stderr.decode(errors="replace")
        if outcome.returncode != 0 or "ERROR:" in complaints:
            raise DatabaseUnavailableError(f"PostgreSQL refused to set up: {complaints.strip()}")

    def _refuse_other_major(self, programs: Programs) -> None:
        major = (self.layout.data / "PG_VERSION").read_text().strip()
        if major != str(programs.major):
            raise DatabaseUnavailableError(
                f"The data in {self.layout.data} was made by PostgreSQL {major}; "
                f"PostgreSQL {programs.version} cannot open it.",
                hint=f"Set NTRADER_PG_BIN to the bin directory of a PostgreSQL {major}, "
                "or NTRADER_HOME to an empty directory to begin anew.",
            )

    def _spawn(self, programs: Programs, guard: FileLock) -> _Postmaster:
        # A pid file is stale here, but its pid may be some living process of today; the server
        # takes no offence at the pid of its grandparent.
        stale = self._stale_pid()
        environment = _environment()
        if stale is not None:
            environment["PG_GRANDPARENT_PID"] = str(stale)
        private_directory(self.layout.sockets, self.layout.account)
        _reap()
        with self.layout.log.open("ab") as log:
            process = _Postmaster(
                [
                    programs.directory / "postgres",
                    *("-D", self.layout.data),
                    *_options(self._all_settings(programs)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
                umask=0o077,
                pass_fds=[guard.fileno()],
                start_new_session=True,
                **identity(self.layout.account),
            )
        _started.append(process)
        return process

    def _all_settings(self, programs: Programs) -> dict[str, str]:
        directory = str(self.layout.sockets).replace('"', '""')
        return {
            **_SETTINGS,
            **({"io_method": "sync"} if programs.major >= 18 else {}),
            **({} if self._durable else _FORGETFUL),
            "unix_socket_directories": f'"{directory}"',
            **self._settings,
        }

    def _becomes_ready(self, process: _Postmaster) -> bool:
        def settled() -> bool:
            return process.poll() is not None or self.ready_pid() is not None

        return wait_until(settled, START_SECONDS) and process.returncode is None

    def _log_from(self, position: int) -> list[str]:
        with self.layout.log.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace").splitlines()[-_LOG_LINES:]

    def _open_log(self) -> int:
        """Create or rotate the log; return where the next start's lines begin."""
        log = self.layout.log
        log.parent.mkdir(mode=0o700, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        log.touch(mode=0o600)
        return log.stat().st_size

    def _pid_file(self) -> list[str]:
        # Its lines: pid, data directory, start time, port, socket directory, address, memory,
        # status. A server that starts has not written all of them.
        try:
            text = (self.layout.data / "postmaster.pid").read_text(errors="replace")
        except FileNotFoundError:
            return []
        return text.splitlines()

    def _connect(self, port: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # A stopped server's queue may be full: that is no reason to wait for ever.
            connection.settimeout(1.0)
            connection.connect(str(self.layout.sockets / f".s.PGSQL.{port}"))
        except OSError:
            connection.close()
            raise
        return connection

    def _peer(self) -> int | None:
        """Return the pid that listens on the socket, as we see it, or None if it is not known."""
        if sys.platform != "linux":
            return None
        port = self._pid_file()[3]
        with contextlib.suppress(OSError), self._connect(port) as connection:
            size = struct.calcsize("3i")
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            return int(struct.unpack("3i", credentials)[0])
        return None


def _environment() -> dict[str, str]:
    # Nothing of the user's: PG* and LD_* would change the server, LC_* may name a locale that
    # is not there, and secrets are none of its business.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _options(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
