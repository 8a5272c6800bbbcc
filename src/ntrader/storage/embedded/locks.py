"""Advisory locks on files, which the kernel drops when their holder dies, however it dies."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

if sys.platform != "win32":
    import fcntl


class FileLock:
    """A `flock` on `path`, which is created if it is missing.

    A child that is executed does not inherit it, unless it is handed `fileno()` on purpose.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, 0o600)

    def try_share(self) -> bool:
        """Take the shared lock if that needs no waiting."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def lock(self) -> None:
        """Wait for the exclusive lock."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def try_lock(self) -> bool:
        """Take the exclusive lock if that needs no waiting; what was held before is lost."""
        # Converting a lock is no single step on any system. Unlocking first makes every system
        # alike: of several holders that try at the same time, the last one to try gets it.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def fileno(self) -> int:
        """Return the descriptor; the lock lives as long as any copy of it."""
        return self._descriptor

    def close(self) -> None:
        """Drop this copy of the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


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
