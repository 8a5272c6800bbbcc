"""Which index serves each question, however many runs there are.

With a handful of rows PostgreSQL rightly reads tables from end to end; so that is forbidden here,
and what is left of such scans and of whole sorts shows where no index serves.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import Cursor, Page, RunFilter, RunOrder
from ntrader.domain.results import METRICS, Outcome
from ntrader.domain.runs import RunStatus
from ntrader.storage.database import Database
from ntrader.storage.queries import count_statement, page_statement
from ntrader.storage.store import Store
from support.database import Background, TestServer
from support.explaining import Explain
from support.outcomes import NOW, make_failure, make_result
from support.saving import save_many

EVERYTHING = RunFilter()
COUNTS = {"total_trades", "winning_trades", "losing_trades", "break_even_trades"}


def make_outcome(number: int) -> Outcome:
    about: dict[str, Any] = {
        "strategy": ("sma", "rsi")[number % 2],
        "symbol": f"S{number % 10}",
        "timeframe": "1m" if number % 50 == 0 else "1d",
        "started_at": NOW + timedelta(minutes=number),
        "parameters": {"fast_period": number % 25},
    }
    if number % 20 == 0:
        return make_failure(**about)
    return make_result(**about, **make_numbers(number))


def make_numbers(number: int) -> dict[str, Any]:
    """Return metrics that follow the number; every seventh run has none that may be undefined."""
    counted = {"total_trades": number, "winning_trades": number}
    value = None if number % 7 == 0 else number / 1_000
    known: dict[str, Any] = dict.fromkeys(set(METRICS) - COUNTS, value)
    if value is not None:
        known |= {"max_drawdown": -value, "avg_loss": -value}
        known["max_drawdown_at"] = NOW + timedelta(minutes=number)
    return {**dict.fromkeys(COUNTS, 0), **counted, **known}


@dataclass(frozen=True)
class Filled:
    """A store that the tests of this module only read."""

    store: Store
    run: Callable[..., Any]

    def plan(self, statement: Any) -> list[dict[str, Any]]:
        """Return the nodes of the statement's plan."""
        nodes: list[dict[str, Any]] = self.run(nodes_of(self.store, statement))
        return nodes

    def cursor(self, order: RunOrder, limit: int, filter_: RunFilter = EVERYTHING) -> Cursor | None:
        """Return the place after the first `limit` runs."""
        page: Page[Any] = self.run(self.store.runs.page(filter_, order, limit=limit))
        return page.next


@pytest.fixture(scope="module")
def filled(postgres: TestServer, background: Background) -> Iterator[Filled]:
    """Some runs, and what the planner knows of them."""
    with postgres.migrated_database() as url:
        database = Database(url)
        outcomes = map(make_outcome, range(500))
        background.run(save_many(Store.of(database), outcomes))
        yield Filled(Store.of(database), background.run)
        background.run(database.close())


async def nodes_of(store: Store, statement: Any) -> list[dict[str, Any]]:
    async with store.database.transaction() as transaction:
        await transaction.execute(text("SET LOCAL enable_seqscan = off"))
        found = await transaction.scalar(Explain(statement, "FORMAT JSON, COSTS OFF"))
    (plan,) = json.loads(found) if isinstance(found, str) else found
    return list(_walk(plan["Plan"]))


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _walk(child)


def indexes(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in nodes if "Index Name" in node}


def scanned(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the tables that are read from end to end, of those that grow with the runs."""
    return {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"} - {
        "datasets",
        "strategies",
    }


def sorted_tables(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the tables whose rows are sorted as they come from a scan."""
    return {
        child["Relation Name"]
        for node in nodes
        if node["Node Type"] in ("Sort", "Incremental Sort")
        for child in node["Plans"]
        if "Relation Name" in child
    }


def where(text: str) -> RunFilter:
    return RunFilter(expression=parse_expression(text))


BY_SHARPE = RunOrder("sharpe_ratio")
LISTS = [
    (RunFilter(), RunOrder(), "ix_backtest_runs_created_at_id"),
    (RunFilter(), RunOrder(ascending=True), "ix_backtest_runs_created_at_id"),
    (RunFilter(strategy="sma"), BY_SHARPE, "ix_performance_metrics_strategy_sharpe_ratio"),
    (RunFilter(symbol="S3"), RunOrder("cagr"), "ix_backtest_runs_symbol_failed"),
    (RunFilter(symbol="S3"), BY_SHARPE, "ix_performance_metrics_symbol_sharpe_ratio"),
    (RunFilter(status=RunStatus.FAILED), RunOrder("cagr"), "ix_backtest_runs_failed"),
    (RunFilter(parameters={"fast_period": 3}), RunOrder(), "ix_backtest_runs_parameters"),
    (where("parameters.fast_period = 3"), RunOrder(), "ix_backtest_runs_parameters"),
    (where("parameters.fast_period in (3, 4)"), RunOrder(), "ix_backtest_runs_parameters"),
    (where("sharpe_ratio > 0.499"), RunOrder(), "ix_performance_metrics_sharpe_ratio"),
    (RunFilter(strategy_id=UUID(int=1)), RunOrder(), "ix_backtest_runs_strategy_id_created_at_id"),
    (RunFilter(strategy_id=UUID(int=1)), BY_SHARPE, "ix_backtest_runs_strategy_id_created_at_id"),
    (RunFilter(tag="keep"), RunOrder(), "ix_run_tags_tag_run_created_at"),
    (RunFilter(tag="keep"), RunOrder(ascending=True), "ix_run_tags_tag_run_created_at"),
    (RunFilter(strategy_path="x.py:X"), RunOrder(), "ix_backtest_runs_strategy_path"),
    *(
        (RunFilter(), RunOrder(metric, ascending), f"ix_performance_metrics_{metric}")
        for metric in METRICS
        for ascending in (False, True)
    ),
]


@pytest.mark.parametrize(("filter_", "order", "index"), LISTS)
def test_a_list_is_read_from_its_index(
    filled: Filled, filter_: RunFilter, order: RunOrder, index: str
) -> None:
    nodes = filled.plan(page_statement(filter_, order, limit=20, after=None))
    assert index in indexes(nodes)
    assert scanned(nodes) == set()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ascending", [False, True])
def test_a_ranking_stops_at_its_limit_instead_of_sorting_all_runs(
    filled: Filled, metric: str, ascending: bool
) -> None:
    """Read backwards, the index has ties in the other order; half of all runs may be equal."""
    order = RunOrder(metric, ascending)
    cursor = filled.cursor(order, 20)
    for after in (None, cursor):
        nodes = filled.plan(page_statement(RunFilter(), order, limit=20, after=after))
        assert "performance_metrics" not in sorted_tables(nodes)


@pytest.mark.parametrize("order", [RunOrder(), RunOrder(ascending=True), BY_SHARPE])
def test_a_deep_page_begins_at_its_place_in_the_index(filled: Filled, order: RunOrder) -> None:
    cursor = filled.cursor(order, 200)
    assert cursor is not None
    assert Cursor.decode(cursor.encode()) == cursor
    nodes = filled.plan(page_statement(RunFilter(), order, limit=20, after=cursor))
    begun = [node["Index Cond"] for node in nodes if "Index Cond" in node]
    assert any("created_at" in condition or "sharpe_ratio" in condition for condition in begun)
    assert scanned(nodes) == set()


@pytest.mark.parametrize("ascending", [False, True])
def test_a_deep_page_of_a_tag_begins_at_its_place_in_the_tags(
    filled: Filled, ascending: bool
) -> None:
    order, filter_ = RunOrder(ascending=ascending), RunFilter(tag="keep")
    after = Cursor(Cursor.scope_of(filter_, order), NOW.isoformat(), 100)
    nodes = filled.plan(page_statement(filter_, order, limit=20, after=after))
    (tags,) = (n for n in nodes if n.get("Index Name") == "ix_run_tags_tag_run_created_at")
    assert "run_created_at" in tags["Index Cond"]


@pytest.mark.parametrize("text", ["status = 'failed'", "status in ('failed')", "error = 'x'"])
def test_failed_runs_are_not_looked_for_in_a_ranking(filled: Filled, text: str) -> None:
    """They have no metrics; the planner expects some and would read all runs that do."""
    nodes = filled.plan(page_statement(where(text), BY_SHARPE, limit=20, after=None))
    # Once: for the metrics of the runs that are shown.
    assert [node.get("Relation Name") for node in nodes].count("performance_metrics") == 1


def test_a_deep_page_of_equal_runs_skips_the_newer_ones_in_both_tables(filled: Filled) -> None:
    """A join of the two would else read the runs from the newest on: 2 s at a million."""
    order, filter_ = RunOrder("break_even_trades", ascending=True), RunFilter(timeframe="1d")
    after = filled.cursor(order, 200, filter_)
    nodes = filled.plan(page_statement(filter_, order, limit=20, after=after))
    told = [
        str(node.get("Index Cond")) + str(node.get("Filter"))
        for node in nodes
        if node.get("Relation Name") == "backtest_runs"
    ]
    assert any("id < " in conditions for conditions in told)


def test_the_ends_of_a_list_are_not_looked_for_where_it_has_none(filled: Filled) -> None:
    """No run has a higher value than the cursor: all runs of the filter would be read for it."""
    order, filter_ = RunOrder("break_even_trades", ascending=True), RunFilter(timeframe="1d")
    after = filled.cursor(order, 200, filter_)
    nodes = filled.plan(page_statement(filter_, order, limit=20, after=after))
    assert any("IS NOT NULL" in node.get("One-Time Filter", "") for node in nodes)


def test_a_window_of_time_is_found_in_the_metrics_themselves(filled: Filled) -> None:
    """Walking the ranking until 20 runs of that week came by would read nearly all of it."""
    window = RunFilter(since=NOW, until=NOW + timedelta(minutes=5))
    nodes = filled.plan(page_statement(window, BY_SHARPE, limit=20, after=None))
    assert "ix_performance_metrics_created_at" in indexes(nodes)


def test_counting_stops_at_the_cap(filled: Filled) -> None:
    nodes = filled.plan(count_statement(RunFilter(strategy="sma"), cap=10))
    assert any(node["Node Type"] == "Limit" for node in nodes)
    assert scanned(nodes) == set()


def test_deleting_a_run_looks_up_each_reference_in_an_index(filled: Filled) -> None:
    """A foreign key without an index would read a whole table for each run that goes."""
    unindexed = filled.run(
        filled.store.database.fetch(
            text(
                """
            SELECT conrelid::regclass::text AS referring, conname FROM pg_constraint
            WHERE contype = 'f' AND confrelid = 'backtest_runs'::regclass AND NOT EXISTS (
                SELECT FROM pg_index
                WHERE indrelid = conrelid AND indkey[0] = ANY (conkey)
            )
            """
            )
        )
    )
    assert unindexed == []


def test_statements_are_planned_for_their_values(filled: Filled) -> None:
    """One plan for all values once made a filter on parameters take seconds."""
    (setting,) = filled.run(filled.store.database.fetch(text("SHOW plan_cache_mode")))
    assert setting[0] == "force_custom_plan"
