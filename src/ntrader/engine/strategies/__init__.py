"""Strategies: what ntrader can run.

A strategy of your own is a subclass of `LongFlatStrategy` (or of NautilusTrader's `Strategy`).
"""

from ntrader.engine.strategies.base import LongFlatStrategy, StrategyParameters

__all__ = ["LongFlatStrategy", "StrategyParameters"]
