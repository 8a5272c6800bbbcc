"""The registry: finds a strategy by name, alias, installed entry point or file."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ntrader.domain.sources import StrategySource
from ntrader.domain.strategies import (
    ENTRY_POINT_GROUP,
    ClassInFile,
    built_in_name,
    normal_name,
)
from ntrader.engine.strategies.base import LongFlatStrategy
from ntrader.engine.strategies.definition import DeclaredStrategy, Source, StrategyDefinition
from ntrader.engine.strategies.imports import UserModules, recorded_imports
from ntrader.errors import InvalidConfigError, NotFoundError, NtraderError

_BUILT_IN = {
    "sma": "ntrader.engine.strategies.sma:SmaCrossover",
    "rsi": "ntrader.engine.strategies.rsi:RsiMeanReversion",
    "momentum": "ntrader.engine.strategies.momentum:Momentum",
}


def find_strategy(reference: str) -> StrategyDefinition:
    """Return the strategy that `reference` names.

    It is a registered name or alias (case, `-` and spaces do not matter), or
    `path/to/file.py:Class`.

    Raises:
        NotFoundError: there is no such name, file or class.
        InvalidConfigError: the file cannot be imported, or the class is no strategy.
    """
    in_file = ClassInFile.parse(reference)
    if in_file is not None:
        return strategy_in_file(in_file.path, in_file.name)
    built_in = built_in_name(reference)
    if built_in is not None:
        return _from_module(_BUILT_IN[built_in])
    for entry_point in _installed():
        if normal_name(entry_point.name) == normal_name(reference):
            return _from_entry_point(entry_point)
    raise NotFoundError(
        f"There is no strategy {reference!r}.",
        hint=f"Use one of {', '.join(_BUILT_IN)}, or path/to/file.py:ClassName. "
        "`ntrader strategies` lists all.",
    )


def built_in_strategies() -> list[StrategyDefinition]:
    """Return the strategies that come with ntrader."""
    return [_from_module(path) for path in _BUILT_IN.values()]


def all_strategies() -> list[StrategyDefinition]:
    """Return the built-in strategies and those of installed packages.

    Raises:
        InvalidConfigError: an installed package's strategy cannot be loaded.
    """
    return [*built_in_strategies(), *map(_from_entry_point, _installed())]


def _installed() -> Iterator[EntryPoint]:
    return iter(sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda found: found.name))


def _from_module(path: str, *, name: str | None = None) -> StrategyDefinition:
    module_name, _, class_name = path.partition(":")
    module = importlib.import_module(module_name)
    source = Path(inspect.getfile(module)).read_bytes()
    return _define(
        getattr(module, class_name),
        Source(path=path, sha256=hashlib.sha256(source).hexdigest(), is_file=False),
        name=name,
    )


def _from_entry_point(entry_point: EntryPoint) -> StrategyDefinition:
    try:
        with _foreign_code():
            return _from_module(entry_point.value, name=entry_point.name)
    except NtraderError:
        raise
    except Exception as error:  # it is somebody else's code
        raise InvalidConfigError(
            f"The installed strategy {entry_point.name!r} cannot be loaded: "
            f"{type(error).__name__}: {error}.",
            hint=f"It is declared as {entry_point.value!r}; reinstall or repair that package.",
        ) from error


@contextlib.contextmanager
def _foreign_code() -> Iterator[None]:
    """Keep stdout for our own results, and an `exit()` from ending ntrader."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as error:
        raise RuntimeError(f"it called exit({error.code})") from error


def strategy_in_file(
    path: Path, class_name: str, *, known_as: str | None = None
) -> StrategyDefinition:
    """Return the strategy that is the class `class_name` in the file `path`.

    `known_as` is what the definition calls its path where the file is a copy that was kept.

    Raises: as `find_strategy`.
    """
    path = path.expanduser().absolute()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"The strategy file {path} cannot be read: {error.strerror}.",
            hint="A strategy in a file is named path/to/file.py:ClassName.",
        ) from error
    module, modules = _execute(path, content)
    cls = getattr(module, class_name, None)
    if not inspect.isclass(cls):
        own = [
            name
            for name, member in vars(module).items()
            if inspect.isclass(member) and member.__module__ == module.__name__
        ]
        raise NotFoundError(
            f"There is no class {class_name!r} in {path}.",
            hint=f"It defines {', '.join(own)}." if own else "It defines no class.",
        )
    code = StrategySource.of(path.name, content, modules.files)
    source = Source(
        path=known_as or f"{path}:{class_name}",
        sha256=code.hash,
        is_file=True,
        code=code,
        modules=modules,
        file=path if known_as is None else None,
    )
    return _define(cls, source)


def _execute(path: Path, content: bytes) -> tuple[ModuleType, UserModules]:
    """Import a file as a module of its own; return it with all of the user's modules."""
    name = f"ntrader_user_strategy_{hashlib.sha256(content).hexdigest()[:16]}"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    module = ModuleType(name) if spec is None else importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    # Registered, because dataclasses and pydantic look their module up; its directory on the path,
    # because a strategy may import its neighbours.
    sys.modules[name] = module
    try:
        with recorded_imports(path.parent) as modules, _foreign_code():
            # The user named this file to have it run.
            exec(compile(content, path, "exec"), vars(module))  # noqa: S102
    except Exception as error:
        sys.modules.pop(name, None)
        where = _line_in(path, error)
        raise InvalidConfigError(
            f"{path}{where} cannot be imported: {type(error).__name__}: {error}.",
            hint="Repair the file; `python` on it shows the whole traceback.",
        ) from error
    modules.loaded[name] = module
    return module, modules


def _line_in(path: Path, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno},"
    traceback, line = error.__traceback__, None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return "" if line is None else f", line {line},"


def _define(cls: type[Any], source: Source, *, name: str | None = None) -> StrategyDefinition:
    if inspect.isclass(cls) and issubclass(cls, LongFlatStrategy):
        return DeclaredStrategy(cls, source, name=name)

    # Only a strategy of NautilusTrader's own kind needs NautilusTrader to be looked at.
    from nautilus_trader.trading.strategy import Strategy

    if inspect.isclass(cls) and issubclass(cls, Strategy):
        from ntrader.engine.strategies.native import NativeStrategy

        return NativeStrategy(cls, source, name=name)
    raise InvalidConfigError(
        f"{source.path} is not a strategy.",
        hint="Derive it from ntrader.engine.strategies.LongFlatStrategy, "
        "or from NautilusTrader's Strategy.",
    )
