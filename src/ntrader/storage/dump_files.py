"""Dump files: tar files that are written in one pass and read with constant memory.

A tar file needs no directory of its members, which for a million runs would not fit into memory;
any tar reads it, and `sha256sum -c SHA256SUMS` checks it.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from pydantic import ValidationError

from ntrader.domain.dumps import (
    ARTIFACT,
    BARS,
    CONTENTS,
    DATASET,
    FORMAT,
    HEADER,
    PART,
    SUMS,
    VERSION,
    DumpContents,
    DumpHeader,
)
from ntrader.domain.faults import faults_text
from ntrader.errors import DamagedError, UsageError
from ntrader.storage.archive_writing import json_bytes
from ntrader.storage.given_files import open_given
from ntrader.storage.parts import whole_file

_CHUNK = 1 << 20
_LEVEL = 6
_MAX_JSON = 256 << 20
_BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError)
_HINT = "Nothing was restored. Get the file again, or make the dump again."
_NO_DUMP = "`ntrader db dump` makes such files."


class DumpWriter:
    """A dump that is being written, member by member.

    `directory` has room for the largest of them, packed: a tar file wants to know its size first.
    """

    def __init__(self, tar: tarfile.TarFile, sums: IO[bytes], directory: Path) -> None:
        self._tar = tar
        self._sums = sums
        self._directory = directory

    def add(self, name: str, content: bytes) -> None:
        """Add a member."""
        self.add_file(name, io.BytesIO(content))

    def add_packed(self, name: str, content: bytes) -> None:
        """Add a member, compressed; the same content gives the same bytes (with one zlib)."""
        self.add(name, gzip.compress(content, _LEVEL, mtime=0))

    def add_file(self, name: str, content: IO[bytes]) -> None:
        """Add a member that is never in memory."""
        content.seek(0)
        self._sums.write(_sum_line(_hash(content), name))
        size = content.tell()
        content.seek(0)
        self._add(name, content, size)

    @contextmanager
    def packed(self, pieces: Iterable[bytes]) -> Iterator[IO[bytes]]:
        """Give a file with the bytes that `add_packed` would write of all the pieces."""
        with TemporaryFile(dir=self._directory) as file:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0) as packer:
                for piece in pieces:
                    packer.write(piece)
            yield file

    def finish(self) -> None:
        """Add the sums of all members."""
        size = self._sums.tell()
        self._sums.seek(0)
        self._add(SUMS, self._sums, size)

    def _add(self, name: str, content: IO[bytes], size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._tar.addfile(info, content)
        _forget(self._tar)


@contextmanager
def written_dump(path: Path, *, replace: bool) -> Iterator[DumpWriter]:
    """Write a dump; the file appears whole, when the block ends well, or not at all.

    Raises:
        UsageError: the file is there and not to be replaced, or cannot be written.
    """
    # Only for its owner: the notes and the code in it may be private.
    with (
        whole_file(path, replace=replace, private=True) as file,
        TemporaryFile(dir=path.parent) as sums,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        writer = DumpWriter(tar, sums, path.parent)
        yield writer
        writer.finish()


class DumpReader:
    """A dump whose every byte was checked against its sums."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.header = self._read_header()
        self.contents = self._verified_contents()

    def files(self) -> Iterator["DumpMember"]:
        """Give the members that are no rows, in order: data, then the files of runs."""
        for info, content in self._members():
            if ARTIFACT.fullmatch(info.name) or info.name.startswith("datasets/"):
                yield DumpMember(info.name, content, self)
            elif info.name.startswith("tables/"):
                return

    def rows(self, table: str) -> Iterator[bytes]:
        """Give the rows of a table in the text format of COPY, some of them at a time."""
        left = self.contents.tables[table].size
        for offset, size in self._parts[table]:
            self._file.seek(offset)
            packed = io.BytesIO(self._file.read(size))
            for chunk in self.unpacked(packed, left, f"the table {table}"):
                left -= len(chunk)
                yield chunk
        if left:
            raise self.damaged(f"the table {table} has less than it should")

    def unpacked(self, packed: IO[bytes], most: int, what: str) -> Iterator[bytes]:
        """Give what was packed, some of it at a time, and never more than `most` bytes.

        Raises:
            DamagedError: there are more, or they cannot be unpacked.
        """
        with self.broken_is_damaged(), gzip.GzipFile(fileobj=packed) as content:
            while chunk := content.read(_CHUNK):
                most -= len(chunk)
                if most < 0:
                    raise self.damaged(f"{what} has more than it should")
                yield chunk

    def damaged(self, what: str) -> DamagedError:
        """Return the refusal of this dump."""
        return DamagedError(f"{self._path.name} is refused: {what}.", hint=_HINT)

    def _read_header(self) -> DumpHeader:
        refusal = UsageError(f"{self._path.name} is no dump of ntrader.", hint=_NO_DUMP)
        try:
            info, content = next(self._members())
        except (StopIteration, DamagedError):
            raise refusal from None
        if info.name != HEADER or info.size > _MAX_JSON:
            raise refusal
        text = content.read()
        if f'"version": {VERSION}'.encode() not in text and f'"{FORMAT}"'.encode() in text:
            raise UsageError(
                f"{self._path.name} has a format that this ntrader does not read.",
                hint="A newer ntrader made it: update this one.",
            )
        try:
            return DumpHeader.model_validate_json(text)
        except ValidationError as error:
            raise refusal from error

    def _verified_contents(self) -> DumpContents:
        contents: bytes | None = None
        # What breaks while a member is read does so here, not in the loop that gives it.
        with self.broken_is_damaged(), TemporaryFile() as sums:
            for info, content in self._members():
                if info.name == SUMS:
                    self._compare(sums, content)
                    break
                if not _is_expected(info.name):
                    raise self.damaged(f"the member {info.name!r} has no place in a dump")
                sums.write(_sum_line(_hash(content), info.name))
                if part := PART.fullmatch(info.name):
                    self._parts[part[1]].append((info.offset_data, info.size))
                elif info.name == CONTENTS and info.size <= _MAX_JSON:
                    content.seek(0)
                    contents = content.read()
            else:
                raise self.damaged("it is cut off or damaged")
        if contents is None:
            raise self.damaged(f"the member {CONTENTS} is missing")
        return self._checked(contents)

    def _compare(self, computed: IO[bytes], recorded: IO[bytes]) -> None:
        computed.seek(0)
        for here, there in zip_longest(computed, recorded, fillvalue=b""):
            if here != there:
                _, _, name = (here or there).decode(errors="replace").rstrip().partition("  ")
                raise self.damaged(f"the member {name} is not what was dumped")

    def _checked(self, text: bytes) -> DumpContents:
        try:
            contents = DumpContents.model_validate_json(text)
        except ValidationError as error:
            raise self.damaged(f"{CONTENTS} is not valid: {faults_text(error)}") from error
        counted = {name: len(parts) for name, parts in self._parts.items()}
        said = {name: table.parts for name, table in contents.tables.items() if table.parts}
        if counted != said:
            raise self.damaged(f"{CONTENTS} does not fit its tables")
        return contents

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        self._file.seek(0)
        with self.broken_is_damaged(), tarfile.open(fileobj=self._file, mode="r:") as tar:
            while (info := tar.next()) is not None:
                content = tar.extractfile(info) if info.type == tarfile.REGTYPE else None
                if content is None or info.issparse():
                    raise self.damaged(f"the member {info.name!r} is no file")
                yield info, content
                _forget(tar)

    @contextmanager
    def broken_is_damaged(self) -> Iterator[None]:
        """Tell what a damaged file causes as what it is."""
        try:
            yield
        except _BROKEN as error:
            raise self.damaged(f"it is cut off or damaged ({error})") from error


@dataclass(frozen=True, slots=True)
class DumpMember:
    """A member that is being gone past; it is read before the next one is asked for."""

    name: str
    _content: IO[bytes]
    _dump: DumpReader

    def read(self) -> bytes:
        """Return its content."""
        with self._dump.broken_is_damaged():
            return self._content.read()

    def unpacked(self, most: int) -> Iterator[bytes]:
        """Give what was packed in it; see `DumpReader.unpacked`."""
        return self._dump.unpacked(self._content, most, f"the member {self.name}")


@contextmanager
def opened_dump(path: Path) -> Iterator[DumpReader]:
    """Open a dump and check all of it.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no dump of ours, or of a later format.
        DamagedError: it is cut off, or anything in it is not what was written.
    """
    with open_given(path) as file:
        yield DumpReader(path, file)


def as_json(record: DumpHeader | DumpContents) -> bytes:
    """Return a record as a member has it."""
    return json_bytes(record.model_dump(mode="json"))


def _is_expected(name: str) -> bool:
    patterns = (ARTIFACT, DATASET, BARS, PART)
    return name in (HEADER, CONTENTS) or any(pattern.fullmatch(name) for pattern in patterns)


def _forget(tar: Any) -> None:
    """Keep a tar file from remembering every member; it has no other way to be told."""
    tar.members.clear()


def _hash(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _sum_line(digest: str, name: str) -> bytes:
    return f"{digest}  {name}\n".encode()
