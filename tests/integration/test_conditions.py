"""Expressions, asked of runs in the store."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ntrader.domain.annotations import Annotations
from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.expressions import FIELDS
from ntrader.domain.queries import Count, Cursor, RunFilter, RunOrder
from ntrader.domain.runs import RunStatus
from ntrader.errors import CursorMismatchError
from ntrader.storage.database import Database
from ntrader.storage.store import Store
from support.database import Background, TestServer
from support.outcomes import NOW
from support.saving import Saver

ORDERS = (
    RunOrder(),
    RunOrder("sharpe_ratio"),
    RunOrder("sharpe_ratio", ascending=True),
    # Without an index.
    RunOrder("total_trades"),
)


@dataclass(frozen=True)
class Filled:
    """A store that the tests of this module only read, and the names of its runs."""

    store: Store
    names: dict[UUID, str]
    run: Callable[..., Any]

    def found(self, where: RunFilter, order: RunOrder) -> list[str]:
        """Walk all pages of two."""
        seen: list[UUID] = []
        cursor: Cursor | None = None
        while True:
            page = self.run(self.store.runs.page(where, order, limit=2, after=cursor))
            seen += [run.run_id for run in page.items]
            if page.next is None:
                return [self.names[run] for run in seen]
            cursor = Cursor.decode(page.next.encode())


@pytest.fixture(scope="module")
def filled(postgres: TestServer, background: Background) -> Iterator[Filled]:
    """Runs whose parameters have every type."""
    with postgres.migrated_database() as url:
        database = Database(url)
        saved = background.run(save_runs(Saver(database)))
        names = {run: name for name, run in saved.items()}
        yield Filled(Store.of(database), names, background.run)
        background.run(database.close())


async def save_runs(saver: Saver) -> dict[str, UUID]:
    return {
        "plain": await saver.save_new(
            strategy="sma", sharpe_ratio=1.5, parameters={"fast_period": 10, "slow_period": 20}
        ),
        "text": await saver.save_new(
            strategy="own",
            sharpe_ratio=0.5,
            parameters={
                "fast_period": "ten",
                "when": "2020-02-30",
                "large": "9" * 200,
                "on": "true",
                "size": "10",
            },
            annotations=Annotations(tags=("keep", "old"), note="look"),
            started_at=NOW + timedelta(days=1),
        ),
        "truth": await saver.save_new(
            strategy="own",
            symbol="GOOG",
            sharpe_ratio=None,
            parameters={
                "fast_period": True,
                "when": "2020-02-03T00:00:00Z",
                "on": True,
                "size": 10,
            },
            annotations=Annotations(tags=("keep",)),
        ),
        "float": await saver.save_new(
            strategy="own", sharpe_ratio=-0.25, parameters={"fast_period": 10.5, "when": "now"}
        ),
        "failed": await saver.save_new(
            strategy="sma", failed=True, parameters={"fast_period": 10, "when": "NaN"}
        ),
    }


CASES = [
    ("sharpe_ratio > 0", ["plain", "text"]),
    ("sharpe_ratio >= 150%", ["plain"]),
    ("not sharpe_ratio > 0", ["float"]),
    ("sharpe_ratio is null", ["truth", "failed"]),
    ("sharpe_ratio is not null and strategy = own", ["text", "float"]),
    ("sharpe_ratio in (1.5, -0.25)", ["plain", "float"]),
    ("sharpe_ratio > 0 or status = failed", ["plain", "text", "failed"]),
    ("not (status = failed) and strategy = sma_crossover", ["plain"]),
    ("status != failed and symbol = GOOG", ["truth"]),
    ("total_trades = 6", ["plain", "text", "truth", "float"]),
    ("total_trades > 5.5 and win_rate = 50%", ["plain", "text", "truth", "float"]),
    ("parameters.fast_period = 10", ["plain", "failed"]),
    ("parameters.fast_period = 10.5", ["float"]),
    ("parameters.fast_period != 10", ["float"]),
    ("not parameters.fast_period = 10", ["float"]),
    ("parameters.fast_period > 9", ["plain", "float", "failed"]),
    ("parameters.fast_period in (10, 'ten')", ["plain", "failed", "text"]),
    ("parameters.fast_period = 'ten'", ["text"]),
    ("parameters.fast_period = true", ["truth"]),
    ("parameters.on = true", ["truth"]),
    ("parameters.on = 'true'", ["text"]),
    ("parameters.large > 1", ["text"]),
    # A parameter keeps its type where it is looked up, within `not` as outside of it.
    ("parameters.size = 10", ["truth"]),
    ("not parameters.size != 10", ["truth"]),
    ("parameters.size != 11", ["truth"]),
    ("parameters.size = '10'", ["text"]),
    ("parameters.size >= 10", ["text", "truth"]),
    ("parameters.fast_period = 10.50000000000000000001", []),
    ("parameters.when > 2020-01-01", ["truth"]),
    ("parameters.when > 1", []),
    ("parameters.when = 'now'", ["float"]),
    ("parameters.when is null", ["plain"]),
    ("parameters.nothing is not null", []),
    ("config.fee = 0.1%", ["plain", "text", "truth", "float", "failed"]),
    ("config.initial_capital < 100000", []),
    ("config.instrument.venue = NYSE and config.seed = 1 and symbol = GOOG", ["truth"]),
    ("config.instrument.base_currency is null and symbol = GOOG", ["truth"]),
    ("config.instrument > 1", []),
    ("metadata.environment.python = '3.13.1' and symbol = GOOG", ["truth"]),
    ("tag = keep", ["text", "truth"]),
    ("tag != keep", ["plain", "float", "failed"]),
    ("tag in (old, new)", ["text"]),
    ("tag not in (old, new) and tag is not null", ["truth"]),
    ("tag is null", ["plain", "float", "failed"]),
    ("note = look", ["text"]),
    ("note is null and tag = keep", ["truth"]),
    ("created_at > 2026-03-03", ["text"]),
    ("start = 2012-01-03 and end > 2012-06-01 and symbol = GOOG", ["truth"]),
    ("max_drawdown_at > 2012-06-01 and max_drawdown > -10% and symbol = GOOG", ["truth"]),
    ("error = 'ValueError: bar 100'", ["failed"]),
    ("duration_seconds < 1", ["failed"]),
    ("mode = backtest and status = failed", ["failed"]),
    ("reproduced_from = 00000000-0000-0000-0000-000000000000", []),
    ("strategy = 'x'' OR true --'", []),
    ("initial_capital >= 100_000 and type = trend_following", ["plain", "failed"]),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_an_expression_finds_the_runs_that_it_means_in_every_order(
    filled: Filled, text: str, expected: Sequence[str]
) -> None:
    where = RunFilter(expression=parse_expression(text))
    for order in ORDERS:
        assert sorted(filled.found(where, order)) == sorted(expected), order
    assert filled.run(filled.store.runs.count(where)) == Count(len(expected), capped=False)
    summaries = filled.run(filled.store.runs.summaries(where))
    assert sum(summary.runs for summary in summaries) == len(expected)


@pytest.mark.parametrize("name", FIELDS)
def test_what_every_field_holds_is_there_or_is_not(filled: Filled, name: str) -> None:
    present = RunFilter(expression=parse_expression(f"{name} is not null"))
    absent = RunFilter(expression=parse_expression(f"{name} is null"))
    for order in ORDERS[:2]:
        found = [*filled.found(present, order), *filled.found(absent, order)]
        assert sorted(found) == sorted(filled.names.values())


def test_an_expression_and_a_filter_must_both_hold(filled: Filled) -> None:
    where = RunFilter(
        strategy="own",
        status=RunStatus.SUCCESS,
        since=datetime(2026, 3, 3, tzinfo=UTC),
        expression=parse_expression("tag = keep"),
    )
    for order in ORDERS:
        assert filled.found(where, order) == ["text"]


def test_a_cursor_is_refused_with_another_expression(filled: Filled) -> None:
    where = RunFilter(expression=parse_expression("config.seed = 1"))
    cursor = filled.run(filled.store.runs.page(where, RunOrder(), limit=2)).next
    other = RunFilter(expression=parse_expression("config.seed = 2"))
    with pytest.raises(CursorMismatchError):
        filled.run(filled.store.runs.page(other, RunOrder(), limit=2, after=cursor))
