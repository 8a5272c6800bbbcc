"""The runner: what a backtest does to the cent, and how it fails."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ntrader.domain.datasets import Instrument
from ntrader.domain.results import BacktestFailure, EnhancedBacktestResult, Fill, Side
from ntrader.engine import runner
from ntrader.engine.bars import Bars, instant
from ntrader.engine.simulation import Market, build_market
from ntrader.engine.strategies.registry import find_strategy
from support.outcomes import make_instrument
from support.trading import (
    MONDAY,
    backtest,
    crypto,
    deciding,
    fail,
    forex,
    make_bars,
    scripted,
    succeed,
)

OPENS = [99.5, 100.5, 101.5, 102.5, 103.5, 104.5]
CLOSES = [100, 101, 102, 103, 104, 105]

BOTH_FILLS = pytest.mark.parametrize("fill", ["close", "next-open"])


def day(fill: Fill) -> int:
    """Return on which day of January 2024 a fill happened."""
    return fill.time.day


# Where and at what price orders are filled


def test_orders_fill_at_the_close_of_their_bar() -> None:
    result = succeed(scripted([1], [3]), make_bars(CLOSES, opens=OPENS), fill="close")

    assert [(day(f), f.side, f.price) for f in result.fills] == [
        (2, Side.BUY, Decimal(101)),
        (4, Side.SELL, Decimal(103)),
    ]
    assert all(fill.at_close for fill in result.fills)


def test_orders_fill_at_the_next_open() -> None:
    result = succeed(
        scripted([1], [3]), make_bars(CLOSES, opens=OPENS), fill="next-open", equity_fraction="0.9"
    )

    assert [(day(f), f.side, f.price) for f in result.fills] == [
        (3, Side.BUY, Decimal("101.5")),
        (5, Side.SELL, Decimal("103.5")),
    ]
    assert not any(fill.at_close for fill in result.fills)


def test_the_next_open_may_lie_beyond_a_weekend() -> None:
    friday = MONDAY + timedelta(days=4)
    times = [friday, friday + timedelta(days=3), friday + timedelta(days=4)]

    result = succeed(
        scripted([0]),
        make_bars([10, 20, 30], opens=[9, 19, 29], times=times),
        fill="next-open",
        equity_fraction="0.4",
    )

    assert [(f.time, f.price) for f in result.fills] == [(times[1], Decimal(19))]


def test_an_order_of_the_last_bar_finds_no_next_open() -> None:
    result = succeed(scripted([5]), make_bars(CLOSES), fill="next-open")

    assert result.fills == ()
    assert result.warnings == ("1 order was still open when the data ended.",)


def test_an_order_of_the_last_bar_fills_at_its_close() -> None:
    result = succeed(scripted([5]), make_bars(CLOSES), fill="close")

    assert [(day(f), f.price) for f in result.fills] == [(6, Decimal(105))]
    assert result.warnings == ()


@pytest.mark.parametrize("timeframe", ["1m", "15m", "4h", "1d", "1w"])
@BOTH_FILLS
def test_fills_carry_the_label_of_their_bar(timeframe: str, fill: str) -> None:
    """Labels are when bars open, whatever the length of a bar."""
    bars = make_bars(CLOSES, timeframe=timeframe)

    result = succeed(scripted([1], [3]), bars, timeframe=timeframe, fill=fill)

    expected = (1, 3) if fill == "close" else (2, 4)
    labels = [int(f.time.timestamp()) * 10**9 for f in result.fills]
    assert labels == [int(bars.times[index]) for index in expected]


@BOTH_FILLS
@pytest.mark.parametrize("volumes", [[0] * 6, [1] * 6, [0, 1, 0, 1, 0, 1]])
def test_volume_neither_limits_nor_worsens_a_fill(fill: str, volumes: list[int]) -> None:
    scant = succeed(scripted([1], [3]), make_bars(CLOSES, volumes=volumes), fill=fill)
    ample = succeed(scripted([1], [3]), make_bars(CLOSES, volumes=[10**9] * 6), fill=fill)

    assert scant.fills == ample.fills
    assert len(scant.fills) == 2


@pytest.mark.parametrize(
    ("fill", "bought", "sold"), [("close", "101.51", "102.48"), ("next-open", "101.51", "102.48")]
)
def test_slippage_worsens_a_fill_to_the_next_tick(fill: str, bought: str, sold: str) -> None:
    """101 x 1.005 = 101.505 is bought at 101.51; 103 x 0.995 = 102.485 is sold at 102.48."""
    result = succeed(
        scripted([1], [3]),
        make_bars(CLOSES),
        fill=fill,
        slippage="0.005",
        equity_fraction="0.9",
    )

    assert [f.price for f in result.fills] == [Decimal(bought), Decimal(sold)]


@BOTH_FILLS
def test_slippage_never_sells_below_a_tick(fill: str) -> None:
    result = succeed(
        scripted([0], [1]),
        make_bars(["0.02", "0.01", "0.01"]),
        fill=fill,
        slippage="0.99",
        equity_fraction="0.01",
    )

    assert result.fills[1].price == Decimal("0.01")


# How much is bought, and what it costs


def test_a_fee_is_an_exact_fraction_of_the_value() -> None:
    result = succeed(scripted([1], [3]), make_bars(CLOSES), fee="0.00123", equity_fraction="0.9")

    assert [f.fee for f in result.fills] == [
        891 * 101 * Decimal("0.00123"),
        891 * 103 * Decimal("0.00123"),
    ]


def test_fees_move_the_size_of_the_next_entry_exactly() -> None:
    """Equity is 99,999.90 after the first trade, not the 99,999.89 of two fees in whole cents."""
    bars = make_bars([50, 50, 50, 50])
    result = succeed(
        scripted([0, 2], [1]),
        bars,
        initial_capital="100000",
        equity_fraction="0.01",
        fee="0.0000525",
    )

    assert result.equity.values[2] == pytest.approx(100_000 - 2 * 20 * 50 * 0.0000525, abs=1e-9)


@pytest.mark.parametrize(
    ("instrument", "price", "quantity"),
    [
        (make_instrument(), "333.33", "270"),
        (make_instrument(price_precision=0), "7", "12857"),
        (make_instrument(price_precision=8), "333.33333333", "270"),
        (make_instrument(currency="JPY", price_precision=0), "3333", "27"),
        (forex(), "1.10001", "81817.43"),
        (forex("USD/JPY", price_precision=3), "150.123", "599.50"),
        (forex("EUR/GBP", size_precision=0), "0.85321", "105483"),
        (crypto(), "51234.56", "1.75662677"),
        (crypto("FOO", "WEIRD"), "3", "30000"),
        (crypto("SHIB", price_precision=8), "0.00000789", "11406844106.46387832"),
        (crypto("PEPE", price_precision=4, size_precision=0), "0.0001", "900000000"),
        (crypto("TINY", price_precision=8, size_precision=0), "0.00000001", "9000000000000"),
    ],
    ids=lambda value: value.symbol if isinstance(value, Instrument) else None,
)
@BOTH_FILLS
def test_an_entry_is_rounded_down_to_the_size_precision(
    instrument: Instrument, price: str, quantity: str, fill: str
) -> None:
    """Nine tenths of 100,000, filled whole at one price."""
    bars = make_bars([price] * 4, instrument=instrument, volumes=[1] * 4)

    result = succeed(
        scripted([0], [1]), bars, instrument=instrument, fill=fill, equity_fraction="0.9"
    )

    assert [(f.side, f.quantity, f.price) for f in result.fills] == [
        (Side.BUY, Decimal(quantity), Decimal(price)),
        (Side.SELL, Decimal(quantity), Decimal(price)),
    ]


def test_all_of_the_equity_can_be_invested_again_and_again() -> None:
    """Money rounded to cents, as the engine's own account does, would be overspent soon."""
    euro = forex()
    chance = random.Random(4)
    closes = [f"{chance.uniform(1.0, 1.2):.5f}" for _ in range(600)]

    result = succeed(
        scripted(range(0, 600, 2), range(1, 600, 2)),
        make_bars(closes, instrument=euro),
        instrument=euro,
        fill="close",
        equity_fraction=1,
    )

    assert len(result.fills) == 600


def test_an_entry_too_small_for_one_unit_is_told() -> None:
    result = succeed(scripted([0, 2], [1]), make_bars([2000, 2000, 2000]), initial_capital=1000)

    assert result.fills == ()
    assert result.warnings == ("2 entries came to nothing: the equity does not pay for one unit.",)


def test_a_decision_taken_back_on_the_same_bar_is_none() -> None:
    """Flat it would sell nothing, long it would buy on top."""

    def change_of_mind(strategy: Any, bar: Any) -> None:
        label = bar.ts_event // 86_400_000_000_000 - MONDAY.timestamp() // 86_400
        if label == 0:
            strategy.enter()
            strategy.exit()
        if label == 1:
            strategy.enter()
        if label == 2:
            strategy.exit()
            strategy.enter()

    result = succeed(deciding(change_of_mind), make_bars(CLOSES))

    assert [(day(f), f.side) for f in result.fills] == [(2, Side.BUY)]


# Against an independent simulator


def simulate(
    bars: Bars, enter: set[int], leave: set[int], *, fill: str, fraction: str, fee: str
) -> tuple[list[tuple[int, str, Fraction, Fraction]], list[Fraction]]:
    """Return (bar, side, quantity, price) of each fill, and the equity at each close."""
    price_unit, unit = Fraction(1, 10**bars.price_precision), Fraction(1, 10**bars.size_precision)
    cash, held, is_long = Fraction(100_000), Fraction(0), False
    order: tuple[str, Fraction] | None = None
    fills, equity = [], []

    def trade(bar: int, price: Fraction) -> None:
        nonlocal cash, held, order
        if order is None:
            return
        side, quantity = order
        signed = quantity if side == "BUY" else -quantity
        cash -= signed * price + quantity * price * Fraction(fee)
        held += signed
        fills.append((bar, side, quantity, price))
        order = None

    for bar in range(len(bars)):
        open_, close = (int(x[bar]) * price_unit for x in (bars.open, bars.close))
        if fill == "next-open":
            trade(bar, open_)
        equity.append(cash + held * close)
        if bar in enter and not is_long:
            quantity = equity[-1] * Fraction(fraction) / close // unit * unit
            is_long = quantity > 0
            order = ("BUY", quantity) if is_long else None
        elif bar in leave and is_long:
            order, is_long = ("SELL", held), False
        if fill == "close":
            trade(bar, close)
    equity[-1] = cash + held * close
    return fills, equity


@pytest.mark.parametrize(
    ("instrument", "start", "tick"),
    [
        (make_instrument(), 100, "0.01"),
        (make_instrument(currency="JPY", price_precision=0), 3000, "1"),
        (forex(), 1.1, "0.00001"),
        (forex("USD/JPY", price_precision=3), 150, "0.001"),
        (crypto(), 50_000, "0.01"),
        (crypto("ETH", "BTC", price_precision=6), 0.05, "0.000001"),
        (crypto("SHIB", price_precision=8), 0.00002, "0.00000001"),
    ],
    ids=lambda value: value.symbol if isinstance(value, Instrument) else None,
)
@pytest.mark.parametrize("fee", ["0", "0.00075"])
@BOTH_FILLS
def test_fills_and_equity_agree_with_an_independent_simulator(
    instrument: Instrument, start: float, tick: str, fee: str, fill: str
) -> None:
    chance = random.Random(f"{instrument.symbol} {fee} {fill}")
    count = 400
    prices = [start * chance.uniform(0.9, 1.1) for _ in range(2 * count)]
    rounded = [Decimal(str(price)).quantize(Decimal(tick)) for price in prices]
    bars = make_bars(rounded[:count], opens=rounded[count:], instrument=instrument)
    enter = {bar for bar in range(count) if chance.random() < 0.3}
    leave = {bar for bar in range(count) if chance.random() < 0.3} - enter
    fraction = "0.7"

    result = succeed(
        scripted(sorted(enter), sorted(leave)),
        bars,
        instrument=instrument,
        fill=fill,
        fee=fee,
        equity_fraction=fraction,
    )

    fills, equity = simulate(bars, enter, leave, fill=fill, fraction=fraction, fee=fee)
    labels = {int(time): bar for bar, time in enumerate(bars.times)}
    assert [
        (
            labels[int(f.time.timestamp()) * 10**9],
            str(f.side),
            Fraction(f.quantity),
            Fraction(f.price),
        )
        for f in result.fills
    ] == fills
    assert len(fills) > 50
    np.testing.assert_allclose(result.equity.values, [float(e) for e in equity], rtol=1e-12)


# How runs fail


def raise_on(bar_number: int, error: BaseException) -> Any:
    """Return a strategy that raises on a bar, counted from 1."""

    def decide(strategy: Any, bar: Any) -> None:
        strategy.seen = getattr(strategy, "seen", 0) + 1
        if strategy.seen == bar_number:
            # A new one each time: an exception that is kept keeps the frames that it went through.
            raise type(error)(*error.args)

    return deciding(decide)


def test_an_exception_in_the_strategy_fails_the_run(tmp_path: Path) -> None:
    """The traceback shows the user's own line."""
    path = tmp_path / "mine.py"
    path.write_text(
        textwrap.dedent("""\
            from ntrader.engine.strategies import LongFlatStrategy

            class Mine(LongFlatStrategy):
                def prepare(self):
                    self.bars = 0

                def on_bar(self, bar):
                    self.bars += 1
                    if self.bars == 100:
                        raise ValueError("cannot go on\\nreally")
            """)
    )

    failure = fail(find_strategy(f"{path}:Mine"), make_bars([100] * 150))

    assert failure.message == "ValueError: cannot go on"
    assert 'raise ValueError("cannot go on' in failure.traceback
    assert f'File "{path}", line 10' in failure.traceback
    assert failure.bars_done == 99


def test_bars_done_counts_beyond_the_first_chunk() -> None:
    count = runner.CHUNK_BARS + 10

    failure = fail(
        raise_on(count, ValueError("late")),
        make_bars([100] * (count + 5), timeframe="1m"),
        timeframe="1m",
    )

    assert failure.bars_done == count - 1


@pytest.mark.parametrize("code", [0, 3, "bye"])
def test_exit_in_the_strategy_fails_the_run(code: Any) -> None:
    failure = fail(raise_on(4, SystemExit(code)), make_bars(CLOSES))

    assert failure.message == f"The strategy called exit({code}) after 3 of 6 bars."


def test_an_exception_without_a_message_is_named() -> None:
    assert fail(raise_on(1, KeyError()), make_bars(CLOSES)).message == "KeyError"


def test_an_exception_in_prepare_fails_the_run() -> None:
    strategy = deciding(lambda strategy, bar: None)
    vars(strategy)["_class"].prepare = lambda self: 1 / 0

    failure = fail(strategy, make_bars(CLOSES))

    assert failure.message == "ZeroDivisionError: division by zero"
    assert failure.bars_done == 0


@pytest.mark.parametrize(
    ("opens", "changes"),
    [
        ([100, 100, 100, 100, 100], {"fill": "close", "fee": "0.01"}),
        ([100, 100, 110, 100, 110], {"fill": "next-open"}),
        ([100, 100, 100, 100, 100], {"fill": "close", "slippage": "0.01"}),
        ([100, 100, 100, 100, 100], {"fill": "next-open", "slippage": "0.01"}),
    ],
    ids=["fee", "gap up", "slippage", "slippage at the open"],
)
def test_an_entry_that_the_cash_does_not_pay_for_is_not_made(
    opens: list[int], changes: dict[str, Any]
) -> None:
    """As a broker would refuse it; the run goes on, and the strategy is still flat."""
    bars = make_bars([100, 100, 100, 100, 100], opens=opens)

    result = succeed(scripted([1, 3]), bars, equity_fraction=1, **changes)

    assert result.fills == ()
    assert len(result.equity) == 5
    assert result.warnings == (
        "2 entries came to nothing: at the price of the fill they cost more than the cash; "
        "a lower equity fraction leaves room for gaps and fees.",
    )


def test_the_next_entry_after_one_that_was_not_paid_for_is_made() -> None:
    bars = make_bars([100, 100, 100, 100, 100], opens=[100, 100, 110, 100, 100])

    result = succeed(scripted([1, 3]), bars, equity_fraction=1, fill="next-open")

    assert [(fill.time, fill.quantity) for fill in result.fills] == [
        (instant(bars.times[4]), Decimal(1_000))
    ]


def test_money_beyond_the_engine_fails_the_run_with_its_reason() -> None:
    failure = fail(scripted([1]), make_bars(CLOSES), initial_capital="99999999999999")

    assert "99,999,999,999,999 USD is more than the engine can hold" in failure.message


@BOTH_FILLS
def test_an_account_that_outgrows_the_engine_fails_the_run_with_its_reason(fill: str) -> None:
    """The engine would abort the process, and the run with it."""
    bars = make_bars([100, 100, 100, 300, 300])

    failure = fail(scripted([0], [3]), bars, fill=fill, initial_capital="9000000000000")

    assert "more than the engine can hold" in failure.message


def test_a_quantity_beyond_the_engine_fails_the_run_with_its_reason() -> None:
    tiny = crypto("TINY", price_precision=8)

    failure = fail(
        scripted([0]),
        make_bars(["0.00000001"] * 3, instrument=tiny),
        instrument=tiny,
        initial_capital="10000000",
    )

    assert "1000000000000000" in failure.message


def test_what_a_strategy_prints_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    succeed(deciding(lambda strategy, bar: print("close", bar.close)), make_bars([1, 2]))  # noqa: T201

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "close 1.00\nclose 2.00\n"


@pytest.mark.parametrize(
    "error", [None, ValueError(), KeyboardInterrupt(), SystemExit()], ids=lambda error: repr(error)
)
def test_the_engine_is_disposed_of_however_the_run_ends(
    error: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every run keeps what it loaded."""
    markets: list[Market] = []

    def watched(*arguments: Any, **options: Any) -> Market:
        markets.append(build_market(*arguments, **options))
        return markets[-1]

    monkeypatch.setattr(runner, "build_market", watched)

    backtest(scripted([1]) if error is None else raise_on(4, error), make_bars(CLOSES))

    assert [market.engine.kernel.data_engine.is_disposed for market in markets] == [True]


# Ctrl-C


NATIVE_IDLE = """\
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

class IdleConfig(StrategyConfig, frozen=True):
    pass

class Idle(Strategy):
    def __init__(self, config: IdleConfig) -> None:
        super().__init__(config)
"""


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_in_on_bar_fails_the_run() -> None:
    def decide(strategy: Any, bar: Any) -> None:
        if bar.close == 103:
            press_ctrl_c()

    failure = fail(deciding(decide), make_bars(CLOSES))

    assert failure.message == "Interrupted after 3 of 6 bars."
    assert failure.bars_done == 3


def test_ctrl_c_inside_an_event_loop_fails_the_run() -> None:
    """There a signal is only noted until the loop runs again."""

    def decide(strategy: Any, bar: Any) -> None:
        if bar.close == 103:
            press_ctrl_c()

    async def command() -> BacktestFailure:
        return fail(deciding(decide), make_bars(CLOSES))

    assert asyncio.run(command()).message == "Interrupted after 3 of 6 bars."


def test_ctrl_c_stops_a_strategy_that_has_no_python_in_its_bars(tmp_path: Path) -> None:
    """The signal is seen between two chunks at the latest."""
    path = tmp_path / "idle.py"
    path.write_text(NATIVE_IDLE)
    total = 40 * runner.CHUNK_BARS
    bars = make_bars([100] * total, timeframe="1m")

    def press_after_the_first_chunk(done: int, total: int) -> None:
        if done == runner.CHUNK_BARS:
            threading.Timer(0.01, press_ctrl_c).start()

    failure = fail(
        find_strategy(f"{path}:Idle"),
        bars,
        timeframe="1m",
        progress=press_after_the_first_chunk,
    )

    assert failure.message.startswith("Interrupted after ")
    assert runner.CHUNK_BARS <= failure.bars_done < total


def test_the_handler_of_ctrl_c_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    succeed(scripted([1]), make_bars(CLOSES))
    fail(raise_on(2, KeyboardInterrupt()), make_bars(CLOSES))

    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    """So run commands in the background of a shell script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        succeed(deciding(lambda strategy, bar: press_ctrl_c()), make_bars(CLOSES))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_outside_of_the_main_thread_works() -> None:
    outcomes: list[Any] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(backtest(scripted([1]), make_bars(CLOSES)))
    )
    thread.start()
    thread.join()

    assert isinstance(outcomes[0], EnhancedBacktestResult)


# Progress and chunks


def test_progress_is_told_after_each_chunk() -> None:
    told: list[tuple[int, int]] = []
    total = 2 * runner.CHUNK_BARS + 1

    succeed(
        scripted([]),
        make_bars([100] * total, timeframe="1m"),
        timeframe="1m",
        progress=lambda done, of: told.append((done, of)),
    )

    assert told == [(runner.CHUNK_BARS, total), (2 * runner.CHUNK_BARS, total), (total, total)]


@BOTH_FILLS
def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch, fill: str) -> None:
    """An order at the border of two chunks is filled on the first bar of the second."""
    bars = make_bars(CLOSES * 4, opens=OPENS * 4)
    strategy = scripted([1, 9, 17], [4, 12, 20])
    whole = succeed(strategy, bars, fill=fill, equity_fraction="0.5")

    for size in (1, 2, 5):
        monkeypatch.setattr(runner, "CHUNK_BARS", size)
        assert succeed(strategy, bars, fill=fill, equity_fraction="0.5").result_digest == (
            whole.result_digest
        )


# Determinism


def gambling(draw: Any) -> Any:
    """Return a strategy that trades by chance."""

    def decide(strategy: Any, bar: Any) -> None:
        if draw() < 0.5:
            strategy.enter()
        else:
            strategy.exit()

    return deciding(decide)


@pytest.mark.parametrize(
    "draw",
    [lambda: random.random(), lambda: np.random.random()],
    ids=["random", "numpy.random"],
)
def test_chance_comes_from_the_seed(draw: Any) -> None:
    bars = make_bars([100 + number % 7 for number in range(200)])

    digests = [
        succeed(gambling(draw), bars, seed=seed, equity_fraction="0.5").result_digest
        for seed in (0, 0, 1, 1)
    ]

    assert digests[0] == digests[1]
    assert digests[2] == digests[3]
    assert digests[0] != digests[2]


def test_a_second_run_in_one_process_gives_the_same_answer() -> None:
    bars = make_bars(CLOSES)
    first, second = (
        succeed(scripted([1], [3]), bars, fee="0.001", equity_fraction="0.9") for _ in range(2)
    )

    assert first.result_digest == second.result_digest
    assert first.metrics == second.metrics


def test_processes_with_other_hash_seeds_give_the_same_answer() -> None:
    program = textwrap.dedent("""\
        from support.trading import make_bars, succeed
        from ntrader.engine.strategies.registry import find_strategy
        closes = [100 + (number * 7919 % 101) / 10 for number in range(300)]
        result = succeed(find_strategy("sma"), make_bars(closes), equity_fraction="0.8",
                         fee="0.001", fill="next-open",
                         parameters={"fast_period": 3, "slow_period": 8})
        print(len(result.fills) > 10, result.result_digest)
        """)

    answers = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": str(Path(__file__).parents[1]),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(answers) == 1
    assert answers.pop().startswith("True ")
