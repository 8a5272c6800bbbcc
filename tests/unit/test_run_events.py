"""The events of a run's life."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from ntrader.domain.events import EventType
from ntrader.domain.results import Trade
from ntrader.services.persistence import MAX_TRADE_EVENTS, events_of
from support.outcomes import START, make_result

TRADE = Trade(
    opened_at=START,
    closed_at=START + timedelta(days=1),
    quantity=Decimal(1),
    entry_price=Decimal(100),
    exit_price=Decimal(101),
    fees=Decimal(0),
    profit=Decimal(1),
    return_=0.01,
)


def test_each_closed_trade_is_an_event() -> None:
    kinds = [event.type for event in events_of(replace(make_result(), trades=(TRADE,) * 3))]

    assert kinds == [EventType.STARTED, *[EventType.TRADE_CLOSED] * 3, EventType.FINISHED]


def test_the_events_of_a_run_are_bounded_and_say_what_is_left_out() -> None:
    """A run of a hundred thousand trades would take as much room as ten thousand other runs."""
    trades = (TRADE,) * (MAX_TRADE_EVENTS + 7)

    events = list(events_of(replace(make_result(), trades=trades)))

    assert len(events) == MAX_TRADE_EVENTS + 2
    assert events[-1].type is EventType.FINISHED
    assert events[-1].payload["trades_left_out"] == 7
