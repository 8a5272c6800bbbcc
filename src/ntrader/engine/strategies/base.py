"""What a strategy is to ntrader: declared parameters, and a decision at each bar's close.

A strategy of this kind does not import NautilusTrader: it says when it wants to be long and when
flat, and the engine sizes, sends and fills the orders. See `ntrader.engine.strategies.native` for
strategies that are written against NautilusTrader itself.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar


class StrategyParameters(BaseModel):
    """Base of a strategy's parameters: frozen, and nothing undeclared is accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Intent(Enum):
    """What a strategy wants at a bar's close."""

    ENTER = "enter"
    EXIT = "exit"


class LongFlatStrategy[P: StrategyParameters]:
    """A strategy that is either long one position or flat.

    Subclass it, declare a `Parameters` model, and implement `on_bar`. The first line of the class's
    docstring is its description.

    Attributes:
        version: Semantic version of the rules; change it when the rules change.
        strategy_type: The strategy's family, such as `trend_following`.
        Parameters: The model that declares the parameters with bounds and defaults.
        parameters: The values of this run.
        is_long: Whether the last decision was to enter.
    """

    name: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[str] = "1.0.0"
    strategy_type: ClassVar[str] = "custom"
    Parameters: ClassVar[type[StrategyParameters]] = StrategyParameters

    parameters: P

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters
        self.is_long = False
        self.intent: Intent | None = None
        self.prepare()

    def prepare(self) -> None:
        """Set up state; called once, before the first bar."""

    def on_bar(self, bar: Bar) -> None:
        """Decide at the close of `bar`: call `enter`, `exit` or neither.

        `bar.open`, `high`, `low`, `close` and `volume` are NautilusTrader's exact numbers; take
        `float(bar.close)` to calculate.
        """
        raise NotImplementedError

    def enter(self) -> None:
        """Go long with the run's fraction of the equity; nothing if already long."""
        if not self.is_long:
            self.is_long = True
            # Taking back an exit of this same bar leaves the position as it is.
            self.intent = None if self.intent is Intent.EXIT else Intent.ENTER

    def exit(self) -> None:
        """Sell the whole position; nothing if flat."""
        if self.is_long:
            self.is_long = False
            self.intent = None if self.intent is Intent.ENTER else Intent.EXIT


type AnyStrategy = LongFlatStrategy[Any]
