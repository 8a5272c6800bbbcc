"""The journal: what was begun and is not yet saved, in a directory that survives the process.

An entry is one file, `RUN.entry`. Its first line names the format, the state and the sha256 of what
follows: a document in JSON. It appears and is replaced whole or not at all, flushed to disk.

Whoever works on an entry holds a `flock` on its file, from before the file has its name. The kernel
drops the lock of a process that ends, however it ends: an entry that can be locked belongs to
nobody any more, and whoever locks it first may save it.
"""

import contextlib
import hashlib
import json
import os
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from ntrader.errors import DamagedError, JournalError
from ntrader.storage.file_locks import HeldFile, try_lock
from ntrader.storage.parts import flush_directory, open_part, remove_free_parts

_FORMAT = "ntrader-journal 1"
_ENTRY = ".entry"
_DAMAGED = ".damaged"


class EntryState(StrEnum):
    """What an entry is, seen from outside.

    RUNNING: its process lives, or somebody saves it just now. ENDED: its result waits. ABANDONED:
    its process ended without a result. DAMAGED: it cannot be read, or was set aside.
    """

    RUNNING = "running"
    ENDED = "ended"
    ABANDONED = "abandoned"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry as `Journal.look` finds it; `document` is None where it is running or damaged."""

    run_id: UUID
    state: EntryState
    path: Path
    document: dict[str, Any] | None = None


class Journal:
    """The entries in one directory, which is made when it is first needed.

    Any number of processes may use it at once. On Windows, which has no such locks, it stays empty.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def begin(self, run_id: UUID, document: dict[str, Any]) -> "Entry":
        """Write the entry of a run that begins, and hold it.

        Raises:
            JournalError: it cannot be written, as where the disk is full; there is no entry then.
        """
        path = self._path(run_id)
        if sys.platform == "win32":
            return Entry(run_id, path, -1)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _put(path, _encoded(document, ended=False))
            try:
                flush_directory(self.directory)
            except OSError:
                path.unlink(missing_ok=True)
                os.close(descriptor)
                raise
        except OSError as error:
            raise _not_written(self.directory, error) from error
        return Entry(run_id, path, descriptor)

    def run_ids(self) -> tuple[UUID, ...]:
        """Return the runs that have an entry; those that were set aside do not count."""
        return tuple(run_id for run_id, suffix in self._names() if suffix == _ENTRY)

    def has_work(self) -> bool:
        """Whether there is anything to save or to tidy up; one listing of the directory."""
        try:
            return any(not name.endswith(_DAMAGED) for name in os.listdir(self.directory))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            # Whoever tries to do it will say why.
            return True

    def claim(self, run_id: UUID) -> "Entry | None":
        """Hold the entry of a run whose process is gone; None where it lives, or has no entry."""
        path = self._path(run_id)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _not_written(self.directory, error) from error
        if try_lock(descriptor) and _is_at(descriptor, path):
            return Entry(run_id, path, descriptor)
        os.close(descriptor)
        return None

    def look(self) -> tuple[Waiting, ...]:
        """Return what is in the journal, oldest first; nothing is changed."""
        found = [self._look_at(run_id, suffix) for run_id, suffix in self._names()]
        return tuple(each for each in found if each is not None)

    def remove_remains(self) -> None:
        """Remove what processes left that ended while they wrote: it never was an entry."""
        remove_free_parts(self.directory, self._listed())

    def _look_at(self, run_id: UUID, suffix: str) -> Waiting | None:
        path = self._path(run_id).with_suffix(suffix)
        if suffix == _DAMAGED:
            return Waiting(run_id, EntryState.DAMAGED, path)
        try:
            with path.open("rb") as file:
                # Shared: two that look at once do not take each other for the run's process.
                if not try_lock(file.fileno(), shared=True):
                    return Waiting(run_id, EntryState.RUNNING, path)
                ended, document = _decoded(path, file.read())
        except FileNotFoundError:
            return None
        except (DamagedError, OSError):
            return Waiting(run_id, EntryState.DAMAGED, path)
        state = EntryState.ENDED if ended else EntryState.ABANDONED
        return Waiting(run_id, state, path, document)

    def _names(self) -> Iterator[tuple[UUID, str]]:
        for name in self._listed():
            stem, dot, suffix = name.partition(".")
            if dot + suffix in (_ENTRY, _DAMAGED):
                with contextlib.suppress(ValueError):
                    yield UUID(stem), dot + suffix

    def _listed(self) -> list[str]:
        try:
            with os.scandir(self.directory) as found:
                entries = list(found)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _not_written(self.directory, error) from error
        if len(entries) < 2:
            return [entry.name for entry in entries]
        return [entry.name for entry in sorted(entries, key=_age)]

    def _path(self, run_id: UUID) -> Path:
        return self.directory / f"{run_id}{_ENTRY}"


class Entry(HeldFile):
    """An entry that this process holds, until it is closed: it stays for whoever saves it.

    A forked child does not hold it: the run is its parent's.
    """

    def __init__(self, run_id: UUID, path: Path, descriptor: int) -> None:
        super().__init__(descriptor)
        self.run_id = run_id
        self.path = path
        _held.add(self)

    def read(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the run has ended, and the document.

        Raises:
            DamagedError: the file is not what was written.
        """
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            return _decoded(self.path, file.read())

    def finish(self, document: dict[str, Any]) -> None:
        """Put the document of the run that has ended in place of what there is.

        Raises:
            JournalError: it cannot be written; the entry is what it was.
        """
        if sys.platform == "win32":
            raise JournalError("There is no journal on Windows.")
        try:
            descriptor = _put(self.path, _encoded(document, ended=True))
            self.close()
            self._descriptor = descriptor
            flush_directory(self.path.parent)
        except OSError as error:
            raise _not_written(self.path.parent, error) from error

    def remove(self) -> None:
        """Remove the entry: what it says is saved. A file that stays is saved again, to no effect.

        Raises:
            JournalError: the file cannot be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise _not_written(self.path.parent, error) from error
        finally:
            self.close()

    def set_aside(self) -> Path:
        """Give the entry a name under which nobody tries to save it, and return that.

        Raises:
            JournalError: the file cannot be renamed.
        """
        aside = self.path.with_suffix(_DAMAGED)
        try:
            self.path.rename(aside)
        except OSError as error:
            raise _not_written(self.path.parent, error) from error
        finally:
            self.close()
        return aside


_held: weakref.WeakSet[Entry] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for entry in _held:
        entry.close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_let_go_of_all)


def _put(path: Path, content: bytes) -> int:
    """Write the file at `path` whole or not at all; return its descriptor, which holds the lock."""
    part, descriptor = open_part(path)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file still is the one at `path`: it may have been replaced or removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _age(entry: os.DirEntry[str]) -> tuple[float, str]:
    try:
        return entry.stat(follow_symlinks=False).st_mtime, entry.name
    except OSError:
        return 0.0, entry.name


def _encoded(document: dict[str, Any], *, ended: bool) -> bytes:
    body = json.dumps(document, separators=(",", ":")).encode()
    state = "ended" if ended else "begun"
    return f"{_FORMAT} {state} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def _decoded(path: Path, content: bytes) -> tuple[bool, dict[str, Any]]:
    head, _, body = content.partition(b"\n")
    digest = hashlib.sha256(body).hexdigest()
    for state, ended in (("begun", False), ("ended", True)):
        if head == f"{_FORMAT} {state} {digest}".encode():
            document: dict[str, Any] = json.loads(body)
            return ended, document
    raise DamagedError(f"{path} is not as it was written.")


def _not_written(directory: Path, error: OSError) -> JournalError:
    return JournalError(
        f"The journal in {directory} cannot be used: {error.strerror or error}.",
        hint="Free some space, or set NTRADER_HOME to a directory that you may write to. "
        "`ntrader run --no-save` needs no journal.",
    )
