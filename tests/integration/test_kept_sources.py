"""Kept code and today's, run in one process: each gives its own answer."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ntrader.engine.strategies.definition import StrategyDefinition
from ntrader.engine.strategies.registry import find_strategy
from ntrader.engine.strategies.sources import load_kept
from support.trading import make_bars, succeed

# Both look a module up while they run.
DECLARED = """
import rules_of_mine
from ntrader.engine.strategies import LongFlatStrategy

class Mine(LongFlatStrategy):
    def prepare(self):
        self.bar = 0

    def on_bar(self, bar):
        from rules_of_mine import FIRST
        self.bar += 1
        if self.bar == FIRST:
            self.enter()
"""
NATIVE = """
import rules_of_mine
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

class MineConfig(StrategyConfig, frozen=True):
    instrument_id: InstrumentId
    bar_type: BarType

class Mine(Strategy):
    def __init__(self, config: MineConfig) -> None:
        super().__init__(config)
        self.bar = 0

    def on_start(self):
        self.subscribe_bars(self.config.bar_type)

    def on_bar(self, bar):
        from rules_of_mine import FIRST
        self.bar += 1
        if self.bar == FIRST:
            quantity = self.cache.instrument(self.config.instrument_id).make_qty(1)
            self.submit_order(
                self.order_factory.market(self.config.instrument_id, OrderSide.BUY, quantity)
            )
"""
BARS = make_bars([10, 11, 12, 13, 14, 15])


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget what a test has imported."""
    yield
    sys.modules.pop("rules_of_mine", None)


@pytest.fixture
def mine(tmp_path: Path) -> Callable[[str, int], StrategyDefinition]:
    def load(content: str, first: int) -> StrategyDefinition:
        (tmp_path / "mine.py").write_text(content)
        (tmp_path / "rules_of_mine.py").write_text(f"FIRST = {first}\n")
        return find_strategy(f"{tmp_path}/mine.py:Mine")

    return load


def price_of_entry(strategy: StrategyDefinition) -> float:
    return float(succeed(strategy, BARS).fills[0].price)


@pytest.mark.parametrize("content", [DECLARED, NATIVE], ids=["declared", "native"])
def test_kept_code_and_todays_give_each_its_own_answer(
    mine: Callable[[str, int], StrategyDefinition], content: str
) -> None:
    original = mine(content, 2)
    assert original.source.code is not None

    kept = load_kept(original.source.code, original.spec.path)
    today = mine(content, 4)

    assert [price_of_entry(each) for each in (kept, today, kept)] == [11, 13, 11]
