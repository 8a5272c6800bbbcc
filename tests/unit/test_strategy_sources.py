"""The code of a strategy from a file: what it covers, and loading it again after it was kept."""

import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ntrader.domain.sources import StrategySource
from ntrader.engine.strategies.definition import StrategyDefinition
from ntrader.engine.strategies.registry import find_strategy
from ntrader.engine.strategies.sources import load_kept
from ntrader.errors import DamagedError

MINE = """
from ntrader.engine.strategies import LongFlatStrategy

class Mine(LongFlatStrategy):
    def on_bar(self, bar):
        pass
"""
USES_SIGNALS = "from signals_of_mine import LEVEL\n" + MINE + "    level = LEVEL\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_file(name: str, content: str) -> Path:
        path = tmp_path / "strategies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    return write_file


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget what a test has imported."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "of_mine" in name or "ntrader_user" in name:
            del sys.modules[name]


def load(path: Path) -> StrategyDefinition:
    return find_strategy(f"{path}:Mine")


def code_of(definition: StrategyDefinition) -> StrategySource:
    assert definition.source.code is not None
    return definition.source.code


def class_of(definition: Any) -> Any:
    return definition._class


# What the code covers


def test_a_file_that_imports_nothing_of_the_users_is_alone(write: Callable[..., Path]) -> None:
    path = write("mine.py", "import json\nimport click\nimport numpy\n" + MINE)

    code = code_of(load(path))

    assert code.files == {"mine.py": path.read_bytes()}


def test_imported_modules_belong_to_the_code(write: Callable[..., Path]) -> None:
    """Neighbours, packages, and what these import in turn, relatively or not."""
    write("signals_of_mine.py", "from pack_of_mine.deep.core import LEVEL\n")
    write("pack_of_mine/__init__.py", "")
    write("pack_of_mine/deep/__init__.py", "from . import core\n")
    write("pack_of_mine/deep/core.py", "from ..other import LEVEL\n")
    write("pack_of_mine/other.py", "LEVEL = 3\n")
    write("pack_of_mine/unused.py", "")
    path = write("mine.py", USES_SIGNALS)

    definition = load(path)

    assert class_of(definition).level == 3
    assert set(code_of(definition).files) == {
        "mine.py",
        "signals_of_mine.py",
        "pack_of_mine/__init__.py",
        "pack_of_mine/deep/__init__.py",
        "pack_of_mine/deep/core.py",
        "pack_of_mine/other.py",
    }
    assert definition.spec.source_hash == code_of(definition).hash


def test_a_module_from_elsewhere_on_the_path_belongs_to_the_code(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library of the user's that lies in another directory, as an editable install does."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "signals_of_mine.py").write_text("LEVEL = 4\n")
    monkeypatch.syspath_prepend(library)

    assert "signals_of_mine.py" in code_of(load(write("mine.py", USES_SIGNALS))).files


def test_an_installed_module_does_not_belong_to_the_code(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "venv" / "lib" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "signals_of_mine.py").write_text("LEVEL = 4\n")
    monkeypatch.syspath_prepend(installed)

    assert set(code_of(load(write("mine.py", USES_SIGNALS))).files) == {"mine.py"}


def test_a_changed_module_is_other_code_and_is_what_runs(write: Callable[..., Path]) -> None:
    """Within one process and one second, and with the same size: no bytecode, no stale module."""
    write("signals_of_mine.py", "LEVEL = 1\n")
    path = write("mine.py", USES_SIGNALS)
    before = load(path)

    write("signals_of_mine.py", "LEVEL = 2\n")
    after = load(path)

    assert (class_of(before).level, class_of(after).level) == (1, 2)
    assert before.spec.source_hash != after.spec.source_hash
    assert before.spec.version != after.spec.version
    assert not list(path.parent.rglob("*.pyc"))


def test_strategies_with_modules_of_one_name_keep_their_own(write: Callable[..., Path]) -> None:
    write("a/signals_of_mine.py", "LEVEL = 1\n")
    write("b/signals_of_mine.py", "LEVEL = 2\n")

    levels = [class_of(load(write(f"{name}/mine.py", USES_SIGNALS))).level for name in "ab"]

    assert levels == [1, 2]


def test_an_import_within_a_bar_finds_the_module_that_was_loaded(
    write: Callable[..., Path],
) -> None:
    """Also where the same file was loaded again meanwhile, with another module beside it."""
    lazy = USES_SIGNALS + "    def prepare(self):\n        from signals_of_mine import LEVEL\n"
    path = write("mine.py", lazy + "        self.found = LEVEL\n")
    write("signals_of_mine.py", "LEVEL = 1\n")
    first = load(path)
    write("signals_of_mine.py", "LEVEL = 2\n")
    second = load(path)

    found = []
    for definition in (first, second):
        definition.source.modules.put_in_place()
        cls = class_of(definition)
        found.append(cls(cls.Parameters()).found)

    assert found == [1, 2]


def test_loading_leaves_the_way_of_imports_as_it_was(write: Callable[..., Path]) -> None:
    before = (list(sys.path), list(sys.meta_path))
    write("signals_of_mine.py", "LEVEL = 1\n")

    load(write("mine.py", USES_SIGNALS))

    assert (sys.path, sys.meta_path) == before


def test_a_file_with_a_name_that_no_directory_takes_runs_all_the_same(
    write: Callable[..., Path],
) -> None:
    assert set(code_of(load(write("C:mine\n.py", MINE))).files) == {"strategy.py"}


# Kept code


def test_kept_code_loads_to_the_same_strategy_after_the_files_are_gone(
    write: Callable[..., Path],
) -> None:
    write("signals_of_mine.py", "from pack_of_mine import LEVEL\n")
    write("pack_of_mine/__init__.py", "from .core import LEVEL\n")
    write("pack_of_mine/core.py", "LEVEL = 7\n")
    path = write("mine.py", USES_SIGNALS)
    original = load(path)
    shutil.rmtree(path.parent)

    kept = load_kept(code_of(original), original.spec.path)

    assert kept.spec == original.spec
    assert kept.spec.path == f"{path}:Mine"
    assert class_of(kept).level == 7
    assert kept.source.file is None


def test_kept_code_is_used_where_todays_is_another(write: Callable[..., Path]) -> None:
    write("signals_of_mine.py", "LEVEL = 1\n")
    path = write("mine.py", USES_SIGNALS)
    original = load(path)
    write("signals_of_mine.py", "LEVEL = 2\n")

    kept = load_kept(code_of(original), original.spec.path)
    today = load(path)

    assert (class_of(kept).level, class_of(today).level) == (1, 2)
    assert kept.spec.source_hash == original.spec.source_hash


def test_kept_code_is_laid_out_where_nobody_else_reads_it(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    original = load(write("mine.py", MINE))

    load_kept(code_of(original), original.spec.path)

    (directory,) = temporary.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_kept_code_that_imports_something_else_now_is_refused(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optional = "try:\n    import extra_of_mine\nexcept ImportError:\n    pass\n"
    original = load(write("mine.py", optional + MINE))
    library = tmp_path / "library"
    library.mkdir()
    (library / "extra_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(library)

    with pytest.raises(DamagedError) as caught:
        load_kept(code_of(original), original.spec.path)

    assert "extra_of_mine.py" in str(caught.value.hint)


def test_kept_files_that_cannot_lie_beside_each_other_are_refused() -> None:
    source = StrategySource(entry="mine.py", files={"mine.py": b"", "mine.py/core.py": b""})

    with pytest.raises(DamagedError, match="needs a directory"):
        load_kept(source, "/gone/mine.py:Mine")
