"""The identity of a strategy's source."""

import hashlib

import pytest

from ntrader.domain.sources import StrategySource
from ntrader.errors import DamagedError

ENTRY = b"from signals import cross\n"


def source(entry: str = "mine.py", **modules: bytes) -> StrategySource:
    files = {f"{name.replace('__', '/')}.py": content for name, content in modules.items()}
    return StrategySource(entry=entry, files={entry: ENTRY, **files})


def test_a_file_that_imports_nothing_is_its_sha256() -> None:
    assert source().hash == hashlib.sha256(ENTRY).hexdigest()
    assert source("other.py").hash == source().hash


def test_the_identity_covers_every_module() -> None:
    """Content and place count; the order in which they were imported does not."""
    one = source(signals=b"1", sizes=b"2")
    assert source(sizes=b"2", signals=b"1").hash == one.hash
    others = [
        source(signals=b"1"),
        source(signals=b"2", sizes=b"2"),
        source(signals=b"2", sizes=b"1"),
        source(pack__signals=b"1", sizes=b"2"),
        source(),
    ]
    assert len({one.hash, *(other.hash for other in others)}) == 6


def test_the_name_of_the_file_itself_is_no_part_of_it() -> None:
    assert source("renamed.py", signals=b"1").hash == source(signals=b"1").hash


@pytest.mark.parametrize(
    "path",
    [
        "../evil.py",
        "a/../../evil.py",
        "/etc/evil.py",
        "C:/evil.py",
        "C:evil.py",
        "..\\evil.py",
        "\\\\host\\evil.py",
        "a//b.py",
        "./a.py",
        "a/",
        "",
        ".",
        "..",
        "a\0b.py",
        "a\nb.py",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(DamagedError):
        StrategySource(entry="mine.py", files={"mine.py": ENTRY, path: b""})


def test_the_file_of_the_strategy_must_be_there() -> None:
    with pytest.raises(DamagedError, match=r"mine\.py"):
        StrategySource(entry="mine.py", files={"other.py": b""})
