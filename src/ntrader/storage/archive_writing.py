"""Archives: zip files that are written in one way only; `archives` reads them.

An archive ends with its seal, as the zip's comment. Its manifest has the sha256 and the size of
every member.
"""

import hashlib
import json
import stat
import zipfile
from collections.abc import Iterable
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


def write_archive(path: Path, members: Iterable[tuple[str, bytes]], *, replace: bool) -> int:
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


def _write(file: IO[bytes], members: Iterable[tuple[str, bytes]]) -> None:
    listed: dict[str, Member] = {}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            _add(archive, name, content)
            listed[name] = Member(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
            if sum(member.size for member in listed.values()) > MAX_BYTES:
                raise UsageError(
                    f"These runs have more than {MAX_BYTES >> 30} GiB.",
                    hint="Export fewer at once, or leave --with-data out.",
                )
        _add(archive, MANIFEST, json_bytes(Manifest(members=listed).model_dump(mode="json")))
        archive.comment = NO_SEAL
    seal(file)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3
    info.external_attr = MODE
    # Parquet is packed already.
    packed = not name.endswith(".parquet")
    info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    archive.writestr(info, content)


def json_bytes(value: Any) -> bytes:
    """Return JSON as a member of an archive has it: sorted keys, one value a line."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
