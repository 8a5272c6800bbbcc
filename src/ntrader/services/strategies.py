"""Strategies: what can be run on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ntrader.domain.strategies import (
    BUILT_IN_ALIASES,
    ENTRY_POINT_GROUP,
    ClassInFile,
    StrategySpec,
    built_in_name,
    normal_name,
)
from ntrader.errors import InvalidConfigError, NotFoundError

if TYPE_CHECKING:
    from ntrader.domain.snapshot import ConfigSnapshot
    from ntrader.engine.strategies.definition import StrategyDefinition
    from ntrader.services.workspace import Workspace


def describe_strategies() -> Sequence[StrategySpec]:
    """Return the built-in strategies and those of installed packages."""
    from ntrader.engine.strategies.registry import all_strategies

    return [definition.spec for definition in all_strategies()]


def strategy_names() -> tuple[str, ...]:
    """Return the names that can be run, without loading any code."""
    return (*BUILT_IN_ALIASES, *_installed_names(tuple(map(_state_of, sys.path))))


def _state_of(directory: str) -> tuple[str, int]:
    """Return a directory with what changes when a package is installed in it, or removed."""
    try:
        return directory, os.stat(directory or ".").st_mtime_ns
    except OSError:
        return directory, 0


@lru_cache(maxsize=1)
def _installed_names(_places: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """Return the names of installed packages' strategies.

    To look reads a file of each package, and a service asks with every list of one strategy.
    """
    from importlib.metadata import entry_points

    return tuple(sorted(entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP)))


def registered_name(text: str) -> str | None:
    """Return the name under which runs of a registered strategy are saved, if `text` means one."""
    built_in = built_in_name(text)
    if built_in is not None:
        return built_in
    wanted = normal_name(text)
    return next((name for name in strategy_names() if normal_name(name) == wanted), None)


def describe_strategy(reference: str) -> StrategySpec:
    """Return one strategy, by name, alias or `path/to/file.py:Class`.

    Raises:
        NotFoundError: there is none.
        InvalidConfigError: it cannot be loaded.
    """
    from ntrader.engine.strategies.registry import find_strategy

    return find_strategy(reference).spec


def strategy_today(snapshot: ConfigSnapshot) -> StrategyDefinition:
    """Return the strategy of a run as its code is today.

    Raises:
        NotFoundError: it is gone.
        InvalidConfigError: it is there and cannot be loaded.
    """
    from ntrader.engine.strategies.registry import find_strategy

    path = snapshot.strategy_path
    return find_strategy(path if _is_file(path) else snapshot.config.strategy.name)


async def strategy_of_run(
    workspace: Workspace, snapshot: ConfigSnapshot, *, kept_only: bool = False
) -> StrategyDefinition:
    """Return the strategy of a run with the code that the run used, as far as that exists.

    The source of a strategy from a file was kept with the run; with `kept_only`, what lies at the
    file's path here is never executed instead. Of a built-in or installed strategy there is only
    today's code.

    Raises:
        NotFoundError: the strategy is gone, and its source was not kept.
        DamagedError: the kept source is not what was kept.
    """
    from ntrader.engine.strategies.sources import load_kept

    config = snapshot.config.strategy
    # Only the code of a file is kept: a run that says otherwise must not make any other run.
    if _is_file(snapshot.strategy_path):
        store = await workspace.store()
        kept = await store.sources.find(config.source_hash)
        if kept is not None:
            return load_kept(kept, snapshot.strategy_path)
        if kept_only:
            raise _code_is_gone(snapshot)
    try:
        today = strategy_today(snapshot)
    except (NotFoundError, InvalidConfigError) as error:
        raise _code_is_gone(snapshot) from error
    if _is_file(snapshot.strategy_path) and today.spec.source_hash != config.source_hash:
        raise _code_is_gone(snapshot)
    return today


def _code_is_gone(snapshot: ConfigSnapshot) -> NotFoundError:
    config = snapshot.config.strategy
    return NotFoundError(
        f"The code of strategy {config.name} ({config.source_hash[:12]}) is gone.",
        hint=f"It was {snapshot.strategy_path}, and no copy of it was kept.",
    )


def is_built_in(snapshot: ConfigSnapshot) -> bool:
    """Whether re-running executes nothing but ntrader's own code, whatever the snapshot says."""
    name = snapshot.config.strategy.name
    return built_in_name(name) is not None and not _is_file(snapshot.strategy_path)


def _is_file(path: str) -> bool:
    return ClassInFile.parse(path) is not None
