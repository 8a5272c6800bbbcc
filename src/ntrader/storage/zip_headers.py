"""Zip headers: which member's headers are not as `archives.write_archive` writes them.

A member has two: one before its content, and an entry in the directory at the end. All that the
second says follows from the first and its place, so an altered byte in one is told by the other.
This only names what a checksum of the whole file has refused already.

Format: PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import IO, NamedTuple

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC, _ENTRY_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"

_VERSION, _UNIX = 20, 3
_PLAIN = re.compile(rb"[A-Za-z0-9_./-]{1,255}")
_LARGE = 0xFFFFFFFF
"""Stands for a size or place that is told elsewhere: such archives are not read here."""


class _Sizes(NamedTuple):
    checksum: int
    packed: int
    unpacked: int


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands before a member's content; `place` is where, `end` where the content ends."""

    name: bytes
    place: int
    method: int
    sizes: _Sizes

    @property
    def end(self) -> int:
        return self.place + _LOCAL.size + len(self.name) + self.sizes.packed

    def is_as_written(self, file: IO[bytes], time: int, date: int) -> bool:
        """Whether its fields are those that are written before such a content."""
        fields = (_VERSION, 0, self.method, time, date, *self.sizes, len(self.name), 0)
        return _read(file, self.place, _LOCAL.size) == _LOCAL.pack(_LOCAL_MAGIC, *fields)

    def entry(self, time: int, date: int, mode: int) -> bytes:
        """Return the entry in the directory that belongs to it."""
        made_by = _UNIX << 8 | _VERSION
        about = (made_by, _VERSION, 0, self.method, time, date, *self.sizes)
        rest = (len(self.name), 0, 0, 0, 0, mode, self.place)
        return _ENTRY.pack(_ENTRY_MAGIC, *about, *rest) + self.name


def altered_member(file: IO[bytes], *, comment: int, time: int, date: int, mode: int) -> str | None:
    """Return the first member whose headers are not as they were written; None without one.

    `comment` is the size of the zip's comment in bytes; `time`, `date` and `mode` are what every
    member has, as the format writes them.
    """
    directory = _directory(file, comment)
    if directory is None:
        return None
    headers, entries = _headers(file, directory), _entries(file, directory)
    for header, entry in zip_longest(headers, entries, fillvalue=None):
        if header is not None and header.sizes.packed == _LARGE:
            return None
        if header is None or not header.is_as_written(file, time, date):
            return _told(header, entry)
        if entry != header.entry(time, date, mode):
            return _told(header, entry)
    return None


def _told(header: _Header | None, entry: bytes | None) -> str:
    """Return the name in a header and in an entry, where they differ both: one of them is right."""
    names = {b"" if header is None else header.name, (entry or b"")[_ENTRY.size :]} - {b""}
    plain = {name for name in names if _PLAIN.fullmatch(name)} or names
    return " or ".join(sorted(name.decode("ascii", "backslashreplace") for name in plain))


def _directory(file: IO[bytes], comment: int) -> tuple[int, int] | None:
    """Return where the directory begins and ends; None where that itself is not told well."""
    end = file.seek(0, os.SEEK_END) - comment - _END.size
    if end < 0:
        return None
    *about, size, begin, told = _END.unpack(_read(file, end, _END.size))
    magic, disk, first_disk, here, members = about
    whole = (magic, disk, first_disk, here, begin + size, told)
    return (begin, end) if whole == (_END_MAGIC, 0, 0, members, end, comment) else None


def _headers(file: IO[bytes], directory: tuple[int, int]) -> Iterator[_Header]:
    place = 0
    while place < directory[0]:
        raw = _read(file, place, _LOCAL.size)
        if len(raw) < _LOCAL.size or not raw.startswith(_LOCAL_MAGIC):
            return
        _, _, _, method, _, _, *sizes, length, _ = _LOCAL.unpack(raw)
        header = _Header(_read(file, place + _LOCAL.size, length), place, method, _Sizes(*sizes))
        yield header
        place = header.end


def _entries(file: IO[bytes], directory: tuple[int, int]) -> Iterator[bytes]:
    place, end = directory
    while place < end:
        raw = _read(file, place, _ENTRY.size)
        if len(raw) < _ENTRY.size or not raw.startswith(_ENTRY_MAGIC):
            return
        length = _ENTRY.unpack(raw)[10]
        yield _read(file, place, _ENTRY.size + length)
        place += _ENTRY.size + length


def _read(file: IO[bytes], place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)
