"""The files of runs: equity curves and trades, on a disk or wherever fsspec reaches."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from ntrader.domain.artifacts import Artifact, ArtifactKind
from ntrader.errors import DamagedError, NotFoundError
from ntrader.storage import parquet
from ntrader.storage.parquet import Column
from ntrader.storage.parts import open_part, remove_free_parts

if TYPE_CHECKING:
    import numpy as np
    from fsspec import AbstractFileSystem

_PARQUET_MIME_TYPE = "application/vnd.apache.parquet"


class ArtifactStore:
    """Files below one root, a path or a URL: each run has a directory of its own.

    A file appears whole or not at all.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root_url = os.fspath(root)

    def write_table(self, run_id: UUID, filename: str, columns: Mapping[str, Column]) -> Artifact:
        """Write columns of one length as Parquet; see `ntrader.storage.parquet.write`.

        Raises:
            OSError: the file cannot be written.
        """
        content = parquet.write(columns)
        storage_path = storage_path_of(run_id, filename)
        self._write(storage_path, content)
        return Artifact(
            id=uuid4(),
            run_id=run_id,
            kind=ArtifactKind.PARQUET,
            filename=filename,
            storage_path=storage_path,
            mime_type=_PARQUET_MIME_TYPE,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            created_at=datetime.now(UTC),
        )

    def keep(self, artifact: Artifact, content: bytes) -> None:
        """Write the file of a run from elsewhere to its `storage_path`; see `storage_path_of`.

        Raises:
            OSError: the file cannot be written.
        """
        self.keep_at(artifact.storage_path, content)

    def keep_at(self, storage_path: str, content: bytes) -> None:
        """Write a file whose row is to come; one that has this content already stays.

        Raises:
            OSError: the file cannot be written.
        """
        with suppress(FileNotFoundError):
            if self._files.cat_file(self._path(storage_path)) == content:
                return
        self._write(storage_path, content)

    def read_table(self, artifact: Artifact) -> "dict[str, list[Any] | np.ndarray[Any, Any]]":
        """Return the columns of a Parquet file; see `ntrader.storage.parquet.read`.

        Raises:
            NotFoundError: the file is gone.
            DamagedError: the file is not the one that was saved.
        """
        return parquet.read(self.read(artifact))

    def read(self, artifact: Artifact) -> bytes:
        """Return the content of a file; raises as `read_table`."""
        path = self._path(artifact.storage_path)
        try:
            content: bytes = self._files.cat_file(path)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"The file {artifact.filename} of run {artifact.run_id} is gone.",
                hint=f"It was {path}. Machines that share a database share the directory of "
                "artifacts too: was the run made on another one, mount it here.",
            ) from error
        if hashlib.sha256(content).hexdigest() != artifact.sha256:
            raise DamagedError(
                f"The file {artifact.filename} of run {artifact.run_id} is not as it was saved.",
                hint=f"Something changed {path}.",
            )
        return content

    def remove(self, artifacts: Iterable[Artifact]) -> None:
        """Remove files, and the directories that they leave empty; what is gone is fine."""
        directories = set()
        for artifact in artifacts:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._path(artifact.storage_path))
            directories.add(artifact.storage_path.rpartition("/")[0])
        for directory in directories:
            self._remove_empty(directory)

    def discard(self, run_id: UUID) -> None:
        """Remove whatever there is of a run, as when it could not be saved."""
        directory = _directory(run_id)
        with suppress(FileNotFoundError):
            self._files.rm(self._path(directory), recursive=True)
        self._remove_empty(directory)

    @cached_property
    def _opened(self) -> "tuple[AbstractFileSystem, str]":
        from fsspec.core import url_to_fs

        files, root = url_to_fs(self._root_url)
        return files, root.rstrip("/")

    @property
    def _files(self) -> "AbstractFileSystem":
        return self._opened[0]

    def _path(self, storage_path: str) -> str:
        return f"{self._opened[1]}/{storage_path}"

    def _write(self, storage_path: str, content: bytes) -> None:
        path = self._path(storage_path)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        if _is_local(self._files):
            _write_to_disk(Path(path), content)
            return
        temporary = f"{path}.{uuid4().hex}.part"
        try:
            self._files.pipe_file(temporary, content)
            self._files.mv(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                self._files.rm_file(temporary)
            raise

    def _remove_empty(self, directory: str) -> None:
        """Remove a run's directory and the one above it, if nothing else is there."""
        for each in (directory, directory.partition("/")[0]):
            # Not there, not empty, or of a store that has no directories.
            with suppress(OSError, NotImplementedError):
                self._files.rmdir(self._path(each))


def storage_path_of(run_id: UUID, filename: str) -> str:
    """Return where a file of a run is, relative to the store's root."""
    return f"{_directory(run_id)}/{filename}"


def _directory(run_id: UUID) -> str:
    return f"{run_id.hex[:2]}/{run_id}"


def _write_to_disk(path: Path, content: bytes) -> None:
    # A restore that was killed left its part here, and nobody else writes this file again.
    remove_free_parts(path.parent, os.listdir(path.parent), f"{path.name}.")
    part, descriptor = open_part(path, mode=0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # The database will say that it is there: it must survive what the database survives.
            os.fsync(descriptor)
            part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def _is_local(files: "AbstractFileSystem") -> bool:
    return "file" in ((files.protocol,) if isinstance(files.protocol, str) else files.protocol)
