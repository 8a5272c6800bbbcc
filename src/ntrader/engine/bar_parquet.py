"""Bars in a Parquet file, in the layout of NautilusTrader's catalog, read and written in chunks.

Neither side holds more than a chunk: a dataset may be larger than the memory.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntrader.domain.datasets import Instrument
from ntrader.domain.timeframes import Timeframe
from ntrader.engine import decimals
from ntrader.engine.bars import Bars, Integers, hash_of_columns, header, joined, regrouped
from ntrader.engine.instruments import bar_type_text

ROW_GROUP = 65_536
"""Bars in a row group: the period of a run is found by them, and one is read at a time."""

_HEADER_KEY = b"ntrader"
# NautilusTrader keeps a number as a 16-byte integer scaled by 1e16: the layout of a decimal128.
_RAW_BYTES = 16
_RAW = pa.decimal128(38, 16)
_NUMBERS = ("open", "high", "low", "close", "volume")
_LABEL, _CLOSE = "ts_event", "ts_init"
# A page at a time, so that a file of one large row group is read in little memory too.
_BUFFER = 1 << 16


@dataclass(frozen=True, slots=True)
class BarFile:
    """The bars of a stored file whose labels lie in a period; none is held in memory.

    `first_label` and `last_label` are those of the first and the last of them, None without bars.
    """

    path: Path
    instrument: Instrument
    timeframe: Timeframe
    first_label: int | None
    last_label: int | None
    _groups: tuple[int, ...]
    _skipped: int
    _rows: int

    @classmethod
    def open(cls, path: Path, first: int | None, last: int | None) -> "BarFile":
        """Find the bars with labels in [`first`, `last`), in nanoseconds; None is open.

        Raises:
            pyarrow.ArrowException, OSError, LookupError, TypeError, ValueError: it is damaged.
        """
        with _opened(path) as parquet:
            described = json.loads(parquet.schema_arrow.metadata[_HEADER_KEY])
            period = _Period.find(parquet, first, last)
        return cls(
            path=path,
            instrument=Instrument.from_dict(described["instrument"]),
            timeframe=Timeframe.parse(described["timeframe"]),
            first_label=period.first_label,
            last_label=period.last_label,
            _groups=period.groups,
            _skipped=period.skipped,
            _rows=period.rows,
        )

    def __len__(self) -> int:
        return self._rows

    def chunks(self, size: int) -> Iterator[Bars]:
        """Yield the bars in their order, at most `size` at a time.

        Raises: as `open`, also where the file is not the one that was opened.
        """
        for batch in self._batches(size, None):
            yield _to_bars(batch, self.instrument)

    def whole(self) -> Bars:
        """Return all the bars: 48 bytes for each."""
        if self._rows == 0:
            return _to_bars(_empty_batch(), self.instrument)
        return joined(self.chunks(ROW_GROUP))

    def labels(self) -> Iterator[Integers]:
        """Yield the labels of the bars in chunks."""
        for batch in self._batches(ROW_GROUP, _LABEL):
            yield _from_uint64(batch.column(_LABEL))

    def columns(self) -> Iterator[Iterator[Integers]]:
        """Yield the columns as the content hash has them, each read for itself and in chunks."""
        yield self.labels()
        yield from map(self._numbers, _NUMBERS)

    def content_hash(self) -> str:
        """Return the content hash of the bars."""
        return hash_of_columns(self.columns(), self.instrument, self.timeframe)

    def _numbers(self, name: str) -> Iterator[Integers]:
        precision = _precisions(self.instrument)[name]
        for batch in self._batches(ROW_GROUP, name):
            yield _from_raw(batch.column(name), precision)

    def _batches(self, size: int, column: str | None) -> Iterator[pa.RecordBatch]:
        """Yield the period's rows, of all columns or of one."""
        columns = None if column is None else [column]
        skip, left = self._skipped, self._rows
        with _opened(self.path) as parquet:
            for batch in parquet.iter_batches(
                size, row_groups=list(self._groups), columns=columns, use_threads=False
            ):
                part = batch.slice(skip, left)
                skip = max(0, skip - len(batch))
                left -= len(part)
                if len(part):
                    yield part
        if left:
            raise ValueError(f"{left} bars are missing")


@dataclass(frozen=True, slots=True)
class _Period:
    """Where in a file the bars of a period are."""

    groups: tuple[int, ...]
    skipped: int
    rows: int
    first_label: int | None
    last_label: int | None

    @classmethod
    def find(cls, parquet: pq.ParquetFile, first: int | None, last: int | None) -> "_Period":
        groups = _row_groups(parquet.metadata, first, last)
        counts = [parquet.metadata.row_group(group).num_rows for group in groups]
        if not groups:
            return cls((), 0, 0, None, None)
        head, tail = _labels_of(parquet, groups[0]), _labels_of(parquet, groups[-1])
        skipped = 0 if first is None else int(np.searchsorted(head, first))
        cut = 0 if last is None else len(tail) - int(np.searchsorted(tail, last))
        rows = sum(counts) - skipped - cut
        if rows <= 0:
            return cls((), 0, 0, None, None)
        # Either lies in the group that it is read from: every group meets the period.
        return cls(groups, skipped, rows, int(head[skipped]), int(tail[len(tail) - cut - 1]))


def write_bars(
    directory: Path, parts: Iterable[Bars], instrument: Instrument, timeframe: Timeframe
) -> Path:
    """Write the bars below `directory`, as NautilusTrader names and lays out its files.

    No object is made of a bar. `parts` are the series in order, at least one bar in all.
    """
    bar_type = bar_type_text(instrument, timeframe)
    below = directory / "data" / "bar" / bar_type.replace("/", "")
    below.mkdir(parents=True)
    growing = below / "bars.parquet"
    schema = _schema(instrument, timeframe)
    first, last = None, 0
    # Readers check every page against its checksum: a flipped bit is damage, not another price.
    with pq.ParquetWriter(growing, schema, write_page_checksum=True) as writer:
        for part in regrouped(parts, ROW_GROUP):
            writer.write_batch(_to_batch(part, timeframe, schema), row_group_size=ROW_GROUP)
            closes = part.close_times(timeframe)
            first = int(closes[0]) if first is None else first
            last = int(closes[-1])
    if first is None:
        raise ValueError("there are no bars to write")
    # The name holds the last instant, which only the end of the parts tells.
    return growing.rename(below / f"{_file_time(first)}_{_file_time(last)}.parquet")


def _opened(path: Path) -> AbstractContextManager[Any]:
    opened: AbstractContextManager[Any] = pq.ParquetFile(
        path, page_checksum_verification=True, buffer_size=_BUFFER
    )
    return opened


def _row_groups(metadata: pq.FileMetaData, first: int | None, last: int | None) -> tuple[int, ...]:
    """Return the row groups whose labels meet [`first`, `last`)."""
    column = metadata.schema.names.index(_LABEL)
    groups = []
    for group in range(metadata.num_row_groups):
        bounds = metadata.row_group(group).column(column).statistics
        before = last is None or bounds.min < last
        after = first is None or bounds.max >= first
        if before and after:
            groups.append(group)
    return tuple(groups)


def _labels_of(parquet: pq.ParquetFile, group: int) -> Integers:
    column = parquet.read_row_group(group, columns=[_LABEL], use_threads=False).column(0)
    parts = [_from_uint64(chunk) for chunk in column.chunks]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _schema(instrument: Instrument, timeframe: Timeframe) -> pa.Schema:
    return pa.schema(
        [
            *(pa.field(name, pa.binary(_RAW_BYTES), nullable=False) for name in _NUMBERS),
            *(pa.field(name, pa.uint64(), nullable=False) for name in (_LABEL, _CLOSE)),
        ],
        metadata={
            b"bar_type": bar_type_text(instrument, timeframe).encode(),
            b"instrument_id": instrument.id.encode(),
            b"price_precision": str(instrument.price_precision).encode(),
            b"size_precision": str(instrument.size_precision).encode(),
            _HEADER_KEY: header(instrument, timeframe).encode(),
        },
    )


def _precisions(instrument: Instrument) -> dict[str, int]:
    prices = dict.fromkeys(_NUMBERS, instrument.price_precision)
    return prices | {"volume": instrument.size_precision}


def _to_batch(bars: Bars, timeframe: Timeframe, schema: pa.Schema) -> pa.RecordBatch:
    precisions = dict.fromkeys(_NUMBERS, bars.price_precision) | {"volume": bars.size_precision}
    arrays = [_to_raw(getattr(bars, name), precisions[name]) for name in _NUMBERS]
    times = (bars.times, bars.close_times(timeframe))
    arrays += [pa.array(each.astype(np.uint64)) for each in times]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _to_bars(batch: pa.RecordBatch, instrument: Instrument) -> Bars:
    precisions = _precisions(instrument)
    numbers = {name: _from_raw(batch.column(name), precisions[name]) for name in _NUMBERS}
    return Bars(
        times=_from_uint64(batch.column(_LABEL)),
        **numbers,
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
    )


def _empty_batch() -> pa.RecordBatch:
    fields = [(name, pa.binary(_RAW_BYTES)) for name in _NUMBERS]
    fields += [(name, pa.uint64()) for name in (_LABEL, _CLOSE)]
    arrays = [pa.array([], kind) for _, kind in fields]
    return pa.RecordBatch.from_arrays(arrays, [name for name, _ in fields])


def _to_raw(values: Integers, precision: int) -> pa.Array:
    """Return int64 scaled by 10**`precision` as NautilusTrader's raw numbers."""
    raw = decimals.from_int64(values, precision).cast(_RAW)
    return pa.Array.from_buffers(
        pa.binary(_RAW_BYTES), len(raw), [None, raw.buffers()[1]], offset=raw.offset
    )


def _from_uint64(column: pa.Array) -> Integers:
    """Return instants as int64, by their buffers: pyarrow's own conversion imports pandas."""
    if not len(column):
        return np.empty(0, dtype=np.int64)
    words = np.frombuffer(column.buffers()[1], dtype="<i8")
    return words[column.offset : column.offset + len(column)].copy()


def _from_raw(column: pa.Array, precision: int) -> Integers:
    """Return NautilusTrader's raw numbers as int64 scaled by 10**`precision`."""
    raw = pa.Array.from_buffers(_RAW, len(column), column.buffers(), offset=column.offset)
    return decimals.to_int64(raw.cast(pa.decimal128(38, precision)))


def _file_time(value: int) -> str:
    text = str(np.datetime64(value, "ns"))
    return text.replace(":", "-").replace(".", "-") + "Z"
