"""Locks on files by their paths, and who holds them."""

import os
import sys
from pathlib import Path

from ntrader.storage.file_locks import HeldFile, lock, try_lock

if sys.platform != "win32":
    import fcntl


class FileLock(HeldFile):
    """A `flock` on `path`, which is created if it is missing.

    A child that is executed does not inherit it, unless it is handed `fileno()` on purpose.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        super().__init__(os.open(path, flags, 0o600))

    def try_share(self) -> bool:
        """Take the shared lock if that needs no waiting."""
        return try_lock(self._descriptor, shared=True)

    def lock(self) -> None:
        """Wait for the exclusive lock."""
        lock(self._descriptor)

    def try_lock(self) -> bool:
        """Take the exclusive lock if that needs no waiting; what was held before is lost."""
        # Converting a lock is no single step on any system. Unlocking first makes every system
        # alike: of several holders that try at the same time, the last one to try gets it.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return try_lock(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor; the lock lives as long as any copy of it."""
        return self._descriptor


def holders(path: Path) -> tuple[int, ...] | None:
    """Return the processes that hold a shared lock on `path`, or None where it cannot be known."""
    try:
        inode = path.stat().st_ino
    except (FileNotFoundError, NotADirectoryError):
        return ()
    try:
        # A line is "1: FLOCK  ADVISORY  READ 812 fe:00:1057 0 EOF".
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    # Only the inode: some file systems show another device here than stat does.
    return tuple(
        sorted(
            {
                int(fields[4])
                for fields in lines
                if fields[1] == "FLOCK"
                and fields[3] == "READ"
                and fields[5].rpartition(":")[2] == str(inode)
            }
        )
    )
