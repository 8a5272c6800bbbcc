"""Where the files of the embedded server are."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ntrader.errors import DatabaseUnavailableError
from ntrader.storage.embedded.accounts import (
    Account,
    current_account,
    owner_of,
    unprivileged_account,
)

PORT = 5432
ROOT_HOME = Path("/var/lib/ntrader")

# macOS takes 103 bytes for the path of a socket, Linux 107: use one rule for both.
_LONGEST_SOCKET = 103
_NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs"),
        *("glusterfs", "fuse.glusterfs", "fuse.sshfs"),
    }
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one home's server, and the account that the server runs as.

    `locks` is always HOME/postgres. `base`, with the data, the sockets and the log, is the same
    directory, unless root's server account may not pass through it: then it is below ROOT_HOME.
    """

    locks: Path
    base: Path
    account: Account

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.base / "data"

    @property
    def log(self) -> Path:
        """The server's log; the one before it has `.1` appended."""
        return self.base / "log" / "server.log"

    @property
    def users_lock(self) -> Path:
        """Shared by all that use the server; exclusive while the last of them stops it."""
        return self.locks / "users.lock"

    @property
    def server_lock(self) -> Path:
        """Taken to start the server, and then held by its own processes while any of them lives."""
        return self.locks / "server.lock"

    @property
    def kept(self) -> Path:
        """A marker: the last user leaves the server running."""
        return self.locks / "kept"

    @property
    def sockets(self) -> Path:
        """The directory of the server's socket."""
        directory = self.base / "run"
        socket = os.fsencode(directory / f".s.PGSQL.{PORT}")
        # A comma separates hosts in a connection string.
        if len(socket) <= _LONGEST_SOCKET and b"," not in socket:
            return directory
        # Not tempfile.gettempdir(): every process must come to the same answer.
        return Path("/tmp") / f"ntrader-{self.account.uid}-{_digest(self.base)}"  # noqa: S108


def locate(home: Path) -> Layout:
    """Return the layout for `home`, from what exists already; nothing is created.

    Raises:
        DatabaseUnavailableError: the home's server belongs to another user.
    """
    locks = home / "postgres"
    current = current_account()
    if locks.exists() and locks.stat().st_uid != current.uid:
        raise DatabaseUnavailableError(
            f"The database in {locks} belongs to another user (uid {locks.stat().st_uid}).",
            hint="Run ntrader as that user, or set NTRADER_HOME to a directory of your own.",
        )
    if current.uid != 0:
        return Layout(locks, locks, current)
    # What was chosen once stays, even if permissions above it or the list of users change.
    elsewhere = ROOT_HOME / _digest(home)
    for base in (locks, elsewhere):
        if (base / "data").exists():
            return Layout(locks, base, owner_of(base / "data"))
    account = unprivileged_account()
    return Layout(locks, locks if account.may_search(home) else elsewhere, account)


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the network file system that `path` is on; None if on none, or unknown.

    `mounts` is a text like that of /proc/self/mountinfo, which is read by default.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return None
    path = path.resolve()
    depth, found = -1, ""
    for line in mounts.splitlines():
        # Such as "36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/sda1 rw".
        place, _, description = line.partition(" - ")
        point = Path(place.split()[4].replace("\\040", " "))
        # The last of several mounts at one place covers the others.
        if len(point.parts) >= depth and path.is_relative_to(point):
            depth, found = len(point.parts), description.split()[0]
    return found if found in _NETWORK_FILE_SYSTEMS else None


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
