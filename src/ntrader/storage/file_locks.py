"""Advisory locks on files, which the kernel drops when their holder dies, however it dies."""

import os
import sys
from types import TracebackType
from typing import Self

if sys.platform != "win32":
    import fcntl


def lock(descriptor: int) -> None:
    """Wait for the lock of an open file."""
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file unless another holds it; return whether it is held now."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class HeldFile:
    """An open file whose lock this process may hold: until it is closed, or the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Let go of the file; a lock lives as long as any other copy of the descriptor."""
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
