"""Files on this machine's disk that may belong to nothing: finding them, and setting them aside."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_LOCK = ".filling.lock"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file below a directory; `path` is relative to it, `modified` in seconds since 1970."""

    path: str
    modified: float


def walk(root: Path) -> Iterator[list[FoundFile]]:
    """Give all files below `root`, those of one of its entries at a time; it may be missing."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(root)):
            if found := list(_below(root, name)):
                yield found


def modified(path: Path) -> float | None:
    """Return when a file or a directory was last written to, or None where it is gone."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return None


def set_aside(file: Path, *, home: Path, shelf: Path) -> bool:
    """Move a file or directory below `home` to the same place below `shelf`.

    Returns False where it is gone, as when another process has just removed it. The directories
    that it leaves empty go.
    """
    target = shelf / file.relative_to(home)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.move(file, target)
    except FileNotFoundError:
        return False
    for directory in file.parents:
        if directory.parent == home:
            break
        try:
            directory.rmdir()
        except OSError:
            break
    return True


def new_shelf(home: Path) -> Path:
    """Return a directory of this moment's own to set files aside in; it is not made yet."""
    return home / "lost+found" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


@contextmanager
def filling(home: Path) -> Iterator[None]:
    """Tell others, while the block runs, that files are written long before their rows."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def not_filling(home: Path) -> Iterator[bool]:
    """Give whether nobody is in `filling`; then nobody gets in before the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _below(root: Path, name: str) -> Iterator[FoundFile]:
    top = root / name
    if not top.is_dir() or top.is_symlink():
        yield from _found(root, top)
        return
    for directory, _, files in os.walk(top):
        for file in files:
            yield from _found(root, Path(directory, file))


def _found(root: Path, path: Path) -> Iterator[FoundFile]:
    # Gone between the listing and the look: another process removes it.
    if (seconds := modified(path)) is not None:
        yield FoundFile(path.relative_to(root).as_posix(), seconds)
