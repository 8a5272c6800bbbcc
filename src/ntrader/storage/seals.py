"""Seals: a file that ends with the sha256, in hex, of all that is before it."""

import hashlib
import os
import re
from typing import IO

SEAL_SIZE = 64
NO_SEAL = b"0" * SEAL_SIZE
"""What holds a seal's place until `seal` is called."""

_SEAL = re.compile(rb"[0-9a-f]{64}")
_CHUNK = 1 << 20


def seal(file: IO[bytes]) -> None:
    """Replace the last bytes of a file, `NO_SEAL`, by its seal."""
    digest = _digest(file, file.seek(0, os.SEEK_END) - SEAL_SIZE)
    file.seek(-SEAL_SIZE, os.SEEK_END)
    file.write(digest)


def has_seal(file: IO[bytes]) -> bool:
    """Whether a file ends with what may be a seal."""
    return _SEAL.fullmatch(_tail(file)) is not None


def seal_fits(file: IO[bytes]) -> bool:
    """Whether a file ends with its own seal."""
    return has_seal(file) and _tail(file) == _digest(file, file.seek(0, os.SEEK_END) - SEAL_SIZE)


def _tail(file: IO[bytes]) -> bytes:
    file.seek(max(file.seek(0, os.SEEK_END) - SEAL_SIZE, 0))
    return file.read()


def _digest(file: IO[bytes], length: int) -> bytes:
    """Return the sha256 of the first `length` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while length and (chunk := file.read(min(length, _CHUNK))):
        length -= len(chunk)
        digest.update(chunk)
    return digest.hexdigest().encode()
