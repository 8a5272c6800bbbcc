"""Home directories for tests with servers."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ntrader.storage.embedded.accounts import Account

_ROOM_BYTES = 1_000_000_000


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Yield an empty directory that is removed at the end, in memory where there is room.

    pytest's own directories are closed to all but their owner. Root's server runs as another
    user: it would keep its data outside of them, where nobody removes it.
    """
    # Short, so that the path of a socket in it is not too long, even where TMPDIR is.
    path = Path(tempfile.mkdtemp(prefix="ntrader-test-", dir=_memory()))
    if os.geteuid() == 0:
        path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _memory() -> Path:
    """Return a directory in memory, where writing, syncing and removing cost next to nothing."""
    directory = Path("/dev/shm")
    roomy = directory.is_dir() and shutil.disk_usage(directory).free > _ROOM_BYTES
    return directory if roomy and os.access(directory, os.W_OK) else Path("/tmp")


def embedded_environment(home: Path) -> dict[str, str]:
    """Return variables for the embedded server of `home`, also where others name a server."""
    return {
        "NTRADER_HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "DATABASE_URL": "",
        "NTRADER_DATABASE_URL": "",
    }


def reachable_base(directory: Path, account: Account) -> Path:
    """Return a fresh directory that `account` may pass through, in `directory` if it may."""
    parent = directory if account.may_search(directory) else _memory()
    base = Path(tempfile.mkdtemp(prefix="ntrader-test-", dir=parent))
    if not account.is_current:
        base.chmod(0o711)
    return base
