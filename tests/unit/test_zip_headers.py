"""Which member a damaged zip's headers belong to."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ntrader.errors import DamagedError
from ntrader.storage.archive_writing import write_archive
from ntrader.storage.archives import opened_archive

MEMBERS = (
    ("a/one.json", b"{}" * 50),
    ("b/two.parquet", bytes(range(256))),
    ("c/three.json", b"[]"),
)
LOCAL, ENTRY = 30, 46


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "runs.zip"
    write_archive(path, MEMBERS, replace=False)
    return path


def headers(content: bytes) -> Iterator[tuple[str, range]]:
    """Give the name of a member with where its headers are, read from the zip's directory."""
    place = struct.unpack("<4s4H2LH", content[-86:-64])[6]
    while content[place : place + 4] == b"PK\x01\x02":
        length = struct.unpack("<H", content[place + 28 : place + 30])[0]
        local = struct.unpack("<L", content[place + 42 : place + ENTRY])[0]
        end = place + ENTRY + length
        name = content[place + ENTRY : end].decode()
        yield name, range(place, end)
        yield name, range(local, local + LOCAL + length)
        place = end


def refusal(path: Path) -> str:
    with pytest.raises(DamagedError) as refused, opened_archive(path):
        pass
    return refused.value.message


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_any_altered_byte_of_a_header_is_told_with_its_member(archive: Path, bit: int) -> None:
    content = archive.read_bytes()
    found = list(headers(content))
    assert len(found) == 2 * (len(MEMBERS) + 1)

    for name, places in found:
        for place in places:
            altered = bytearray(content)
            altered[place] ^= bit
            archive.write_bytes(altered)

            assert name in refusal(archive), place


def test_an_altered_end_of_the_zip_is_no_members(archive: Path) -> None:
    content = archive.read_bytes()
    for place in range(len(content) - 86, len(content)):
        altered = bytearray(content)
        altered[place] ^= 1
        archive.write_bytes(altered)

        assert not any(name in refusal(archive) for name, _ in MEMBERS), place


def test_an_altered_bit_of_padding_is_told_with_its_member(archive: Path) -> None:
    """The last byte of a packed member has bits that no hash of a content covers."""
    content = archive.read_bytes()
    (end,) = [places[0] for name, places in headers(content) if places[0] and name[0] == "b"][1:]
    altered = bytearray(content)
    altered[end - 1] ^= 0x80
    archive.write_bytes(altered)

    assert "a/one.json" in refusal(archive)
