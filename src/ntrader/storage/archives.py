"""Archives: reading the zip files of `archive_writing`, which are believed in nothing."""

import hashlib
import json
import math
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pydantic import ValidationError

from ntrader.domain.bundles import FORMAT, MANIFEST, VERSION, Manifest, Member
from ntrader.domain.faults import faults_text
from ntrader.errors import DamagedError, UsageError
from ntrader.storage.archive_writing import MAX_BYTES, MODE
from ntrader.storage.given_files import open_given
from ntrader.storage.seals import SEAL_SIZE, has_seal, seal_fits
from ntrader.storage.zip_headers import altered_member

MAX_TEXT = 256 << 20
"""The most that a member of JSON may have."""

MAX_RATIO = 200
"""How many times larger than in the zip a member may be, from `_RATIO_COUNTS_FROM` bytes on.

JSON packs 10 to 30 times; prices that never move pack 24 times, for their times do."""

_RATIO_COUNTS_FROM = 1 << 20
_MAX_MEMBERS = 100_000
_MAX_MANIFEST = 64 << 20
_MAX_DEPTH = 64
_CHUNK = 1 << 20
_LOCAL_HEADER = 30
# The writer's epoch in the format of MS-DOS.
_TIME, _DATE = 0, 1 << 5 | 1
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


class Archive:
    """An archive whose every byte was checked; `read` checks again what it reads."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._infos = self._checked_infos()
        self._members = self._checked_members()
        for name in self._members:
            for _ in self.pieces(name):
                pass

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._path.name

    @property
    def names(self) -> frozenset[str]:
        """The names of the members, without the manifest."""
        return frozenset(self._members)

    def size(self, name: str) -> int:
        """Return the size of a member in bytes."""
        return self._members[name].size

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member, some of it at a time, and never more than it should have.

        Raises:
            DamagedError: there is none, or all that was yielded is not what was exported.
        """
        if name not in self._members:
            raise self.damaged(f"the member {name} is missing")
        member, digest, left = self._members[name], hashlib.sha256(), self._members[name].size
        with self._broken_is_damaged(name), self._archive.open(self._infos[name]) as content:
            while left and (piece := content.read(min(left, _CHUNK))):
                left -= len(piece)
                digest.update(piece)
                yield piece
            more = content.read(1)
        if left or more or digest.hexdigest() != member.sha256:
            raise self.damaged(f"the member {name} is not what was exported")

    def read(self, name: str) -> bytes:
        """Return the content of a member; errors as for `pieces`."""
        return b"".join(self.pieces(name))

    def read_json(self, name: str) -> Any:
        """Return a member of JSON; errors as for `read`, also where it is no JSON."""
        if name in self._members and self._members[name].size > MAX_TEXT:
            raise self.damaged(f"the member {name} is too large")
        return self._parsed(name, self.read(name))

    def damaged(self, what: str) -> DamagedError:
        """Return the refusal of this archive."""
        return _damaged(self._path, what)

    def _checked_infos(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._archive.infolist()
        if len(infos) > _MAX_MEMBERS:
            raise self.damaged(f"it has {len(infos):,} members")
        found: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            reason = _refusal(info)
            if reason is None and info.filename in found:
                reason = "is there twice"
            if reason is not None:
                raise self.damaged(f"the member {info.orig_filename!r} {reason}")
            found[info.filename] = info
        return found

    def _checked_members(self) -> dict[str, Member]:
        """Return the members of the manifest, which are those of the zip."""
        if MANIFEST not in self._infos:
            raise UsageError(
                f"{self._path.name} is no export of ntrader: it has no {MANIFEST}.",
                hint="`ntrader export` makes such files.",
            )
        members = self._manifest().members
        listed = {*members, MANIFEST}
        for name in sorted(self._infos.keys() - listed):
            raise self.damaged(f"the member {name} is not in the manifest")
        for name in sorted(listed - self._infos.keys()):
            raise self.damaged(f"the member {name} is missing")
        if MANIFEST in members:
            raise self.damaged("the manifest lists itself")
        for name, member in members.items():
            size = self._infos[name].file_size
            if size != member.size:
                raise self.damaged(
                    f"the member {name} has {size:,} bytes where {member.size:,} were exported"
                )
        if sum(member.size for member in members.values()) > MAX_BYTES:
            raise self.damaged(f"its members have more than {MAX_BYTES >> 30} GiB together")
        return members

    def _manifest(self) -> Manifest:
        info = self._infos[MANIFEST]
        if info.file_size > _MAX_MANIFEST:
            raise self.damaged("the manifest is too large")
        with self._broken_is_damaged(MANIFEST):
            content = self._archive.read(MANIFEST)
        values = self._parsed(MANIFEST, content)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise UsageError(
                f"{self._path.name} is no export of ntrader.",
                hint="`ntrader export` makes such files.",
            )
        if values.get("version") != VERSION:
            raise UsageError(
                f"{self._path.name} has version {values.get('version')!r} of the format; "
                f"this ntrader reads version {VERSION}.",
                hint="A newer ntrader made it: update this one.",
            )
        try:
            return Manifest.model_validate(values)
        except ValidationError as error:
            raise self.damaged(f"the manifest is not valid: {faults_text(error)}") from error

    def _parsed(self, name: str, content: bytes) -> Any:
        try:
            value = json.loads(content.decode(), parse_constant=_refuse_constant)
            _refuse_unstorable(value)
        except (ValueError, RecursionError) as error:
            raise self.damaged(f"the member {name} is not readable ({error})") from error
        return value

    @contextmanager
    def _broken_is_damaged(self, name: str) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            raise self.damaged(f"the member {name} is damaged ({error})") from error


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """Open an archive and check all of it.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no archive of ours, or of a later version.
        DamagedError: it is cut off, or anything in it is not what was written; the message names
            the member.
    """
    with open_given(path) as file:
        whole = seal_fits(file)
        if not whole and (altered := _altered_member(file)) is not None:
            raise _damaged(
                path, f"the headers of the member {altered} are not as they were written"
            )
        try:
            archive = zipfile.ZipFile(file)
        except _BROKEN as error:
            raise _no_zip(path, file) from error
        with archive:
            opened = Archive(path, archive)
            if not whole:
                # What no member's hash covers: padding, the end of the zip, the seal.
                padded = _differently_packed(archive, opened.names)
                where = "outside of its members" if padded is None else f"within {padded}"
                raise opened.damaged(f"the file itself, {where}, is not as it was written")
            yield opened


def _damaged(path: Path, what: str) -> DamagedError:
    return DamagedError(
        f"{path.name} is refused: {what}.",
        hint="Nothing was imported. Get the file again, or export the runs again.",
    )


def _no_zip(path: Path, file: IO[bytes]) -> DamagedError | UsageError:
    file.seek(0)
    if file.read(4) == b"PK\x03\x04":
        return _damaged(path, "it is cut off or damaged")
    return UsageError(f"{path.name} is no zip file.", hint="`ntrader export` makes such files.")


def _altered_member(file: IO[bytes]) -> str | None:
    """Return the member whose headers are not as they are written here; None in a foreign zip."""
    if not has_seal(file):
        return None
    return altered_member(file, comment=SEAL_SIZE, time=_TIME, date=_DATE, mode=MODE)


def _differently_packed(archive: zipfile.ZipFile, names: Iterable[str]) -> str | None:
    """Return the one member that packs to other bytes: of its last byte some bits tell nothing."""
    found = []
    for name in sorted({*names, MANIFEST}):
        info = archive.getinfo(name)
        if info.compress_type == zipfile.ZIP_DEFLATED and not _packs_to_the_same(archive, info):
            found.append(name)
    # With another zlib all are packed differently, which tells nothing.
    return found[0] if len(found) == 1 else None


def _packs_to_the_same(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    file = archive.fp
    assert file is not None  # noqa: S101
    place = info.header_offset + _LOCAL_HEADER + len(info.orig_filename)
    end = place + info.compress_size
    for packed in _packed_again(archive, info):
        file.seek(place)
        if file.read(len(packed)) != packed:
            return False
        place += len(packed)
    return place == end


def _packed_again(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    with archive.open(info) as content:
        for piece in iter(partial(content.read, _CHUNK), b""):
            yield packer.compress(piece)
    yield packer.flush()


def _refusal(info: zipfile.ZipInfo) -> str | None:
    """Say why a member is refused by what the zip says of it, if it is."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    reasons = {
        "has a path that leads elsewhere": not _is_plain(info),
        "is a link": stat.S_ISLNK(kind),
        "is no file": kind not in (0, stat.S_IFREG, stat.S_IFLNK) or info.is_dir(),
        "is encrypted": bool(info.flag_bits & _ENCRYPTED),
        "is packed in a way that is not read here": info.compress_type not in _PACKED,
        "unpacks to far more than it should": info.file_size > _RATIO_COUNTS_FROM
        and info.file_size > MAX_RATIO * info.compress_size,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _is_plain(info: zipfile.ZipInfo) -> bool:
    name = info.orig_filename
    return (
        name == info.filename
        and name.isascii()
        and name.isprintable()
        and not any(char in name for char in "\\:")
        and not name.startswith("/")
        and ".." not in PurePosixPath(name).parts
        and name.rstrip("/") == str(PurePosixPath(name))
    )


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _refuse_unstorable(value: Any, depth: int = 0) -> None:
    """Refuse what PostgreSQL does not take (NUL, halves of surrogate pairs) or is no number."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    match value:
        case str():
            value.encode()
            if "\0" in value:
                raise ValueError("a NUL in a text")
        case float() if not math.isfinite(value):
            raise ValueError("a number out of range")
        case dict() | list():
            parts = (*value, *value.values()) if isinstance(value, dict) else value
            for part in parts:
                _refuse_unstorable(part, depth + 1)
