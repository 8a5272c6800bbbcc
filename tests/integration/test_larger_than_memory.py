"""Datasets that do not fit into memory: written, verified, searched for gaps and run in chunks."""

import signal
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from ntrader.domain.datasets import InstrumentKind
from ntrader.domain.results import BacktestFailure, EnhancedBacktestResult
from ntrader.engine.bar_columns import BLOCK_BYTES
from ntrader.engine.bar_gaps import find_gaps
from ntrader.engine.bars import Bars, content_hash, joined
from ntrader.engine.catalog import Catalog
from ntrader.engine.runner import CHUNK_BARS, run
from support.large import IBM, MINUTE, PART, parts, stored
from support.little_memory import IN_USE, only_on_linux, python
from support.outcomes import make_metadata
from support.trading import make_config, scripted, succeed


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog")


def test_what_is_written_in_parts_is_one_dataset(catalog: Catalog) -> None:
    digest = stored(catalog, 150_000)

    whole = joined(parts(150_000))
    assert digest == content_hash(whole, IBM, MINUTE)
    assert digest == catalog.write([whole], IBM, MINUTE)
    assert catalog.verify(digest) == digest


def test_a_draft_that_is_not_kept_is_nothing(catalog: Catalog) -> None:
    with catalog.draft(parts(100), IBM, MINUTE):
        pass

    assert [path.name for path in catalog.root.iterdir()] == [".lock"]


@pytest.mark.parametrize("size", [1, 999, 65_536, 10**6])
def test_chunks_are_all_of_the_bars_in_their_order(catalog: Catalog, size: int) -> None:
    count = 5_000 if size == 1 else 140_000
    found = list(catalog.open(stored(catalog, count)).chunks(size))

    assert max(map(len, found)) <= size
    assert content_hash(joined(found), IBM, MINUTE) == content_hash(
        joined(parts(count)), IBM, MINUTE
    )


def test_gaps_between_two_chunks_are_found() -> None:
    times = joined(parts(10)).times
    early, late = times[:4], times[6:]

    found = find_gaps([early, late[:0], late], MINUTE, InstrumentKind.CRYPTO)

    assert (found.count, found.missing) == (1, 2)
    assert found == find_gaps([np.concatenate((early, late))], MINUTE, InstrumentKind.CRYPTO)


def test_a_run_from_disk_gives_what_a_run_from_memory_gives(catalog: Catalog) -> None:
    count = 2 * CHUNK_BARS + 77
    strategy = scripted([3, CHUNK_BARS + 5], [CHUNK_BARS - 1, 2 * CHUNK_BARS + 3])
    whole = joined(parts(count))
    config = make_config(whole, strategy, instrument=IBM, timeframe="1m", fill="next-open")

    from_disk = run(config, strategy, catalog.open(stored(catalog, count)), make_metadata())

    assert isinstance(from_disk, EnhancedBacktestResult), from_disk
    in_memory = succeed(strategy, whole, instrument=IBM, timeframe="1m", fill="next-open")
    assert from_disk.result_digest == in_memory.result_digest
    assert from_disk.metrics == in_memory.metrics
    assert len(from_disk.fills) == 4


class Watched:
    """Bars that see how many of their chunks somebody still holds."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen: list[weakref.ref[Any]] = []
        self.most_alive = 0

    def __len__(self) -> int:
        return self._count

    def chunks(self, size: int) -> Iterator[Bars]:
        for first in range(0, self._count, size):
            rows = next(parts(PART)).slice(0, min(size, self._count - first))
            columns = {name: getattr(rows, name).copy() for name in ("open", "high", "low")}
            self._seen += [weakref.ref(column) for column in columns.values()]
            times = rows.times + first * MINUTE.nanoseconds
            yield Bars(
                times=times,
                close=rows.close,
                volume=rows.volume,
                price_precision=2,
                size_precision=0,
                **columns,
            )
            del columns
            alive = sum(each() is not None for each in self._seen)
            self.most_alive = max(self.most_alive, alive // 3)


def test_a_run_holds_no_more_than_one_chunk_of_its_bars() -> None:
    bars = Watched(4 * CHUNK_BARS)
    strategy = scripted([3])
    config = make_config(next(parts(PART)), strategy, instrument=IBM, timeframe="1m")

    outcome = run(config, strategy, bars, make_metadata())

    assert isinstance(outcome, EnhancedBacktestResult), outcome
    assert bars.most_alive == 1


def test_damage_that_a_run_meets_on_its_way_ends_it(catalog: Catalog) -> None:
    count = 140_000
    digest = stored(catalog, count)
    (file,) = catalog.path(digest).glob("data/bar/*/*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    strategy = scripted([])
    config = make_config(next(parts(PART)), strategy, instrument=IBM, timeframe="1m")

    outcome = run(config, strategy, catalog.open(digest), make_metadata())

    assert isinstance(outcome, BacktestFailure)
    assert 0 < outcome.bars_done < count
    assert outcome.message.startswith(f"Stopped after {outcome.bars_done:,} of 140,000 bars.")
    assert "damaged" in outcome.message
    assert "Import the original file again" in outcome.message
    assert outcome.traceback == ""


# A limit on the memory of a process.

LIMITED = f"""
{IN_USE}
from test_larger_than_memory import *
from support.trading import make_config, scripted

catalog, digest, room = Catalog(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
# What is loaded once, and what every run takes, is not what grows with the bars.
small, strategy = joined(parts(CHUNK_BARS)), scripted([])
run(make_config(small, strategy, instrument=IBM, timeframe="1m"), strategy, small, make_metadata())
catalog.verify(digest)
resource.setrlimit(resource.RLIMIT_DATA, (in_use() + room, resource.RLIM_INFINITY))
"""
WHOLE = """
try:
    catalog.open(digest).whole()
except MemoryError:
    print("too large")
"""
VERIFIED = """
print(catalog.verify(digest))
print(find_gaps(catalog.open(digest).labels(), MINUTE, InstrumentKind.CRYPTO).count)
"""
READ = """
from ntrader.engine.bar_files import read_bars
try:
    file = read_bars(
        Path(sys.argv[4]), timeframe=MINUTE, kind=InstrumentKind.EQUITY,
        block_bytes=int(sys.argv[5]),
    )
except MemoryError:
    print("too large")
else:
    with catalog.draft(file.bars.parts(), IBM, MINUTE) as draft:
        print(draft.content_hash)
"""
RUN = """
outcome = run(
    make_config(small, strategy, instrument=IBM, timeframe="1m"),
    strategy, catalog.open(digest), make_metadata(),
)
print(outcome.result_digest)
"""


def limited(catalog: Catalog, digest: str, room: int, code: str, *arguments: object) -> list[str]:
    """Return the lines that `code` prints in a process with `room` bytes left for its data."""
    done = python(LIMITED + code, catalog.root, digest, room, *arguments)
    if done.returncode == -signal.SIGABRT and "Out of memory" in done.stderr:
        # Where Arrow cannot raise, it ends the process.
        return ["too large"]
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@only_on_linux
def test_data_that_do_not_fit_into_memory_are_verified(catalog: Catalog) -> None:
    digest = stored(catalog, 1_500_000)

    # 72 MB of bars.
    room = 40 << 20
    assert limited(catalog, digest, room, WHOLE) == ["too large"]
    assert limited(catalog, digest, room, VERIFIED) == [digest, "0"]


@pytest.mark.slow
@only_on_linux
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_that_does_not_fit_into_memory_is_imported(catalog: Catalog, suffix: str) -> None:
    file = catalog.root.parent / f"bars.{suffix}"
    count = 800_000
    whole = joined(parts(count))
    prices = {name: getattr(whole, name) / 100 for name in ("open", "high", "low", "close")}
    table = pa.table({"time": whole.times // 10**9, **prices, "volume": whole.volume})
    if suffix == "csv":
        csv.write_csv(table, file)
    else:
        parquet.write_table(table, file, row_group_size=count)

    room = 160 << 20
    warm = stored(catalog, 10)
    assert limited(catalog, warm, room, READ, file, 1 << 40) == ["too large"]
    assert limited(catalog, warm, room, READ, file, BLOCK_BYTES) == [
        content_hash(whole, IBM, MINUTE)
    ]


@pytest.mark.slow
@only_on_linux
def test_a_run_on_data_that_do_not_fit_into_memory_gives_the_same_answer(catalog: Catalog) -> None:
    count = 1_000_000
    digest = stored(catalog, count)
    strategy = scripted([])
    whole = joined(parts(count))
    config = make_config(next(parts(CHUNK_BARS)), strategy, instrument=IBM, timeframe="1m")
    expected = run(config, strategy, whole, make_metadata())
    assert isinstance(expected, EnhancedBacktestResult)

    # Loading takes 160 bytes a bar and more; a run keeps labels, closes and equity.
    room = 80 << 20
    assert limited(catalog, digest, room, WHOLE) == ["too large"]
    assert limited(catalog, digest, room, RUN) == [expected.result_digest]
