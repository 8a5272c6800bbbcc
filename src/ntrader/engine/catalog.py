"""Market data on disk: one immutable NautilusTrader catalog for each dataset.

    ROOT/<content hash>/data/bar/<bar type>/<first>_<last>.parquet
    ROOT/<content hash>/data/<equity or currency_pair>/<instrument>/....parquet

Each dataset's directory is a `ParquetDataCatalog` of its own that anybody can open with
NautilusTrader. Its name is the hash of what it holds, so it never changes: two imports of the same
bars meet in one directory, and a run's data cannot be altered behind its back. Bars are stamped as
NautilusTrader wants it: `ts_event` is the label, `ts_init` the instant of the close.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntrader.domain.datasets import Instrument
from ntrader.domain.timeframes import Timeframe
from ntrader.engine import decimals
from ntrader.engine.bars import Bars, Integers, content_hash, header, nanoseconds
from ntrader.engine.instruments import bar_type_text, to_bar_type, to_nautilus
from ntrader.errors import DamagedError, NotFoundError

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar

_HASH = re.compile(r"[0-9a-f]{64}")
_PARTIAL = ".partial-"
_HEADER_KEY = b"ntrader"
_ROW_GROUP = 65_536
# NautilusTrader keeps a number as a 16-byte integer scaled by 1e16: the layout of a decimal128.
_RAW_BYTES = 16
_RAW = pa.decimal128(38, 16)
_NUMBERS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class StoredBars:
    """Bars with what they are of."""

    bars: Bars
    instrument: Instrument
    timeframe: Timeframe


class Catalog:
    """The datasets below one directory, which is made at the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, content_hash: str) -> Path:
        """Return the directory of a dataset: the root of a `ParquetDataCatalog`.

        Raises:
            NotFoundError: there is no such dataset.
        """
        path = self.root / content_hash
        if _HASH.fullmatch(content_hash) is None or not path.is_dir():
            raise NotFoundError(
                f"The data of dataset {content_hash[:12]} are not in {self.root}.",
                hint="Import the original file again, or `ntrader import` an export that was made "
                "with `ntrader export --with-data` where they are.",
            )
        return path

    def write(self, bars: Bars, instrument: Instrument, timeframe: Timeframe) -> str:
        """Store `bars` and return their content hash; what is stored already stays as it is.

        The dataset appears whole or not at all, also when the process or the machine dies. A stored
        copy that does not verify any more is replaced.
        """
        digest = content_hash(bars, instrument, timeframe)
        final = self.root / digest
        self.root.mkdir(parents=True, exist_ok=True)
        with self._writing():
            if self._is_sound(digest):
                return digest
            partial = self.root / f"{_PARTIAL}{uuid4().hex}"
            _write_bars(partial, bars, instrument, timeframe)
            _write_instrument(partial, instrument)
            _flush(partial)
            if final.exists():
                final.rename(self.root / f"{_PARTIAL}{uuid4().hex}")
            partial.rename(final)
            _flush_directory(self.root)
        return digest

    def load(
        self, content_hash: str, start: datetime | None = None, end: datetime | None = None
    ) -> Bars:
        """Return the bars whose labels are in [`start`, `end`); aware datetimes, None is open.

        Raises:
            NotFoundError: there is no such dataset.
            DamagedError: its files are damaged.
        """
        first = None if start is None else nanoseconds(start)
        last = None if end is None else nanoseconds(end)
        with _translated(content_hash):
            return _read(_bar_file(self.path(content_hash)), first, last).bars

    def open(self, content_hash: str) -> StoredBars:
        """Return all bars of a dataset together with its instrument and timeframe.

        Raises:
            NotFoundError: there is no such dataset.
            DamagedError: its files are damaged.
        """
        with _translated(content_hash):
            return _read(_bar_file(self.path(content_hash)), None, None)

    def verify(self, content_hash: str) -> str:
        """Return the content hash of what the files hold now; it should be `content_hash`.

        Raises:
            NotFoundError: there is no such dataset.
            DamagedError: its files are damaged.
        """
        stored = self.open(content_hash)
        return _hash(stored)

    def delete(self, content_hash: str) -> None:
        """Remove a dataset.

        Raises:
            NotFoundError: there is no such dataset.
        """
        path = self.path(content_hash)
        with self._writing():
            path.rename(self.root / f"{_PARTIAL}{uuid4().hex}")
            _flush_directory(self.root)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let one process write at a time; what it then finds half written has no owner."""
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._remove_partial()
            try:
                yield
            finally:
                self._remove_partial()

    def _remove_partial(self) -> None:
        for leftover in self.root.glob(f"{_PARTIAL}*"):
            shutil.rmtree(leftover)

    def _is_sound(self, digest: str) -> bool:
        try:
            return self.verify(digest) == digest
        except (NotFoundError, DamagedError):
            return False


def to_engine_bars(bars: Bars, instrument: Instrument, timeframe: Timeframe) -> "list[Bar]":
    """Return NautilusTrader's bars: `ts_event` is the label, `ts_init` the instant of the close."""
    from nautilus_trader.model.data import Bar

    engine_bars: list[Bar] = Bar.from_raw_arrays_to_list(
        to_bar_type(instrument, timeframe),
        bars.price_precision,
        bars.size_precision,
        bars.opens(),
        bars.highs(),
        bars.lows(),
        bars.closes(),
        bars.volumes(),
        bars.times.astype(np.uint64),
        bars.close_times(timeframe).astype(np.uint64),
    )
    return engine_bars


def _hash(stored: StoredBars) -> str:
    return content_hash(stored.bars, stored.instrument, stored.timeframe)


def _write_bars(root: Path, bars: Bars, instrument: Instrument, timeframe: Timeframe) -> None:
    """Write the bars in the catalog's own schema, without making an object of each."""
    bar_type = bar_type_text(instrument, timeframe)
    directory = root / "data" / "bar" / bar_type.replace("/", "")
    directory.mkdir(parents=True)
    closes = bars.close_times(timeframe)
    precisions = dict.fromkeys(_NUMBERS, bars.price_precision) | {"volume": bars.size_precision}
    arrays = [_to_raw(getattr(bars, name), precisions[name]) for name in _NUMBERS]
    arrays += [pa.array(times.astype(np.uint64)) for times in (bars.times, closes)]
    schema = pa.schema(
        [
            *(pa.field(name, pa.binary(_RAW_BYTES), nullable=False) for name in _NUMBERS),
            *(pa.field(name, pa.uint64(), nullable=False) for name in ("ts_event", "ts_init")),
        ],
        metadata={
            b"bar_type": bar_type.encode(),
            b"instrument_id": instrument.id.encode(),
            b"price_precision": str(bars.price_precision).encode(),
            b"size_precision": str(bars.size_precision).encode(),
            _HEADER_KEY: header(instrument, timeframe).encode(),
        },
    )
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema),
        directory / f"{_file_time(closes[0])}_{_file_time(closes[-1])}.parquet",
        row_group_size=_ROW_GROUP,
        # Readers check every page against it: a flipped bit is damage, not another price.
        write_page_checksum=True,
    )


def _write_instrument(root: Path, instrument: Instrument) -> None:
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    ParquetDataCatalog(root).write_data([to_nautilus(instrument)])


def _bar_file(root: Path) -> Path:
    files = list(root.glob("data/bar/*/*.parquet"))
    if len(files) != 1:
        raise DamagedError(f"{root} holds {len(files)} files of bars instead of one.", hint=_REPAIR)
    return files[0]


def _read(file: Path, first: int | None, last: int | None) -> StoredBars:
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        described = json.loads(parquet.schema_arrow.metadata[_HEADER_KEY])
        table = parquet.read_row_groups(_row_groups(parquet.metadata, first, last))
    instrument = Instrument.from_dict(described["instrument"])
    price_precision, size_precision = instrument.price_precision, instrument.size_precision
    bars = Bars(
        times=_from_uint64(table["ts_event"]),
        open=_from_raw(table["open"], price_precision),
        high=_from_raw(table["high"], price_precision),
        low=_from_raw(table["low"], price_precision),
        close=_from_raw(table["close"], price_precision),
        volume=_from_raw(table["volume"], size_precision),
        price_precision=price_precision,
        size_precision=size_precision,
    )
    low = 0 if first is None else int(np.searchsorted(bars.times, first))
    high = len(bars) if last is None else int(np.searchsorted(bars.times, last))
    return StoredBars(bars.slice(low, high), instrument, Timeframe.parse(described["timeframe"]))


def _row_groups(metadata: pq.FileMetaData, first: int | None, last: int | None) -> list[int]:
    """Return the row groups whose labels meet [`first`, `last`)."""
    column = metadata.schema.names.index("ts_event")
    groups = []
    for group in range(metadata.num_row_groups):
        bounds = metadata.row_group(group).column(column).statistics
        before = last is None or bounds.min < last
        after = first is None or bounds.max >= first
        if before and after:
            groups.append(group)
    return groups


def _to_raw(values: Integers, precision: int) -> pa.Array:
    """Return int64 scaled by 10**`precision` as NautilusTrader's raw numbers."""
    raw = decimals.from_int64(values, precision).cast(_RAW)
    return pa.Array.from_buffers(
        pa.binary(_RAW_BYTES), len(raw), [None, raw.buffers()[1]], offset=raw.offset
    )


def _from_uint64(column: pa.ChunkedArray) -> Integers:
    """Return instants as int64, by their buffers: pyarrow's own conversion imports pandas."""
    parts = [np.empty(0, dtype=np.int64)]
    for chunk in column.chunks:
        words = np.frombuffer(chunk.buffers()[1], dtype="<i8")
        parts.append(words[chunk.offset : chunk.offset + len(chunk)])
    return np.concatenate(parts)


def _from_raw(column: pa.ChunkedArray, precision: int) -> Integers:
    """Return NautilusTrader's raw numbers as int64 scaled by 10**`precision`."""
    parts = [np.empty(0, dtype=np.int64)]
    for chunk in column.chunks:
        raw = pa.Array.from_buffers(_RAW, len(chunk), chunk.buffers(), offset=chunk.offset)
        parts.append(decimals.to_int64(raw.cast(pa.decimal128(38, precision))))
    return np.concatenate(parts)


def _file_time(value: np.int64) -> str:
    text = str(np.datetime64(int(value), "ns"))
    return text.replace(":", "-").replace(".", "-") + "Z"


def _flush(root: Path) -> None:
    """Make the files below `root` survive the machine."""
    for directory, _, files in os.walk(root):
        for name in files:
            with open(os.path.join(directory, name), "rb") as file:
                os.fsync(file.fileno())
        _flush_directory(Path(directory))


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_REPAIR = "Import the original file again: it replaces what is damaged."


@contextmanager
def _translated(content_hash: str) -> Iterator[None]:
    """Turn what a damaged file causes into one error."""
    try:
        yield
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        raise DamagedError(
            f"The stored data of dataset {content_hash[:12]} is damaged: {_first_line(error)}",
            hint=_REPAIR,
        ) from error


def _first_line(error: Any) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
