"""The account that the server runs as, and what that account may reach.

PostgreSQL refuses to run as root. Where we are root, the server gets an account of its own.
"""

import contextlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from ntrader.errors import DatabaseUnavailableError

if sys.platform != "win32":
    import pwd


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, by number. A uid without an entry in the user database is fine."""

    uid: int
    gid: int

    @property
    def is_current(self) -> bool:
        """Whether this process runs as the account already."""
        return self.uid == os.geteuid()

    def may_search(self, directory: Path) -> bool:
        """Whether the account may pass through `directory` and all that is above it."""
        return all(self._may_enter(path) for path in (directory, *directory.parents))

    def _may_enter(self, directory: Path) -> bool:
        try:
            status = directory.stat()
        except FileNotFoundError:
            return True
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def current_account() -> Account:
    """Return the account of this process."""
    return Account(os.geteuid(), os.getegid())


def unprivileged_account() -> Account:
    """Return the account that serves root: `postgres` where it exists, else `nobody`.

    Raises:
        DatabaseUnavailableError: neither exists.
    """
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise DatabaseUnavailableError(
        "PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody.",
        hint="Run ntrader as an ordinary user, or set DATABASE_URL.",
    )


def owner_of(path: Path) -> Account:
    """Return the account that `path` belongs to."""
    status = path.stat()
    return Account(status.st_uid, status.st_gid)


def private_directory(path: Path, account: Account) -> Path:
    """Create `path` for `account` alone, or check that it is just that.

    The mode of a directory that exists is never changed.

    Raises:
        DatabaseUnavailableError: something else is there, or somebody else may get in.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not account.is_current:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
        status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or status.st_mode & 0o077:
        raise DatabaseUnavailableError(
            f"{path} is not a private directory of the database server.",
            hint=f"Remove it, or make it mode 0700 and owned by uid {account.uid}.",
        )
    return path
