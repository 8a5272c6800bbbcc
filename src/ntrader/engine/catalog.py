"""Market data on disk: one immutable NautilusTrader catalog for each dataset.

    ROOT/<content hash>/data/bar/<bar type>/<first>_<last>.parquet
    ROOT/<content hash>/data/<equity or currency_pair>/<instrument>/....parquet

Each dataset's directory is a `ParquetDataCatalog` of its own that anybody can open with
NautilusTrader. Its name is the hash of what it holds, so it never changes: two imports of the same
bars meet in one directory, and a run's data cannot be altered behind its back. Bars are stamped as
NautilusTrader wants it: `ts_event` is the label, `ts_init` the instant of the close.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa

from ntrader.domain.datasets import Instrument
from ntrader.domain.timeframes import Timeframe
from ntrader.engine.bar_bytes import to_bytes
from ntrader.engine.bar_parquet import BarFile, write_bars
from ntrader.engine.bars import Bars, Integers, begun_hash, nanoseconds
from ntrader.engine.instruments import to_bar_type, to_nautilus
from ntrader.errors import DamagedError, NotFoundError

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar

_HASH = re.compile(r"[0-9a-f]{64}")
_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class StoredBars:
    """Bars of a dataset that lie on disk, and are read when they are gone through.

    `first_label` and `last_label` are in nanoseconds, None if there are no bars in the period.
    """

    content_hash: str
    _file: BarFile

    def __len__(self) -> int:
        return len(self._file)

    @property
    def instrument(self) -> Instrument:
        """What the bars are of."""
        return self._file.instrument

    @property
    def timeframe(self) -> Timeframe:
        """The length of a bar."""
        return self._file.timeframe

    @property
    def first_label(self) -> int | None:
        """The label of the first bar."""
        return self._file.first_label

    @property
    def last_label(self) -> int | None:
        """The label of the last bar."""
        return self._file.last_label

    def chunks(self, size: int) -> Iterator[Bars]:
        """Yield the bars in their order, at most `size` at a time; no more are in memory.

        Raises:
            DamagedError: the file is damaged.
        """
        with _translated(self.content_hash):
            yield from self._file.chunks(size)

    def labels(self) -> Iterator[Integers]:
        """Yield the labels in chunks; errors as for `chunks`."""
        with _translated(self.content_hash):
            yield from self._file.labels()

    def whole(self) -> Bars:
        """Return all of the bars, 48 bytes for each; errors as for `chunks`."""
        with _translated(self.content_hash):
            return self._file.whole()

    def content(self) -> Iterator[bytes]:
        """Yield what the content hash covers after its header: `BAR_BYTES` for each bar.

        Raises:
            DamagedError: the file is damaged, or all that was yielded is not what was stored.
        """
        digest = begun_hash(self.instrument, self.timeframe)
        with _translated(self.content_hash):
            for piece in to_bytes(self._file.columns()):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != self.content_hash:
            raise DamagedError(
                f"The stored bars of dataset {self.content_hash[:12]} are not what was imported.",
                hint=_REPAIR,
            )

    def computed_hash(self) -> str:
        """Return the content hash of what the file holds now; errors as for `chunks`."""
        with _translated(self.content_hash):
            return self._file.content_hash()


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
                hint="Machines that share a database share this directory too: mount it here. Else "
                "import the original file again, or `ntrader import` an export that was made with "
                "`ntrader export --with-data` where they are.",
            )
        return path

    def write(self, parts: Iterable[Bars], instrument: Instrument, timeframe: Timeframe) -> str:
        """Store the bars, a part at a time, and return their content hash; see `draft`."""
        with self.draft(parts, instrument, timeframe) as draft:
            draft.keep()
        return draft.content_hash

    @contextmanager
    def draft(
        self, parts: Iterable[Bars], instrument: Instrument, timeframe: Timeframe
    ) -> Iterator["Draft"]:
        """Write the bars, a part at a time, where they do not count yet: `Draft.keep` stores them.

        Whoever writes meanwhile waits, so do not wait for anything else in the block. The hash is
        that of what was read back from the disk.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with self._writing():
            partial = self.root / f"{_PARTIAL}{uuid4().hex}"
            written = BarFile.open(write_bars(partial, parts, instrument, timeframe), None, None)
            yield Draft(self, partial, instrument, written.content_hash(), written)

    def open(
        self, content_hash: str, start: datetime | None = None, end: datetime | None = None
    ) -> StoredBars:
        """Find the bars whose labels are in [`start`, `end`); aware datetimes, None is open.

        Raises:
            NotFoundError: there is no such dataset.
            DamagedError: its files are damaged, as far as can be seen without reading all of them.
        """
        first = None if start is None else nanoseconds(start)
        last = None if end is None else nanoseconds(end)
        with _translated(content_hash):
            found = BarFile.open(_bar_file(self.path(content_hash)), first, last)
        return StoredBars(content_hash, found)

    def verify(self, content_hash: str) -> str:
        """Return the content hash of what the files hold now; it should be `content_hash`.

        Raises:
            NotFoundError: there is no such dataset.
            DamagedError: its files are damaged.
        """
        return self.open(content_hash).computed_hash()

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

    def _keep(self, partial: Path, instrument: Instrument, digest: str) -> None:
        if self._is_sound(digest):
            return
        final = self.root / digest
        _write_instrument(partial, instrument)
        _flush(partial)
        if final.exists():
            final.rename(self.root / f"{_PARTIAL}{uuid4().hex}")
        partial.rename(final)
        _flush_directory(self.root)

    def _is_sound(self, digest: str) -> bool:
        try:
            return self.verify(digest) == digest
        except (NotFoundError, DamagedError):
            return False


@dataclass(frozen=True, slots=True)
class Draft:
    """Bars that are written and do not count yet; at least one."""

    _catalog: Catalog
    _partial: Path
    _instrument: Instrument
    content_hash: str
    _file: BarFile

    @property
    def first_label(self) -> int:
        """The label of the first bar, in nanoseconds."""
        return self._file.first_label or 0

    @property
    def last_label(self) -> int:
        """The label of the last bar, in nanoseconds."""
        return self._file.last_label or 0

    def keep(self) -> None:
        """Store the dataset; what is stored already stays as it is.

        It appears whole or not at all, also when the process or the machine dies. A stored copy
        that does not verify any more is replaced.
        """
        self._catalog._keep(self._partial, self._instrument, self.content_hash)


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


def _write_instrument(root: Path, instrument: Instrument) -> None:
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    ParquetDataCatalog(root).write_data([to_nautilus(instrument)])


def _bar_file(root: Path) -> Path:
    files = list(root.glob("data/bar/*/*.parquet"))
    if len(files) != 1:
        raise DamagedError(f"{root} holds {len(files)} files of bars instead of one.", hint=_REPAIR)
    return files[0]


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
    except MemoryError:
        # One of Arrow's own errors too, and no damage.
        raise
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        raise DamagedError(
            f"The stored data of dataset {content_hash[:12]} is damaged: {_first_line(error)}",
            hint=_REPAIR,
        ) from error


def _first_line(error: Any) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
