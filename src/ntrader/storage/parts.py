"""Parts: files under a name of their own until they are whole.

Whoever writes a part holds a `flock` on it. The kernel drops the lock of a process that ends,
however it ends: a part that can be locked is nobody's, and the next one who comes removes it.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO
from uuid import uuid4

from ntrader.errors import UsageError
from ntrader.storage.file_locks import lock, try_lock

_SUFFIX = ".part"


def open_part(path: Path, *, mode: int = 0o600) -> tuple[Path, int]:
    """Make a new part beside `path`; return its name and its descriptor, which holds the lock."""
    while True:
        part = path.with_name(f".{path.name}.{uuid4().hex}{_SUFFIX}")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        try:
            lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink:
            return part, descriptor
        # Between its creation and its lock somebody took it for what a dead process left.
        os.close(descriptor)


def remove_free_parts(directory: Path, names: Iterable[str], of: str = "") -> None:
    """Remove those of `names` that are parts (of the file `of` alone) and that nobody writes."""
    for name in names:
        if name.startswith(f".{of}") and name.endswith(_SUFFIX):
            with contextlib.suppress(OSError):
                _remove_if_free(directory / name)


@contextlib.contextmanager
def whole_file(path: Path, *, replace: bool, private: bool = False) -> Iterator[IO[bytes]]:
    """Write a file that appears whole, when the block ends well, or not at all.

    What killed processes left of the same file is removed. `private` is for its owner only.

    Raises:
        UsageError: the file is there and not to be replaced, or cannot be written.
    """
    part: Path | None = None
    try:
        remove_free_parts(path.parent, os.listdir(path.parent), f"{path.name}.")
        part, descriptor = open_part(path, mode=0o600 if private else 0o666)
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            _put_in_place(part, path, replace=replace)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Choose another place."
        ) from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()


def already_there(path: Path) -> UsageError:
    """Return the refusal to replace a file."""
    return UsageError(f"{path} is there already.", hint="Add --force to replace it.")


def flush_directory(directory: Path) -> None:
    """Wait until the names in a directory are on disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_free(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if try_lock(descriptor):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _put_in_place(part: Path, path: Path, *, replace: bool) -> None:
    if replace:
        part.replace(path)
        return
    try:
        # Unlike a rename, a link never replaces what somebody else wrote meanwhile.
        os.link(part, path)
    except FileExistsError as error:
        raise already_there(path) from error
    except OSError:
        # A file system without links.
        if path.exists():
            raise already_there(path) from None
        part.replace(path)
