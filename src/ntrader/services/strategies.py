"""Strategies: what can be run on this machine."""

from collections.abc import Sequence

from ntrader.domain.strategies import StrategySpec


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
