"""How far to walk along an order before the matches are gathered instead."""

import pytest

from ntrader.domain.queries import Cursor, RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.storage.plans import Expected, expected_of_parts
from ntrader.storage.ways import is_at_hand, walks

# What the planner said of a million runs.
EVERY = Expected(rows=951_010, cost=28_922)
ONE = Expected(rows=1, cost=8.44)
BY_SORTINO, BY_SHARPE = RunOrder("sortino_ratio"), RunOrder("sharpe_ratio")


@pytest.mark.parametrize(
    ("rows", "cost"),
    [(159, 606), (2_441, 7_284), (1, 12)],
    ids=["a rare strategy", "a rare symbol", "nearly nothing"],
)
def test_few_matches_are_gathered_at_once(rows: float, cost: float) -> None:
    assert walks((EVERY, ONE, Expected(rows, cost)), 21) == ()


def test_what_cannot_match_is_gathered() -> None:
    assert walks((EVERY,), 21) == ()
    assert walks((EVERY, ONE), 21) == ()


def test_a_server_to_which_nothing_costs_anything_gathers() -> None:
    assert walks((Expected(951_010, 0), Expected(1, 0), Expected(333_075, 0)), 21) == ()


def test_many_matches_are_walked_as_far_as_gathering_would_cost() -> None:
    first, most = walks((EVERY, ONE, Expected(rows=333_075, cost=36_915)), 21)

    assert first == 240, "four times as many as it takes if they are spread evenly"
    assert most * ONE.cost <= 36_915 < (most + 1) * ONE.cost


def test_what_a_walk_does_once_does_not_count_for_each_run() -> None:
    tags = 200.0
    once = Expected(rows=1, cost=tags + ONE.cost, startup=tags)

    _, most = walks((EVERY, once, Expected(rows=333_075, cost=tags + 36_915)), 21)

    assert most == int(36_915 / ONE.cost)


def test_a_walk_that_may_be_too_short_is_tried_once() -> None:
    assert walks((EVERY, ONE, Expected(rows=8_228, cost=17_261)), 21) == (2_045,)


def test_a_union_of_which_one_part_is_left_is_that_part() -> None:
    plan = {"Node Type": "Seq Scan", "Plan Rows": 3, "Startup Cost": 0.5, "Total Cost": 1.5}

    assert expected_of_parts(plan) == (Expected(3, 1.5, 0.5),)


@pytest.mark.parametrize(
    ("where", "order"),
    [
        (RunFilter(), BY_SORTINO),
        (RunFilter(), RunOrder()),
        (RunFilter(status=RunStatus.SUCCESS), BY_SORTINO),
        (RunFilter(status=RunStatus.FAILED, timeframe="1d"), BY_SORTINO),
        (RunFilter(strategy="sma"), BY_SHARPE),
        (RunFilter(symbol="IBM"), BY_SHARPE),
        (RunFilter(symbol="IBM"), RunOrder()),
        (RunFilter(status=RunStatus.FAILED), RunOrder()),
        (RunFilter(tag="keep", timeframe="1d"), RunOrder()),
    ],
)
def test_what_an_index_has_in_order_is_not_weighed(where: RunFilter, order: RunOrder) -> None:
    assert is_at_hand(where, order, None)


@pytest.mark.parametrize(
    ("where", "order"),
    [
        (RunFilter(strategy="sma"), BY_SORTINO),
        (RunFilter(symbol="IBM"), RunOrder("total_return")),
        (RunFilter(strategy="sma", symbol="IBM"), BY_SHARPE),
        (RunFilter(strategy="sma", symbol="IBM"), RunOrder()),
        (RunFilter(status=RunStatus.FAILED, timeframe="1d"), RunOrder()),
        (RunFilter(parameters={"fast_period": 10}), RunOrder()),
        (RunFilter(tag="keep"), BY_SHARPE),
    ],
)
def test_what_no_index_has_in_order_is_weighed(where: RunFilter, order: RunOrder) -> None:
    assert not is_at_hand(where, order, None)
    after = Cursor(Cursor.scope_of(where, order), None, 1)
    assert is_at_hand(where, order, after), "undefined values are in the order of ids"
