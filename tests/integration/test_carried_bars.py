"""Bars that go to another machine as the bytes that their hash covers, a piece at a time."""

import gzip
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ntrader.engine.bar_bytes import BAR_BYTES, CarriedBars
from ntrader.engine.bars import COLUMNS, Bars, content_hash, joined
from ntrader.engine.catalog import Catalog
from ntrader.errors import DamagedError
from ntrader.storage.archive_writing import Streamed, write_archive
from ntrader.storage.dump_files import written_dump
from support.large import IBM, MINUTE, parts, stored

COUNT = 150_000


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog")


@pytest.fixture(scope="module")
def bars() -> Bars:
    return joined(parts(COUNT))


@pytest.fixture(scope="module")
def content(bars: Bars) -> bytes:
    return as_bytes(bars)


def as_bytes(bars: Bars) -> bytes:
    return b"".join(getattr(bars, name).astype("<i8").tobytes() for name in COLUMNS)


def pieces(content: bytes, size: int = 99_991) -> Iterator[bytes]:
    """Cut bytes where no number ends."""
    return (content[first : first + size] for first in range(0, len(content), size))


def carried(content: bytes, directory: Path) -> CarriedBars:
    return CarriedBars(pieces(content), IBM, MINUTE, directory)


def test_a_dataset_is_given_as_what_its_hash_covers(catalog: Catalog, content: bytes) -> None:
    dataset = catalog.open(stored(catalog, COUNT))

    found = list(dataset.content())

    assert b"".join(found) == content
    assert len(content) == len(dataset) * BAR_BYTES
    assert max(map(len, found)) < len(content) / 10


def test_bytes_that_are_not_the_datasets_are_refused_at_their_end(catalog: Catalog) -> None:
    digest, other = stored(catalog, 100), stored(catalog, 99)
    (file,) = catalog.path(digest).glob("data/bar/*/*.parquet")
    (donor,) = catalog.path(other).glob("data/bar/*/*.parquet")
    file.write_bytes(donor.read_bytes())

    given = catalog.open(digest).content()

    with pytest.raises(DamagedError, match="not what was imported"):
        list(given)


@pytest.mark.parametrize("size", [777, 65_536, 10**6])
def test_bars_come_back_from_bytes_in_their_order(
    tmp_path: Path, bars: Bars, content: bytes, size: int
) -> None:
    came = carried(content, tmp_path)

    found = list(came.chunks(size))

    assert len(came) == COUNT
    assert max(map(len, found)) <= size
    assert as_bytes(joined(found)) == as_bytes(joined(came.parts())) == content
    assert came.content_hash == content_hash(bars, IBM, MINUTE)
    assert (came.first_label, came.last_label) == (bars.times[0], bars.times[-1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 47, 48 * COUNT - 1])
def test_what_are_no_whole_bars_is_refused(tmp_path: Path, content: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes are no whole bars"):
        carried(content[:size], tmp_path)


@pytest.mark.parametrize("row", [5, 65_535, 65_536, COUNT - 1])
def test_bars_that_are_not_clean_are_refused_with_their_number(
    tmp_path: Path, bars: Bars, row: int
) -> None:
    """Also the first of a part, whose time is that of the last bar of the part above it."""
    times = bars.times.copy()
    times[row] = times[row - 1]

    with pytest.raises(ValueError, match=f"bar {row}: duplicate time"):
        carried(as_bytes(replace(bars, times=times)), tmp_path)


def test_a_zip_is_the_same_whether_a_member_is_in_memory_or_not(
    tmp_path: Path, content: bytes
) -> None:
    whole, other = tmp_path / "whole.zip", tmp_path / "streamed.zip"
    streamed = Streamed(len(content), pieces(content))

    write_archive(whole, [("bars.bin", content), ("x", b"x")], replace=False)
    write_archive(other, [("bars.bin", streamed), ("x", b"x")], replace=False)

    assert other.read_bytes() == whole.read_bytes()
    with zipfile.ZipFile(other) as archive:
        assert archive.read("bars.bin") == content


def test_a_zip_whose_member_ends_in_an_error_is_not_there(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise DamagedError("broken")

    with pytest.raises(DamagedError, match="broken"):
        write_archive(tmp_path / "a.zip", [("bars.bin", Streamed(8, broken()))], replace=False)

    assert list(tmp_path.iterdir()) == []


def test_a_member_of_a_dump_is_the_same_whether_it_is_in_memory_or_not(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "store.tar"

    with written_dump(path, replace=False) as dump, dump.packed(pieces(content)) as packed:
        dump.add_packed("whole", content)
        dump.add_file("streamed", packed)

    with tarfile.open(path) as tar:
        whole, streamed, sums = (
            member.read() for info in tar if (member := tar.extractfile(info)) is not None
        )
    assert streamed == whole
    assert gzip.decompress(streamed) == content
    assert len({line.split()[0] for line in sums.splitlines()}) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["store.tar"]
