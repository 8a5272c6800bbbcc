"""Spools: what an import holds until it is sure of it, on disk and not in memory."""

import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from ntrader.engine.bars import COLUMNS, Bars

_WORD = np.dtype("<i8")


class NumberSpool:
    """Blocks of decimals by role, in the order in which they were added."""

    def __init__(self, directory: Path | None) -> None:
        self._file = anonymous_file(self, directory)

    def add(self, numbers: Mapping[str, pa.Array]) -> None:
        """Keep a block; decimals of blocks may differ in their width."""
        batch = pa.RecordBatch.from_arrays(list(numbers.values()), list(numbers))
        with pa.ipc.new_stream(self._file, batch.schema) as stream:
            stream.write_batch(batch)

    def blocks(self) -> Iterator[Mapping[str, pa.Array]]:
        """Yield the blocks; one walk at a time."""
        end = self._file.seek(0, 2)
        position = 0
        while position < end:
            self._file.seek(position)
            with pa.ipc.open_stream(self._file) as stream:
                batch = stream.read_next_batch()
                # Past the mark at its end.
                for _ in stream:
                    pass
            position = self._file.tell()
            yield {name: batch.column(name) for name in batch.schema.names}


class SpooledBars:
    """Bars on disk: a `BarSource` that also knows its precisions and its labels.

    Attributes:
        times: The labels of all of them, the only column that is in memory.
    """

    def __init__(self, empty: Bars, directory: Path | None) -> None:
        self._empty = empty
        self._file = anonymous_file(self, directory)
        self._lengths: list[int] = []
        self.price_precision = empty.price_precision
        self.size_precision = empty.size_precision

    def __len__(self) -> int:
        return sum(self._lengths)

    def add(self, bars: Bars) -> None:
        """Append bars."""
        table = np.stack([getattr(bars, name) for name in COLUMNS]).astype(_WORD, copy=False)
        self._file.write(table.tobytes())
        self._lengths.append(len(bars))

    def parts(self) -> Iterator[Bars]:
        """Yield the bars as they were added; one walk at a time."""
        position = 0
        for length in self._lengths:
            self._file.seek(position)
            content = self._file.read(length * _WORD.itemsize * len(COLUMNS))
            position += len(content)
            table = np.frombuffer(content, dtype=_WORD).reshape(len(COLUMNS), length)
            columns: dict[str, Any] = dict(zip(COLUMNS, table, strict=True))
            yield replace(self._empty, **columns)

    def chunks(self, size: int) -> Iterator[Bars]:
        """Yield the bars in their order, at most `size` at a time."""
        for part in self.parts():
            yield from part.chunks(size)


def anonymous_file(owner: object, directory: Path | None) -> BinaryIO:
    """Return a file without a name, which is gone with its owner or with the process."""
    file = cast("BinaryIO", tempfile.TemporaryFile(dir=directory))  # noqa: SIM115
    weakref.finalize(owner, _drop, file)
    return file


def _drop(file: BinaryIO) -> None:
    # What there was no room for is told where it was written; now nobody wants it any more.
    with suppress(OSError):
        file.close()
