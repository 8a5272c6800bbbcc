"""Strategies: what can be run on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ntrader.domain.strategies import StrategySpec, built_in_name
from ntrader.errors import InvalidConfigError, NotFoundError

if TYPE_CHECKING:
    from ntrader.domain.snapshot import ConfigSnapshot
    from ntrader.engine.strategies.definition import StrategyDefinition
    from ntrader.services.workspace import Workspace


def describe_strategies() -> Sequence[StrategySpec]:
    """Return the built-in strategies and those of installed packages."""
    from ntrader.engine.strategies.registry import all_strategies

    return [definition.spec for definition in all_strategies()]


def describe_strategy(reference: str) -> StrategySpec:
    """Return one strategy, by name, alias or `path/to/file.py:Class`.

    Raises:
        NotFoundError: there is none.
        InvalidConfigError: it cannot be loaded.
    """
    from ntrader.engine.strategies.registry import find_strategy

    return find_strategy(reference).spec


def strategy_today(snapshot: ConfigSnapshot) -> StrategyDefinition | None:
    """Return the strategy of a run as its code is today; None where it is gone or broken."""
    from ntrader.engine.strategies.registry import find_strategy

    path = snapshot.strategy_path
    reference = path if _is_file(path) else snapshot.config.strategy.name
    try:
        return find_strategy(reference)
    except (NotFoundError, InvalidConfigError):
        return None


async def strategy_of_run(workspace: Workspace, snapshot: ConfigSnapshot) -> StrategyDefinition:
    """Return the strategy of a run with the code that the run used, as far as that exists.

    The source of a strategy from a file was kept with the run. Of a built-in or installed strategy
    there is only today's code.

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
    today = strategy_today(snapshot)
    if today is None or (_is_file(snapshot.strategy_path) and _differs(today, config.source_hash)):
        raise NotFoundError(
            f"The code of strategy {config.name} ({config.source_hash[:12]}) is gone.",
            hint=f"It was {snapshot.strategy_path}, and no copy of it was kept.",
        )
    return today


def is_built_in(snapshot: ConfigSnapshot) -> bool:
    """Whether re-running executes nothing but ntrader's own code, whatever the snapshot says."""
    name = snapshot.config.strategy.name
    return built_in_name(name) is not None and not _is_file(snapshot.strategy_path)


def _is_file(path: str) -> bool:
    return path.rpartition(":")[0].endswith(".py")


def _differs(definition: StrategyDefinition, source_hash: str) -> bool:
    return definition.spec.source_hash != source_hash
