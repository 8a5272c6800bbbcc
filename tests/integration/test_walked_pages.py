"""A page has the same runs whichever way it is found, and a walk ends where it should."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import CompoundSelect, Select, text

from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import Cursor, RunFilter, RunOrder
from ntrader.domain.results import Outcome
from ntrader.domain.runs import RunStatus
from ntrader.storage.database import Database
from ntrader.storage.pages import Pages
from ntrader.storage.plans import Expected
from ntrader.storage.queries import gathered_statement, page_statement, weighing_statement
from ntrader.storage.store import Store
from ntrader.storage.ways import is_at_hand
from support.database import Background, TestServer
from support.explaining import Explain
from support.outcomes import NOW, make_failure, make_result
from support.saving import save_many

RUNS = 600
LIMIT = 20
ORDERS = [
    RunOrder(by, ascending)
    for by in ("created_at", "sortino_ratio", "win_rate", "total_trades")
    for ascending in (False, True)
]


def where(expression: str) -> RunFilter:
    return RunFilter(expression=parse_expression(expression))


FILTERS = [
    RunFilter(strategy="poor"),
    RunFilter(symbol="IBM", timeframe="1d"),
    RunFilter(strategy="good", status=RunStatus.SUCCESS),
    RunFilter(status=RunStatus.FAILED),
    RunFilter(since=NOW + timedelta(minutes=50), timeframe="1h"),
    RunFilter(parameters={"fast_period": 3}),
    RunFilter(parameters={"fast_period": 3}, strategy="good"),
    where("sortino_ratio is null"),
    where("sortino_ratio > 0.1 and parameters.fast_period in (1, 2, 3)"),
    where("status = 'failed' or win_rate = 0"),
    where("strategy = 'none'"),
]


def make_outcome(number: int) -> Outcome:
    """Return a run of a strategy that has the lowest ratios, or of one that has the others."""
    poor = number % 4 == 0
    about: dict[str, Any] = {
        "strategy": "poor" if poor else "good",
        "symbol": ("IBM", "GOOG", "MSFT")[number % 3],
        "timeframe": "1h" if number % 5 == 0 else "1d",
        # Three runs begin at one instant.
        "started_at": NOW + timedelta(minutes=number // 3),
        "parameters": {"fast_period": number % 7},
    }
    if number % 10 == 0:
        return make_failure(**about)
    trades = number % 9
    return make_result(
        **about,
        sortino_ratio=None if number % 11 == 0 else number / 1_000 - poor,
        win_rate=0.0 if number % 2 else None,
        total_trades=trades,
        winning_trades=trades,
        losing_trades=0,
        break_even_trades=0,
    )


@dataclass(frozen=True)
class Filled:
    """A store that the tests of this module only read."""

    url: str
    database: Database
    run: Callable[..., Any]

    def ids(self, statement: Select[Any]) -> list[int]:
        return [row["id"] for row in self.run(self.database.read(statement))]


@pytest.fixture(scope="module")
def filled(postgres: TestServer, background: Background) -> Iterator[Filled]:
    with postgres.migrated_database() as url:
        database = Database(url)
        outcomes = map(make_outcome, range(RUNS))
        background.run(save_many(Store.of(database), outcomes))
        yield Filled(url, database, background.run)
        background.run(database.close())


def cursors(filled: Filled, filter_: RunFilter, order: RunOrder) -> Iterator[Cursor | None]:
    """Give the beginning of a list, and the places after its first pages."""
    after: Cursor | None = None
    for _ in range(3):
        yield after
        page = filled.run(Store.of(filled.database).runs.page(filter_, order, limit=7, after=after))
        after = page.next
        if after is None:
            return


@pytest.mark.parametrize("filter_", FILTERS, ids=RunFilter.canonical)
def test_a_page_has_the_same_runs_whichever_way_it_is_found(
    filled: Filled, filter_: RunFilter
) -> None:
    for order in ORDERS:
        for after in cursors(filled, filter_, order):
            whole = filled.ids(page_statement(filter_, order, limit=LIMIT, after=after))
            assert (
                filled.ids(gathered_statement(filter_, order, limit=LIMIT, after=after)) == whole
            ), order
            if is_at_hand(filter_, order, after):
                continue
            for steps in (40, 300):
                walk = page_statement(filter_, order, limit=LIMIT, after=after, steps=steps)
                found = filled.ids(walk)
                assert len(found) < LIMIT or found == whole, (order, steps)


def test_a_walk_reads_no_more_runs_than_it_has_steps(filled: Filled) -> None:
    """All runs of the strategy are the last: without an end it would read every other one."""
    poor, order = RunFilter(strategy="poor"), RunOrder("sortino_ratio")
    walk = page_statement(poor, order, limit=LIMIT, after=None, steps=50)

    async def plan() -> dict[str, Any]:
        async with filled.database.transaction() as transaction:
            for other in ("seqscan", "bitmapscan", "sort"):
                await transaction.execute(text(f"SET LOCAL enable_{other} = off"))
            options = "ANALYZE, TIMING OFF, BUFFERS OFF, FORMAT JSON"
            found = await transaction.scalar(Explain(walk, options))
        (plan,) = json.loads(found) if isinstance(found, str) else found
        return dict(plan["Plan"])

    ranked = [
        node
        for node in nodes_of(filled.run(plan()))
        if node.get("Index Name") == "ix_performance_metrics_sortino_ratio"
    ]
    read = [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in ranked]
    assert 1 < max(read) <= 51


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


@dataclass
class Mistaken:
    """A database whose planner says what it is told to."""

    database: Database
    says: Sequence[Expected]
    asked: int = 0

    async def expected(self, _statement: CompoundSelect[Any]) -> Sequence[Expected]:
        return self.says

    async def read(self, statement: Select[Any]) -> Sequence[Any]:
        self.asked += 1
        return await self.database.read(statement)


@pytest.mark.parametrize(
    ("matching", "asked"),
    [
        pytest.param(Expected(1, 10), 1, id="gathered at once"),
        pytest.param(Expected(RUNS, 100), 2, id="walked in vain, gathered"),
        pytest.param(Expected(RUNS, 2_000), 3, id="walked in vain, further, gathered"),
        pytest.param(Expected(RUNS, 8 * 430), 2, id="walked in vain, then far enough"),
    ],
)
def test_a_page_is_right_whatever_the_planner_expects(
    filled: Filled, matching: Expected, asked: int
) -> None:
    poor, order = RunFilter(strategy="poor"), RunOrder("sortino_ratio")
    mistaken = Mistaken(filled.database, [Expected(RUNS, 1), Expected(1, 8), matching])
    rows = filled.run(Pages(mistaken).rows(poor, order, limit=LIMIT))

    whole = page_statement(poor, order, limit=LIMIT, after=None)
    assert [row["id"] for row in rows] == filled.ids(whole)
    assert len(rows) == LIMIT
    assert mistaken.asked == asked


def test_the_planner_tells_how_many_runs_match_and_what_they_cost(filled: Filled) -> None:
    order = RunOrder("sortino_ratio")
    poor = weighing_statement(RunFilter(strategy="poor", timeframe="1d"), order)
    every, one, matching = filled.run(filled.database.expected(poor))

    assert every.rows == pytest.approx(RUNS * 0.9, rel=0.1)
    assert one.rows == 1
    assert 0 < matching.rows < every.rows / 2
    assert one.cost < matching.cost


def test_the_planner_leaves_out_what_cannot_match(filled: Filled) -> None:
    order = RunOrder("sortino_ratio")
    failed = weighing_statement(where("status = 'failed'"), order)

    assert len(filled.run(filled.database.expected(failed))) == 1


PARALLEL = (
    "max_parallel_workers_per_gather=4&parallel_setup_cost=0&parallel_tuple_cost=0"
    "&min_parallel_table_scan_size=0&min_parallel_index_scan_size=0"
)


def test_the_planner_tells_the_parts_apart_on_a_server_with_parallel_workers(
    filled: Filled,
) -> None:
    """They would share the parts in another order: every run would seem to match."""
    question = weighing_statement(RunFilter(timeframe="1h"), RunOrder("sortino_ratio"))

    async def expected() -> Sequence[Expected]:
        async with Database.open(f"{filled.url}&{PARALLEL}") as database:
            (setting,) = await database.fetch(text("SHOW max_parallel_workers_per_gather"))
            assert setting[0] == "4"
            return await database.expected(question)

    assert filled.run(expected()) == filled.run(filled.database.expected(question))


@pytest.mark.parametrize("ascending", [False, True])
def test_a_walk_through_a_window_of_time_begins_in_it(filled: Filled, ascending: bool) -> None:
    window = RunFilter(
        since=NOW + timedelta(minutes=80), until=NOW + timedelta(minutes=120), timeframe="1d"
    )
    order = RunOrder(ascending=ascending)
    whole = filled.ids(page_statement(window, order, limit=LIMIT, after=None))
    walk = page_statement(window, order, limit=LIMIT, after=None, steps=40)

    assert len(whole) == LIMIT
    assert filled.ids(walk) == whole
