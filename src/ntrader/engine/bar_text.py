"""The text of a file in blocks of whole lines, and which line each row is on.

Whatever its encoding and whether it is packed, a file comes as UTF-8 without a byte order mark, and
no more than a block of it is in memory.
"""

import codecs
import gzip
import io
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any

from ntrader.engine.bar_roles import EXPECTED
from ntrader.errors import InvalidDataError

HEAD_BYTES = 40_000
"""So much of a file is looked at to find out how to read it."""

_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(slots=True)
class Lines:
    """Which line each row is on: rows are the lines that are not blank.

    Only where blank lines move the rows is a mark kept.
    """

    rows: int = 0
    lines: int = 0
    _marked_rows: list[int] = field(default_factory=lambda: [0])
    _offsets: list[int] = field(default_factory=lambda: [1])

    def count(self, block: bytes) -> None:
        """Take the next block of whole lines."""
        if b"\r" not in block and b"\n\n" not in block and not block.startswith(b"\n"):
            number = block.count(b"\n") + (not block.endswith(b"\n"))
            self.rows += number
            self.lines += number
            return
        for line in block.splitlines():
            if line:
                self.rows += 1
            else:
                self._mark()
            self.lines += 1

    def _mark(self) -> None:
        offset = self.lines + 2 - self.rows
        if self._marked_rows[-1] == self.rows:
            self._offsets[-1] = offset
        else:
            self._marked_rows.append(self.rows)
            self._offsets.append(offset)

    def number(self, row: int) -> int:
        """Return the number of the line that a row (counted from 0) is on."""
        return row + self._offsets[bisect_right(self._marked_rows, row) - 1]


class Text:
    """The text of an open file, read once.

    Attributes:
        head: What it begins with, `HEAD_BYTES` or more of it if there is so much.
        lines: Counts the lines of the blocks that were taken.

    Raises:
        InvalidDataError: it is no text, damaged or empty; later parts raise from `blocks`.
    """

    def __init__(self, name: str, file: IO[bytes], start: bytes) -> None:
        self._name = name
        self._pieces = _utf8(name, _unpacked(name, file, start))
        self.head = b""
        for piece in self._pieces:
            self.head += piece
            if len(self.head) >= HEAD_BYTES and self.head.strip():
                break
        if not self.head.strip():
            raise InvalidDataError(f"{name} is empty.", hint=EXPECTED)
        self.lines = Lines()

    def blocks(self, start: int, size: int) -> Iterator[bytes]:
        """Yield the text from byte `start` on, in blocks of whole lines of about `size` bytes.

        What is above `start`, within the head, is counted as lines.

        Raises:
            InvalidDataError: a later part is no text, or a line is longer than a block may be.
        """
        above, held = self.head[:start], self.head[start:]
        self.head = b""
        if above:
            self.lines.count(above)
        for piece in chain(self._pieces, [b""]):
            held += piece
            while len(held) > size:
                block, held = self._cut(held, size)
                if not block:
                    break
                yield block
        if held:
            yield held

    def _cut(self, held: bytes, size: int) -> tuple[bytes, bytes]:
        """Cut off the whole lines of about `size` bytes; nothing if the first line goes on."""
        end = held.rfind(b"\n", 0, size) + 1 or held.find(b"\n", size) + 1
        # Lines that end with a carriage return alone; the last one may be half of an end.
        end = end or held.rfind(b"\r", 0, size - 1) + 1 or held.find(b"\r", size, len(held) - 1) + 1
        if not end and len(held) > size + _PIECE:
            raise InvalidDataError(
                f"{self._name}: line {self.lines.lines + 1} is longer than {len(held):,} bytes.",
                hint="Every bar needs a line of its own. Nothing was stored.",
            )
        return held[:end], held[end:]


def _unpacked(name: str, file: IO[bytes], start: bytes) -> Iterator[bytes]:
    """Yield the content of a file in pieces, unpacked; `start` was read from it already."""
    if not start.startswith(_GZIP):
        yield start
        while piece := file.read(_PIECE):
            yield piece
        return
    try:
        with gzip.open(io.BufferedReader(_Rejoined(start, file)), "rb") as packed:
            while piece := packed.read(_PIECE):
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidDataError(f"{name} is a damaged gzip file.") from error


class _Rejoined(io.RawIOBase):
    """A file whose first bytes were read already: it may be a pipe, which has no way back."""

    def __init__(self, start: bytes, file: IO[bytes]) -> None:
        self._start = start
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        taken, self._start = self._start[:size], self._start[size:]
        taken = taken or self._file.read(size)
        buffer[: len(taken)] = taken
        return len(taken)


def _utf8(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield text as UTF-8 without a byte order mark."""
    decoder: codecs.IncrementalDecoder | None = None
    try:
        for piece in pieces:
            if decoder is None:
                encoding = "utf-16" if piece[:2] in _UTF_16 else "utf-8-sig"
                decoder = codecs.getincrementaldecoder(encoding)()
            yield _checked(name, decoder.decode(piece))
        if decoder is not None:
            yield _checked(name, decoder.decode(b"", final=True))
    except UnicodeDecodeError as error:
        raise _not_text(name) from error


def _checked(name: str, text: str) -> bytes:
    if "\0" in text:
        raise _not_text(name)
    return text.encode()


def _not_text(name: str) -> InvalidDataError:
    return InvalidDataError(
        f"{name} is neither text in UTF-8 nor Parquet.", hint="Save it as CSV or Parquet."
    )
