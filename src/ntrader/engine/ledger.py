"""The ledger: cash, position, fills and refusals of a run, exact to the last decimal."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import (
    OrderCancelRejected,
    OrderDenied,
    OrderFilled,
    OrderModifyRejected,
    OrderRejected,
)
from nautilus_trader.model.objects import MONEY_MAX

from ntrader.domain.identity import decimal_text
from ntrader.engine.accounting import EXACT

if TYPE_CHECKING:
    from nautilus_trader.model.events import OrderEvent

_CASH_ONLY = "ntrader runs cash accounts, long or flat"
# How NautilusTrader refuses to sell equities that are not held. Of a pair it lends them.
_SHORT_SALE = "SHORT SELLING not permitted"
_REFUSALS = (OrderDenied, OrderRejected, OrderCancelRejected, OrderModifyRejected)


class RunRefusedError(Exception):
    """The run went where ntrader does not follow; the message is for the user."""


class Ledger:
    """Keeps a cash account from the engine's order events, and ends the run that leaves it.

    NautilusTrader's own account rounds every amount to the currency's cents: over hundreds of fills
    that moves the size of later entries, and at an equity fraction of 1 it takes a rounded cent for
    an overdraft. So its account may borrow, and this one decides.

    Attributes:
        cash: In the instrument's currency.
        position: Units held, never below zero.
        fills: In the order of their execution.
        refusals: The reasons of orders (and changes of orders) that were refused.
    """

    def __init__(self, capital: Decimal, fee: Decimal) -> None:
        self.cash = capital
        self.position = Decimal(0)
        self.fills: list[OrderFilled] = []
        self.refusals: list[str] = []
        self._fee = fee
        self._seen: set[str] = set()

    def record(self, event: OrderEvent) -> None:
        """Take an event of an order.

        Raises:
            RunRefusedError: an order sells more than is held, or a fill costs more than there is.
        """
        if isinstance(event, OrderFilled):
            # NautilusTrader may publish one event under several topics.
            key = event.id.value
            if key not in self._seen:
                self._seen.add(key)
                self._book(event)
        elif isinstance(event, _REFUSALS):
            if event.reason.startswith(_SHORT_SALE):
                raise RunRefusedError(f"The strategy sold short: {_CASH_ONLY}.")
            self.refusals.append(event.reason)

    def can_pay(self, quantity: Decimal, price: Decimal) -> bool:
        """Say whether the cash pays for `quantity` units at `price`, the fee included."""
        with localcontext(EXACT):
            return quantity * price * (1 + self._fee) <= self.cash

    def refuse_uncountable(self, quantity: Decimal, price: Decimal) -> None:
        """Refuse a sale whose proceeds the engine cannot count: it would abort the process.

        Raises:
            RunRefusedError: the cash would be more than the engine can hold.
        """
        with localcontext(EXACT):
            cash = self.cash + quantity * price
        if cash > MONEY_MAX:
            raise RunRefusedError(
                f"The account grew to {cash:,.0f}, which is more than the engine can hold, "
                f"{int(MONEY_MAX):,}. Begin with less capital."
            )

    def fee_of(self, fill: OrderFilled) -> Decimal:
        """Return the exact fee of a fill, a fraction of the traded value."""
        with localcontext(EXACT):
            fee: Decimal = fill.last_px.as_decimal() * fill.last_qty.as_decimal() * self._fee
            return fee

    def _book(self, fill: OrderFilled) -> None:
        quantity = fill.last_qty.as_decimal()
        if fill.order_side != OrderSide.BUY:
            quantity = -quantity
        with localcontext(EXACT):
            cash = self.cash - quantity * fill.last_px.as_decimal() - self.fee_of(fill)
            position = self.position + quantity
            if position < 0:
                raise RunRefusedError(
                    f"The strategy sold short, {decimal_text(-quantity)} units of "
                    f"{decimal_text(self.position)} held: {_CASH_ONLY}."
                )
            if quantity > 0 and cash < 0:
                raise RunRefusedError(
                    f"The account was overspent: buying {decimal_text(quantity)} units at "
                    f"{fill.last_px} cost {self.cash - cash:,.2f} with fees, and there were "
                    f"{self.cash:,.2f}. A lower equity fraction leaves room for gaps and fees."
                )
        self.cash, self.position = cash, position
        self.fills.append(fill)
