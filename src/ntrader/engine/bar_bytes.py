"""Bars as bytes: what their hash covers, to be taken to another machine."""

import time

import numpy as np

from ntrader.engine.bars import COLUMNS, Bars, find_faults

_WORD = np.dtype("<i8")


def to_bytes(bars: Bars) -> bytes:
    """Return the columns one after another as little-endian int64, 48 bytes for each bar.

    They are the bytes that `ntrader.engine.bars.content_hash` covers after its header.
    """
    return b"".join(
        np.ascontiguousarray(getattr(bars, name), dtype=_WORD).tobytes() for name in COLUMNS
    )


def from_bytes(content: bytes, *, price_precision: int, size_precision: int) -> Bars:
    """Read what `to_bytes` wrote.

    Raises:
        ValueError: these are no whole bars, or no clean ones.
    """
    rows, rest = divmod(len(content), _WORD.itemsize * len(COLUMNS))
    if rest or not rows:
        raise ValueError(f"{len(content)} bytes are no whole bars")
    table = np.frombuffer(content, dtype=_WORD).astype(np.int64).reshape(len(COLUMNS), rows)
    columns = dict(zip(COLUMNS, table, strict=True))
    bars = Bars(**columns, price_precision=price_precision, size_precision=size_precision)
    faults = find_faults(bars, now=time.time_ns(), limit=1)
    if faults:
        raise ValueError(f"bar {faults[0].row}: {faults[0].text}")
    return bars
