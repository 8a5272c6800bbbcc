"""The user's modules that a strategy's file imports: loaded afresh, and recorded as they were read.

What is recorded is what was executed: the bytes are read once, compiled and kept, and no bytecode
file stands between. A user's module is one with Python source that is neither part of Python, nor
installed in a site-packages directory, nor ntrader's own. A module that a strategy imports for the
first time while it runs is not recorded.
"""

from __future__ import annotations

import importlib
import site
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

_OURS = "ntrader"
_INSTALLED = {"site-packages", "dist-packages"}

# Names of modules that were recorded before. They leave `sys.modules` when another strategy is
# loaded: it may have modules of the same names, or the user has edited them meanwhile.
_recorded: set[str] = set()


@dataclass(frozen=True, slots=True)
class UserModules:
    """The user's modules that were imported.

    `files` has their source by the path at which an import finds it, such as `signals.py` or
    `mylib/__init__.py`; `loaded` has the modules by name, that of the strategy's file among them.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    loaded: dict[str, ModuleType] = field(default_factory=dict)

    def put_in_place(self) -> None:
        """Let imports find these modules, and not those of a strategy that was loaded later."""
        sys.modules.update(self.loaded)


@contextmanager
def recorded_imports(directory: Path) -> Iterator[UserModules]:
    """Let imports find the modules in `directory`, and record those of the user."""
    modules = UserModules()
    recorder = _Recorder(modules)
    _forget(directory)
    importlib.invalidate_caches()
    sys.path.insert(0, str(directory))
    sys.meta_path.insert(0, recorder)
    try:
        yield modules
    finally:
        sys.meta_path.remove(recorder)
        with suppress(ValueError):
            sys.path.remove(str(directory))


class _Recorder(MetaPathFinder):
    """Finds what the other finders find, and has the user's modules loaded by a loader of ours."""

    def __init__(self, modules: UserModules) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's specification."""
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is None:
                continue
            if type(spec.loader) is SourceFileLoader and _is_users(fullname, spec.origin):
                _recorded.add(fullname)
                place = _place(fullname, is_package=spec.submodule_search_locations is not None)
                spec.loader = _RecordingLoader(spec.loader, place, self._modules)
            return spec
        return None


class _RecordingLoader(SourceFileLoader):
    """Executes a module's source, never its bytecode file, and records it."""

    def __init__(self, loader: SourceFileLoader, place: str, modules: UserModules) -> None:
        super().__init__(loader.name, loader.path)
        self._place = place
        self._modules = modules

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source."""
        content = self.get_data(self.path)
        self._modules.files[self._place] = content
        code: CodeType = self.source_to_code(content, self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, and remember it if it loads."""
        super().exec_module(module)
        self._modules.loaded[module.__name__] = module


def _forget(directory: Path) -> None:
    """Take modules of earlier strategies, and those that `directory` holds, out of memory."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if name in _recorded or _lies_in(directory, name, file):
            del sys.modules[name]


def _lies_in(directory: Path, name: str, file: str | None) -> bool:
    if file is None or name == "__main__" or not _is_users(name, file):
        return False
    return any(
        Path(file) == directory / _place(name, is_package=is_package)
        for is_package in (False, True)
    )


def _place(name: str, *, is_package: bool) -> str:
    return name.replace(".", "/") + ("/__init__.py" if is_package else ".py")


def _is_users(name: str, origin: str | None) -> bool:
    if origin is None or not origin.endswith(".py") or name.partition(".")[0] == _OURS:
        return False
    path = Path(origin)
    # Most paths need not be resolved, which takes longer than all the rest.
    return not (_is_installed(path) or _is_installed(path.resolve()))


def _is_installed(path: Path) -> bool:
    return not _INSTALLED.isdisjoint(path.parts) or any(
        path.is_relative_to(place) for place in _installed_places()
    )


@cache
def _installed_places() -> tuple[Path, ...]:
    named = ("stdlib", "platstdlib", "purelib", "platlib")
    places = [sysconfig.get_path(name) for name in named]
    given = [Path(place) for place in (*places, *site.getsitepackages())]
    return tuple({*given, *(place.resolve() for place in given)})
