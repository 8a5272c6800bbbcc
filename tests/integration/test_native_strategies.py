"""Strategies written against NautilusTrader itself."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ntrader.domain.results import Side
from ntrader.engine.strategies.definition import StrategyDefinition
from ntrader.engine.strategies.registry import find_strategy
from ntrader.errors import InvalidConfigError
from support.trading import crypto, fail, make_bars, succeed

HEAD = '''\
from decimal import Decimal
from typing import Optional

from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy


class PlanConfig(StrategyConfig, frozen=True):
    instrument_id: InstrumentId
    bar_type: BarType
    trade_size: Decimal
    enter_on: int = 1
    exit_on: Optional[int] = None
    limit: Optional[Decimal] = None


class Plan(Strategy):
    """Does one thing on a bar.

    More words.
    """

    version = "2.1.0"
    strategy_type = "planned"

    def __init__(self, config: PlanConfig) -> None:
        super().__init__(config)
        self.count = -1

    def on_start(self):
        self.instrument = self.cache.instrument(self.config.instrument_id)
        self.subscribe_bars(self.config.bar_type)

    def send(self, side, size=None):
        quantity = self.instrument.make_qty(size or self.config.trade_size)
        self.submit_order(self.order_factory.market(self.instrument.id, side, quantity))

    def buy_limit(self, price, tif=TimeInForce.GTC):
        quantity = self.instrument.make_qty(self.config.trade_size)
        self.submit_order(
            self.order_factory.limit(
                self.instrument.id, OrderSide.BUY, quantity, self.instrument.make_price(price),
                time_in_force=tif,
            )
        )

    def sell_stop(self, trigger):
        quantity = self.instrument.make_qty(self.config.trade_size)
        self.submit_order(
            self.order_factory.stop_market(
                self.instrument.id, OrderSide.SELL, quantity, self.instrument.make_price(trigger)
            )
        )

'''

ROUND_TRIP = """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == self.config.enter_on:
            self.send(OrderSide.BUY)
        if self.count == self.config.exit_on:
            self.send(OrderSide.SELL)
"""

CLOSES = [100, 101, 102, 103, 104, 105]


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    """Define a strategy from the lines of its `on_bar`, and more methods."""

    def define(body: str) -> StrategyDefinition:
        path = tmp_path / "plan.py"
        path.write_text(HEAD + body)
        return find_strategy(f"{path}:Plan")

    return define


def told(result: Any) -> list[tuple[int, Side, str, str]]:
    """Return the fills as (day of January 2024, side, quantity, price)."""
    return [
        (fill.time.day, fill.side, str(fill.quantity), f"{fill.price:.2f}") for fill in result.fills
    ]


def test_configuration_fields_are_the_parameters(plan: Any) -> None:
    """Instrument and bars come from the run; all else is declared with type and default."""
    spec = plan(ROUND_TRIP).spec

    assert [(p.name, p.type, p.default) for p in spec.parameters] == [
        ("trade_size", "number", None),
        ("enter_on", "integer", 1),
        ("exit_on", "integer", None),
        ("limit", "number", None),
    ]
    assert (spec.name, spec.type, spec.description) == (
        "Plan",
        "planned",
        "Does one thing on a bar.",
    )
    assert spec.version == f"2.1.0+{spec.source_hash[:12]}"


def test_parameters_are_checked_and_kept_exactly(plan: Any) -> None:
    """Text becomes the field's type; a decimal a number, or text where a float would lose it."""
    checked = plan(ROUND_TRIP).check({"trade_size": "0.10", "exit_on": "3"})
    long = plan(ROUND_TRIP).check({"trade_size": "0.1000000000000000000001", "exit_on": 3})

    assert checked == {"trade_size": 0.1, "enter_on": 1, "exit_on": 3}
    assert long["trade_size"] == "0.1000000000000000000001"


def test_a_number_of_a_billion_digits_is_not_written_out(plan: Any) -> None:
    checked = plan(ROUND_TRIP).check({"trade_size": "1E+999999999"})
    assert checked["trade_size"] == "1E+999999999"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "trade_size: required"),
        ({"trade_size": "5", "size": 1}, "size: not a parameter"),
        ({"trade_size": "much"}, "trade_size: "),
        ({"trade_size": "5", "exit_on": 1.5}, "exit_on: "),
        ({"trade_size": "5", "order_id_tag": "7"}, "order_id_tag: not a parameter"),
    ],
)
def test_parameters_that_do_not_fit_are_named(plan: Any, values: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        plan(ROUND_TRIP).check(values)

    assert said in caught.value.message


def test_market_orders_fill_at_the_close(plan: Any) -> None:
    result = succeed(
        plan(ROUND_TRIP),
        make_bars(CLOSES),
        parameters={"trade_size": "7", "exit_on": 3},
        fee="0.001",
    )

    assert told(result) == [(2, Side.BUY, "7", "101.00"), (4, Side.SELL, "7", "103.00")]
    assert [fill.fee for fill in result.fills] == [Decimal("0.707"), Decimal("0.721")]
    assert result.equity.values[-1] == pytest.approx(100_000 + 14 - 1.428, abs=1e-9)


def test_market_orders_fill_at_the_next_open(plan: Any) -> None:
    result = succeed(
        plan(ROUND_TRIP),
        make_bars(CLOSES, opens=[99, 100.5, 101.25, 102.75, 103.5, 104.25]),
        parameters={"trade_size": "7", "exit_on": 3},
        fill="next-open",
    )

    assert told(result) == [(3, Side.BUY, "7", "101.25"), (5, Side.SELL, "7", "103.50")]


@pytest.mark.parametrize("fill", ["close", "next-open"])
def test_a_limit_order_waits_for_its_price(plan: Any, fill: str) -> None:
    """It fills at its own price, on the first bar that goes through it."""
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 0:
            self.buy_limit(99.5)
"""
    )

    result = succeed(
        strategy, make_bars([100, 101, 100, 98, 99]), parameters={"trade_size": "7"}, fill=fill
    )

    assert told(result) == [(4, Side.BUY, "7", "99.50")]
    assert not result.fills[0].at_close
    assert result.warnings == ()


LIMIT_AT_ONCE = """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 0:
            self.buy_limit(101)
"""


def test_a_limit_order_that_can_trade_at_the_open_does(plan: Any) -> None:
    """Not at the close of the bar before, which is past."""
    result = succeed(
        plan(LIMIT_AT_ONCE),
        make_bars([100, 102, 103], opens=[100, 100.5, 102]),
        parameters={"trade_size": "7"},
        fill="next-open",
    )

    assert told(result) == [(2, Side.BUY, "7", "100.50")]


def test_a_limit_order_waits_when_the_open_is_beyond_it(plan: Any) -> None:
    result = succeed(
        plan(LIMIT_AT_ONCE),
        make_bars([100, 104, 99], opens=[100, 103, 104]),
        parameters={"trade_size": "7"},
        fill="next-open",
    )

    assert told(result) == [(3, Side.BUY, "7", "101.00")]


@pytest.mark.parametrize(
    ("fill", "expected"),
    [("close", (1, Side.BUY, "7", "100.00")), ("next-open", (2, Side.BUY, "7", "100.50"))],
)
def test_an_order_of_on_start_is_as_one_of_the_first_bar(
    plan: Any, fill: str, expected: tuple[int, Side, str, str]
) -> None:
    strategy = plan(
        """\
    def on_start(self):
        self.instrument = self.cache.instrument(self.config.instrument_id)
        self.send(OrderSide.BUY)
"""
    )

    result = succeed(
        strategy,
        make_bars([100, 101, 102], opens=[99.5, 100.5, 101.5]),
        parameters={"trade_size": "7"},
        fill=fill,
    )

    assert told(result) == [expected]


@pytest.mark.parametrize(("fill", "still_open"), [("close", 0), ("next-open", 1)])
def test_an_order_that_is_cancelled_on_the_last_bar_counts_once(
    plan: Any, fill: str, still_open: int
) -> None:
    """Where orders wait for the next open, so do cancellations."""
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 0:
            self.buy_limit(50)
        if self.count == 5:
            self.cancel_all_orders(self.instrument.id)
"""
    )

    result = succeed(strategy, make_bars(CLOSES), parameters={"trade_size": "7"}, fill=fill)

    assert result.warnings == (("1 order was still open when the data ended.",) * still_open)


@pytest.mark.parametrize("fill", ["close", "next-open"])
def test_a_bracket_takes_its_profit(plan: Any, fill: str) -> None:
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 0:
            self.submit_order_list(
                self.order_factory.bracket(
                    self.instrument.id, OrderSide.BUY, self.instrument.make_qty(7),
                    tp_price=self.instrument.make_price(103.2),
                    sl_trigger_price=self.instrument.make_price(90),
                )
            )
"""
    )

    result = succeed(strategy, make_bars(CLOSES), parameters={"trade_size": "7"}, fill=fill)

    assert told(result)[-1] == (5, Side.SELL, "7", "103.20")
    assert len(result.fills) == 2
    assert result.warnings == ()


@pytest.mark.parametrize("fill", ["close", "next-open"])
def test_a_limit_order_that_is_never_reached_is_told(plan: Any, fill: str) -> None:
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 0:
            self.buy_limit(50)
"""
    )

    result = succeed(strategy, make_bars(CLOSES), parameters={"trade_size": "7"}, fill=fill)

    assert result.fills == ()
    assert result.warnings == ("1 order was still open when the data ended.",)


def test_a_stop_order_sells_when_the_price_falls_through(plan: Any) -> None:
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 0:
            self.send(OrderSide.BUY)
        if self.count == 1:
            self.sell_stop(98)
"""
    )

    result = succeed(
        strategy,
        make_bars([100, 101, 100, 97, 96], opens=[100, 100, 101, 100, 97]),
        parameters={"trade_size": "7"},
    )

    assert told(result) == [(1, Side.BUY, "7", "100.00"), (4, Side.SELL, "7", "98.00")]


def test_orders_of_on_stop_fill_at_the_last_close_and_are_told(plan: Any) -> None:
    strategy = plan(
        ROUND_TRIP
        + """
    def on_stop(self):
        self.close_all_positions(self.config.instrument_id)
"""
    )

    result = succeed(strategy, make_bars(CLOSES), parameters={"trade_size": "7"})

    assert told(result) == [(2, Side.BUY, "7", "101.00"), (6, Side.SELL, "7", "105.00")]
    assert result.warnings == (
        "1 order was filled at the last close, sent when the strategy was stopped.",
    )


def test_orders_of_on_stop_find_no_next_open(plan: Any) -> None:
    strategy = plan(
        ROUND_TRIP
        + """
    def on_stop(self):
        self.close_all_positions(self.config.instrument_id)
"""
    )

    result = succeed(strategy, make_bars(CLOSES), parameters={"trade_size": "7"}, fill="next-open")

    assert told(result) == [(3, Side.BUY, "7", "101.00")]
    assert result.warnings == ("1 order was still open when the data ended.",)


@pytest.mark.parametrize("fill", ["close", "next-open"])
def test_a_short_sale_fails_the_run(plan: Any, fill: str) -> None:
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 1:
            self.send(OrderSide.SELL)
"""
    )

    failure = fail(strategy, make_bars(CLOSES), parameters={"trade_size": "7"}, fill=fill)

    assert failure.message.endswith("sold short: ntrader runs cash accounts, long or flat.")


def test_a_short_sale_of_a_pair_fails_the_run(plan: Any) -> None:
    """The engine itself would lend what a pair's account does not hold."""
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 1:
            self.send(OrderSide.SELL)
"""
    )
    bitcoin = crypto()

    failure = fail(
        strategy,
        make_bars(CLOSES, instrument=bitcoin),
        instrument=bitcoin,
        parameters={"trade_size": "0.5"},
    )

    assert "sold short, 0.5 units of 0 held" in failure.message


def test_selling_more_than_is_held_fails_the_run(plan: Any) -> None:
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 1:
            self.send(OrderSide.BUY)
        if self.count == 2:
            self.send(OrderSide.SELL, 8)
"""
    )

    failure = fail(strategy, make_bars(CLOSES), parameters={"trade_size": "7"})

    assert failure.message.startswith("Stopped after 2 of 6 bars. The strategy sold short")


def test_buying_more_than_there_is_fails_the_run(plan: Any) -> None:
    failure = fail(plan(ROUND_TRIP), make_bars(CLOSES), parameters={"trade_size": "1000"})

    assert failure.message.startswith("Stopped after 1 of 6 bars. The account was overspent:")
    assert "101,000.00" in failure.message


def test_buying_too_much_in_on_stop_fails_the_run(plan: Any) -> None:
    """There the engine swallows an overdraft without a word."""
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        pass

    def on_stop(self):
        self.send(OrderSide.BUY)
"""
    )

    failure = fail(strategy, make_bars(CLOSES), parameters={"trade_size": "1000"})

    assert "overspent" in failure.message


def test_a_refused_order_is_told_once_with_its_count(plan: Any) -> None:
    """A post-only order that would trade at once is refused by the exchange."""
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        self.submit_order(
            self.order_factory.limit(
                self.instrument.id, OrderSide.BUY, self.instrument.make_qty(7),
                self.instrument.make_price(1000 + self.count), post_only=True,
            )
        )
"""
    )

    result = succeed(strategy, make_bars([100] * 3), parameters={"trade_size": "7"})

    assert result.fills == ()
    (warning,) = result.warnings
    assert warning.startswith("3 orders were refused by the simulated exchange: POST_ONLY")
    assert "limit px of 1000.00" in warning


def test_a_strategy_that_shuts_the_engine_down_fails_the_run(plan: Any) -> None:
    """The engine then returns as if the data had ended."""
    strategy = plan(
        """\
    def on_bar(self, bar: Bar):
        self.count += 1
        if self.count == 2:
            self.shutdown_system("enough")
"""
    )

    failure = fail(strategy, make_bars(CLOSES), parameters={"trade_size": "7"})

    assert (
        failure.message
        == "Stopped after 3 of 6 bars. The engine was shut down before the data ended."
    )
    succeed(plan(ROUND_TRIP), make_bars(CLOSES), parameters={"trade_size": "7"})


@pytest.mark.parametrize("method", ["on_start", "on_stop"])
def test_an_exception_at_start_or_stop_fails_the_run(plan: Any, method: str) -> None:
    strategy = plan(
        f"""\
    def {method}(self):
        raise ValueError("not today")
"""
    )

    failure = fail(strategy, make_bars(CLOSES), parameters={"trade_size": "7"})

    assert failure.message == "ValueError: not today"
    assert 'raise ValueError("not today")' in failure.traceback


def test_an_exception_in_the_constructor_fails_the_run(plan: Any, tmp_path: Path) -> None:
    path = tmp_path / "plan.py"
    plan(ROUND_TRIP)
    path.write_text(path.read_text().replace("self.count = -1", 'raise ValueError("no")'))

    failure = fail(find_strategy(f"{path}:Plan"), make_bars(CLOSES), parameters={"trade_size": "7"})

    assert failure.message == "ValueError: no"
    assert failure.bars_done == 0


def test_a_strategy_of_nautilus_trader_itself_runs(tmp_path: Path) -> None:
    """A file that imports one is enough."""
    path = tmp_path / "theirs.py"
    path.write_text("from nautilus_trader.examples.strategies.ema_cross_long_only import *\n")
    strategy = find_strategy(f"{path}:EMACrossLongOnly")
    falling_and_rising = [*range(150, 100, -1), *range(100, 150), *range(150, 100, -1)]

    result = succeed(strategy, make_bars(falling_and_rising), parameters={"trade_size": "10"})

    assert [fill.side for fill in result.fills] == [Side.BUY, Side.SELL]


def test_a_class_without_a_declared_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.py"
    path.write_text(
        "from nautilus_trader.trading.strategy import Strategy\nclass Plain(Strategy):\n    pass\n"
    )

    with pytest.raises(InvalidConfigError) as caught:
        find_strategy(f"{path}:Plain")

    assert "Plain does not say which configuration it takes" in caught.value.message
