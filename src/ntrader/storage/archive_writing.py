"""Archives: zip files that are written in one way only; `archives` reads them.

An archive ends with its seal, as the zip's comment. Its manifest has the sha256 and the size of
every member.
"""

import hashlib
import json
import stat
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ntrader.domain.bundles import MANIFEST, Manifest, Member
from ntrader.errors import UsageError
from ntrader.storage.parts import whole_file
from ntrader.storage.seals import NO_SEAL, seal

MAX_BYTES = 4 << 30
"""The most that the members of one archive may have together, unpacked."""

MODE = (stat.S_IFREG | 0o644) << 16
"""What every member is, as a zip says it: a plain file."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Streamed:
    """The content of a member that is never in memory; its pieces have `size` bytes together."""

    size: int
    pieces: Iterable[bytes]


type Content = bytes | Streamed


def write_archive(path: Path, members: Iterable[tuple[str, Content]], *, replace: bool) -> int:
    """Write members, given in the order of their names, and return the size of the file.

    The same members give the same bytes (with one version of zlib). The file appears whole or not
    at all.

    Raises:
        UsageError: the file is there and not to be replaced, cannot be written, or the members have
            more than `MAX_BYTES` together.
    """
    with whole_file(path, replace=replace) as file:
        _write(file, members)
        return file.tell()


def _write(file: IO[bytes], members: Iterable[tuple[str, Content]]) -> None:
    listed: dict[str, Member] = {}
    left = MAX_BYTES
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            left -= len(content) if isinstance(content, bytes) else content.size
            if left < 0:
                raise UsageError(
                    f"These runs have more than {MAX_BYTES >> 30} GiB.",
                    hint="Export fewer at once, or leave --with-data out.",
                )
            listed[name] = _add(archive, name, content)
        _add(archive, MANIFEST, json_bytes(Manifest(members=listed).model_dump(mode="json")))
        archive.comment = NO_SEAL
    seal(file)


def _add(archive: zipfile.ZipFile, name: str, content: Content) -> Member:
    if isinstance(content, bytes):
        content = Streamed(len(content), (content,))
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3
    info.external_attr = MODE
    # Parquet is packed already.
    packed = not name.endswith(".parquet")
    info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    # The room that its header takes depends on it.
    info.file_size = content.size
    digest, size = hashlib.sha256(), 0
    with archive.open(info, "w") as member:
        for piece in content.pieces:
            digest.update(piece)
            size += member.write(piece)
    return Member(sha256=digest.hexdigest(), size=size)


def json_bytes(value: Any) -> bytes:
    """Return JSON as a member of an archive has it: sorted keys, one value a line."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
