"""What the machine refuses: a disk that is full or read-only, a file that may not be used."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ntrader.errors import MachineError

_ROOM = "Free some space, or set NTRADER_HOME to a directory on another disk."
_RIGHTS = "Check who may read and write it, or set NTRADER_HOME to another directory."
_FILES = "Close other programs, or raise the limit on open files (`ulimit -n`)."
_DISK = "Look at the system's log: the disk may be failing."

_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _RIGHTS,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOTDIR: _RIGHTS,
    errno.EEXIST: _RIGHTS,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.EIO: _DISK,
    errno.ESTALE: _DISK,
}


@contextmanager
def machine_faults() -> Iterator[None]:
    """Turn what the machine refuses into an error of ours; it is no bug.

    Raises:
        MachineError: the operating system says so, wherever in the block it was asked.
    """
    try:
        yield
    except OSError as error:
        hint = None if error.errno is None else _HINTS.get(error.errno)
        if error.errno is None or hint is None:
            raise
        where = "" if error.filename is None else f": {error.filename}"
        raise MachineError(f"{os.strerror(error.errno)}{where}.", hint=hint) from error
