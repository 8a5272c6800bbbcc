"""Home directories for tests with servers."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ntrader.storage.embedded.accounts import Account


@contextmanager
def temporary_home(parent: Path = Path("/tmp")) -> Iterator[Path]:
    """Yield an empty directory that is removed at the end.

    pytest's own directories are closed to all but their owner. Root's server runs as another
    user: it would keep its data outside of them, where nobody removes it.
    """
    # Short, so that the path of a socket in it is not too long, even where TMPDIR is.
    path = Path(tempfile.mkdtemp(prefix="ntrader-test-", dir=parent))
    if os.geteuid() == 0:
        path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def reachable_base(directory: Path, account: Account) -> Path:
    """Return a fresh directory that `account` may pass through, in `directory` if it may."""
    parent = directory if account.may_search(directory) else Path("/tmp")
    base = Path(tempfile.mkdtemp(prefix="ntrader-test-", dir=parent))
    if not account.is_current:
        base.chmod(0o711)
    return base
