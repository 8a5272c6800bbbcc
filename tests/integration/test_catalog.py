"""Storing bars: exact, whole or not at all, and readable by NautilusTrader itself."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ntrader.domain.datasets import Instrument, InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.engine import decimals
from ntrader.engine.bars import COLUMNS, Bars, content_hash, instant
from ntrader.engine.catalog import Catalog, to_engine_bars
from ntrader.engine.instruments import parse_instrument, to_nautilus
from ntrader.errors import DamagedError, NotFoundError
from support.bar_reading import read_whole

MINUTE = Timeframe.parse("1m")
START = datetime(2020, 1, 1, tzinfo=UTC)
IBM = parse_instrument("IBM", "NYSE", InstrumentKind.EQUITY, price_precision=2)
EURUSD = parse_instrument("EUR/USD", "SIM", InstrumentKind.FX, price_precision=5)
PEPE = parse_instrument("PEPEUSDT", "BINANCE", InstrumentKind.CRYPTO, price_precision=8)
ROW_GROUPS = 150_000


def minutes(count: int, instrument: Instrument = IBM) -> Bars:
    """Return bars of a random walk, one a minute from 2020 on."""
    random = np.random.default_rng(7)
    close = 100_000 + np.abs(np.cumsum(random.integers(-3, 4, count)))
    first = int(START.timestamp()) * 10**9
    return Bars(
        times=first + np.arange(count, dtype=np.int64) * MINUTE.nanoseconds,
        open=close,
        high=close + 7,
        low=close - 5,
        close=close + 1,
        volume=random.integers(0, 10**12, count),
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
    )


def same(left: Bars, right: Bars) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in COLUMNS)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog")


def bar_file(catalog: Catalog, digest: str) -> Path:
    (file,) = catalog.path(digest).glob("data/bar/*/*.parquet")
    return file


# What is written is what is read.


@given(
    st.lists(
        st.tuples(*[st.integers(1, 10**13 * 100 - 1)] * 4, st.integers(0, 10**13)),
        min_size=1,
        max_size=20,
    )
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25
)
def test_every_integer_survives_the_store(catalog: Catalog, rows: list[tuple[int, ...]]) -> None:
    columns = np.array(rows, dtype=np.int64).T
    bars = replace(minutes(len(rows)), **dict(zip(COLUMNS[1:], columns, strict=True)))

    digest = catalog.write([bars], IBM, MINUTE)

    assert digest == content_hash(bars, IBM, MINUTE)
    assert same(catalog.open(digest).whole(), bars)


@pytest.mark.parametrize("instrument", [IBM, EURUSD, PEPE], ids=lambda i: i.symbol)
def test_a_dataset_is_a_catalog_that_nautilus_trader_reads(
    catalog: Catalog, instrument: Instrument
) -> None:
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    bars = minutes(500, instrument)
    digest = catalog.write([bars], instrument, MINUTE)

    theirs = ParquetDataCatalog(catalog.path(digest))
    read = theirs.bars()
    ours = to_engine_bars(catalog.open(digest).whole(), instrument, MINUTE)

    assert [type(bar).to_dict(bar) for bar in read] == [type(bar).to_dict(bar) for bar in ours]
    assert [bar.ts_event for bar in read] == bars.times.tolist()
    assert [bar.ts_init for bar in read] == bars.close_times(MINUTE).tolist()
    unit = Decimal(1).scaleb(-instrument.price_precision)
    assert [bar.close.as_decimal() for bar in read] == [int(c) * unit for c in bars.close]
    assert [type(found).to_dict(found) for found in theirs.instruments()] == [
        type(wanted).to_dict(wanted) for wanted in [to_nautilus(instrument)]
    ]


def test_stored_bars_have_the_schema_that_nautilus_trader_writes(
    catalog: Catalog, tmp_path: Path
) -> None:
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    bars = minutes(5, EURUSD)
    ours = bar_file(catalog, catalog.write([bars], EURUSD, MINUTE))
    ParquetDataCatalog(tmp_path / "theirs").write_data(to_engine_bars(bars, EURUSD, MINUTE))
    (theirs,) = (tmp_path / "theirs").glob("data/bar/*/*.parquet")

    mine, wanted = pq.read_table(ours), pq.read_table(theirs)

    assert mine.equals(wanted)
    assert mine.schema.metadata.items() >= wanted.schema.metadata.items()
    assert ours.relative_to(catalog.root).parts[1:] == theirs.relative_to(tmp_path).parts[1:]


def test_open_tells_what_the_bars_are_of(catalog: Catalog) -> None:
    stored = catalog.open(catalog.write([minutes(3, EURUSD)], EURUSD, MINUTE))

    assert (stored.instrument, stored.timeframe) == (EURUSD, MINUTE)


@pytest.mark.parametrize(
    ("first", "last"),
    [(0, ROW_GROUPS), (0, 1), (65_535, 65_537), (70_000, 140_000), (149_999, 150_000), (5, 5)],
)
def test_a_period_is_cut_out_by_labels_with_its_end_left_out(
    catalog: Catalog, first: int, last: int
) -> None:
    bars = minutes(ROW_GROUPS)
    digest = catalog.write([bars], IBM, MINUTE)

    loaded = catalog.open(
        digest, START + timedelta(minutes=first), START + timedelta(minutes=last)
    ).whole()

    assert same(loaded, bars.slice(first, last))


def test_a_period_outside_of_the_data_is_empty(catalog: Catalog) -> None:
    digest = catalog.write([minutes(10)], IBM, MINUTE)

    assert len(catalog.open(digest, START + timedelta(days=1)).whole()) == 0
    assert len(catalog.open(digest, end=START).whole()) == 0


def test_engine_bars_are_stamped_with_label_and_close() -> None:
    (bar,) = to_engine_bars(minutes(1), IBM, MINUTE)

    assert instant(bar.ts_event) == START
    assert instant(bar.ts_init) == START + timedelta(minutes=1)
    assert str(bar.bar_type) == "IBM.NYSE-1-MINUTE-LAST-EXTERNAL"


@pytest.mark.parametrize("precision", range(9))
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_engine_gets_the_exact_values(precision: int, data: st.DataObject) -> None:
    """Up to the largest number that an import takes."""
    most = decimals.largest(precision) * 10**precision
    value = data.draw(st.integers(1, most))
    columns = dict.fromkeys(COLUMNS[1:], np.array([value]))
    bars = replace(minutes(1), price_precision=precision, size_precision=precision, **columns)

    (bar,) = to_engine_bars(bars, IBM, MINUTE)

    exact = Decimal(value).scaleb(-precision)
    assert {bar.open.as_decimal(), bar.close.as_decimal(), bar.volume.as_decimal()} == {exact}


def test_loading_needs_neither_the_engine_nor_pandas(catalog: Catalog) -> None:
    digest = catalog.write([minutes(3)], IBM, MINUTE)
    code = (
        "import sys\nfrom pathlib import Path\nfrom ntrader.engine.catalog import Catalog\n"
        f"Catalog(Path({str(catalog.root)!r})).open({digest!r}).whole()\n"
        "print([name for name in ('nautilus_trader', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "[]\n"


# Identity.


def test_the_hash_is_that_of_the_values_not_of_the_file(catalog: Catalog, tmp_path: Path) -> None:
    """Column order, format and stored layout do not change what a dataset is."""
    csv = "date,open,high,low,close,volume\n2020-01-02,10.1,12,9,11,50\n2020-01-03,11,12,9,11,5\n"
    turned = "Volume;Close;Low;High;Open;Date\n50;11.00;9;12;10.10;20200102\n5;11;9;12;11;20200103"
    table = pa.table(
        {
            "Date": pa.chunked_array([[date(2020, 1, 2)], [date(2020, 1, 3)]]),
            "open": [10.1, 11.0],
            "high": [12, 12],
            "low": [9, 9],
            "close": [11, 11],
            "volume": [50, 5],
        }
    )
    (tmp_path / "a.csv").write_text(csv)
    (tmp_path / "b.csv").write_text(turned)
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=1, compression="zstd")
    day = Timeframe.parse("1d")

    digests = {
        content_hash(
            read_whole(tmp_path / name, timeframe=day, kind=InstrumentKind.EQUITY).bars, IBM, day
        )
        for name in ("a.csv", "b.csv", "c.parquet")
    }

    assert len(digests) == 1


def test_verify_reads_values_whatever_the_layout_of_the_stored_file(catalog: Catalog) -> None:
    digest = catalog.write([minutes(1_000)], IBM, MINUTE)
    file = bar_file(catalog, digest)
    pq.write_table(pq.read_table(file), file, row_group_size=77, compression="none")

    assert catalog.verify(digest) == digest


def test_verify_finds_a_changed_price(catalog: Catalog) -> None:
    bars = minutes(10)
    digest = catalog.write([bars], IBM, MINUTE)
    changed = replace(bars, close=bars.close + (np.arange(10) == 7))
    other = catalog.write([changed], IBM, MINUTE)
    bar_file(catalog, digest).write_bytes(bar_file(catalog, other).read_bytes())

    assert catalog.verify(digest) == other


def test_writing_the_same_bars_again_leaves_the_stored_ones_alone(catalog: Catalog) -> None:
    digest = catalog.write([minutes(10)], IBM, MINUTE)
    before = bar_file(catalog, digest).stat()

    assert catalog.write([minutes(10)], IBM, MINUTE) == digest
    assert bar_file(catalog, digest).stat().st_ino == before.st_ino


def test_the_same_bars_of_another_symbol_are_another_dataset(catalog: Catalog) -> None:
    one = catalog.write([minutes(10)], IBM, MINUTE)
    other = catalog.write([minutes(10)], replace(IBM, symbol="GOOG"), MINUTE)

    assert one != other
    assert catalog.open(other).instrument.symbol == "GOOG"


# Damage.


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


def _replace_by_text(file: Path) -> None:
    file.write_text("date,open\n")


def _replace_by_other_parquet(file: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), file)


@pytest.mark.parametrize(
    "damage", [_cut, _flip_a_bit, _replace_by_text, _replace_by_other_parquet, Path.unlink]
)
def test_damage_is_told_and_healed_by_a_new_import(catalog: Catalog, damage: object) -> None:
    bars = minutes(1_000)
    digest = catalog.write([bars], IBM, MINUTE)
    damage(bar_file(catalog, digest))  # type: ignore[operator]

    def stream(digest: str) -> None:
        for _ in catalog.open(digest).chunks(100):
            pass

    def whole(digest: str) -> None:
        catalog.open(digest).whole()

    for read in (catalog.verify, whole, stream):
        with pytest.raises(DamagedError) as caught:
            read(digest)
        assert "again" in (caught.value.hint or "")

    assert catalog.write([bars], IBM, MINUTE) == digest
    assert same(catalog.open(digest).whole(), bars)


def test_no_flipped_bit_changes_what_is_loaded(catalog: Catalog) -> None:
    bars = minutes(200)
    digest = catalog.write([bars], IBM, MINUTE)
    file = bar_file(catalog, digest)
    sound = file.read_bytes()
    told = 0
    for position in range(4, len(sound), len(sound) // 150):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        try:
            loaded = catalog.open(digest).whole()
        except DamagedError:
            told += 1
        else:
            assert same(loaded, bars)

    assert told > 100


@pytest.mark.parametrize("name", ["0" * 64, "..", "../catalog", "", "0" * 63])
def test_a_dataset_that_is_not_there_is_not_found(catalog: Catalog, name: str) -> None:
    catalog.write([minutes(1)], IBM, MINUTE)

    for action in (catalog.open, catalog.verify, catalog.delete, catalog.path):
        with pytest.raises(NotFoundError):
            action(name)


def test_a_deleted_dataset_is_gone_and_others_stay(catalog: Catalog) -> None:
    gone = catalog.write([minutes(5)], IBM, MINUTE)
    kept = catalog.write([minutes(6)], IBM, MINUTE)

    catalog.delete(gone)

    assert [path.name for path in catalog.root.iterdir() if path.is_dir()] == [kept]


# Interruptions.


def test_a_killed_import_leaves_nothing_that_counts_and_the_next_one_cleans_up(
    catalog: Catalog,
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom test_catalog import *\n"
        f"catalog = Catalog(Path({str(catalog.root)!r}))\n"
        "for count in range(400_000, 800_000):\n"
        "    catalog.write([minutes(count)], IBM, MINUTE)\n"
    )
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not list(catalog.root.glob(".partial-*/data/bar/*/*.parquet")):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()

    for found in catalog.root.iterdir():
        if found.is_dir() and not found.name.startswith("."):
            assert catalog.verify(found.name) == found.name
    catalog.write([minutes(10)], IBM, MINUTE)
    assert not list(catalog.root.glob(".partial-*"))


def test_leftovers_are_removed_even_when_nothing_is_to_be_written(catalog: Catalog) -> None:
    digest = catalog.write([minutes(3)], IBM, MINUTE)
    leftover = catalog.root / ".partial-of-a-killed-import"
    (leftover / "data").mkdir(parents=True)

    assert catalog.write([minutes(3)], IBM, MINUTE) == digest
    assert not leftover.exists()


def test_imports_at_the_same_time_do_not_disturb_each_other(catalog: Catalog) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(catalog.write, [minutes(100 + n % 3)], IBM, MINUTE) for n in range(12)]
        digests = {job.result() for job in jobs}

    assert len(digests) == 3
    assert all(catalog.verify(digest) == digest for digest in digests)
    assert {path.name for path in catalog.root.iterdir()} == {*digests, ".lock"}
