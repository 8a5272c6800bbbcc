"""Bars as bytes: what their hash covers, to be taken to another machine.

The columns one after another as little-endian int64: the bytes that
`ntrader.engine.bars.content_hash` covers after its header.
"""

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ntrader.domain.datasets import Instrument
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bar_spools import anonymous_file
from ntrader.engine.bars import COLUMNS, Bars, Integers, begun_hash, find_faults

_WORD = np.dtype("<i8")
_PART = 65_536

BAR_BYTES = _WORD.itemsize * len(COLUMNS)
"""What each bar takes."""


def to_bytes(columns: Iterable[Iterable[Integers]]) -> Iterator[bytes]:
    """Yield the bytes of columns in the order of `COLUMNS`, each in chunks."""
    for chunk in chain.from_iterable(columns):
        yield np.ascontiguousarray(chunk, dtype=_WORD).tobytes()


class CarriedBars:
    """Bars that came as bytes, on disk: a `BarSource`.

    A bar's numbers are far from each other in them, so they wait in an unnamed file.

    Attributes:
        content_hash: The hash of what came.
    """

    def __init__(
        self,
        content: Iterable[bytes],
        instrument: Instrument,
        timeframe: Timeframe,
        directory: Path | None,
    ) -> None:
        """Read all of `content`; `directory` has room for it.

        Raises:
            ValueError: these are no whole bars, or no clean ones.
        """
        self._instrument = instrument
        self._file = anonymous_file(self, directory)
        digest = begun_hash(instrument, timeframe)
        size = 0
        for piece in content:
            digest.update(piece)
            size += self._file.write(piece)
        self._rows, rest = divmod(size, BAR_BYTES)
        if rest or not self._rows:
            raise ValueError(f"{size} bytes are no whole bars")
        self._refuse_faulty()
        self.content_hash = digest.hexdigest()

    def __len__(self) -> int:
        return self._rows

    @property
    def first_label(self) -> int:
        """The label of the first bar, in nanoseconds."""
        return int(self._column(0, 0, 1)[0])

    @property
    def last_label(self) -> int:
        """The label of the last bar, in nanoseconds."""
        return int(self._column(0, self._rows - 1, 1)[0])

    def parts(self) -> Iterator[Bars]:
        """Yield the bars in their order, some at a time."""
        return self.chunks(_PART)

    def chunks(self, size: int) -> Iterator[Bars]:
        """Yield the bars in their order, at most `size` at a time."""
        for first in range(0, self._rows, size):
            count = min(size, self._rows - first)
            columns: dict[str, Any] = {
                name: self._column(number, first, count) for number, name in enumerate(COLUMNS)
            }
            yield Bars(
                **columns,
                price_precision=self._instrument.price_precision,
                size_precision=self._instrument.size_precision,
            )

    def _column(self, number: int, first: int, count: int) -> Integers:
        self._file.seek((number * self._rows + first) * _WORD.itemsize)
        content = self._file.read(count * _WORD.itemsize)
        return np.frombuffer(content, dtype=_WORD).astype(np.int64, copy=False)

    def _refuse_faulty(self) -> None:
        now, above = time.time_ns(), 0
        before: int | None = None
        for part in self.parts():
            faults = find_faults(part, now=now, limit=1, before=before)
            if faults:
                raise ValueError(f"bar {above + faults[0].row}: {faults[0].text}")
            above, before = above + len(part), int(part.times[-1])
