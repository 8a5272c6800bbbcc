"""Every list against an oracle of its own: random questions to a store that is nasty on purpose.

A failure names the seed and the question's number; `Questions(Random(seed), ...)` asks it again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from ntrader.domain.expression_parser import parse_expression
from ntrader.domain.queries import Count, Cursor
from ntrader.domain.results import METRICS
from ntrader.domain.runs import BacktestRun
from ntrader.domain.summaries import StrategySummary
from ntrader.storage.database import Database
from ntrader.storage.store import Store
from support.commands import run_here
from support.database import Background, TestServer, execute
from support.list_oracle import listed, summed_up
from support.list_questions import Question, Questions, as_options
from support.listed_runs import METRIC_NAMES, ListedRun, make_runs, save_runs

RUNS = 400
FEW = 3
"""How many pages of a list are read in a row, where some from places further on must do."""


@dataclass(frozen=True)
class Listed:
    """A store that is only read, and what was saved there."""

    url: str
    store: Store
    runs: Sequence[ListedRun]
    texts_have_order: bool

    def questions(self, seed: int) -> Questions:
        return Questions(Random(seed), self.runs, texts_have_order=self.texts_have_order)


@contextmanager
def filled(
    postgres: TestServer, background: Background, seed: int, *, by_index: bool = False
) -> Iterator[Listed]:
    """Give a store of runs; with `by_index` the server takes indexes wherever it can."""
    runs = make_runs(Random(seed), RUNS)
    with postgres.migrated_database() as url:
        if by_index:
            name = urlsplit(url).path[1:]
            background.run(execute(url, f"ALTER DATABASE {name} SET enable_seqscan = off"))
        database = Database(url)
        store = Store.of(database)
        try:
            background.run(save_runs(store, runs))
            background.run(execute(url, "ANALYZE"))
            yield Listed(url, store, runs, background.run(orders_by_code_point(database)))
        finally:
            background.run(database.close())


async def orders_by_code_point(database: Database) -> bool:
    """Whether the server orders texts as Python does."""
    (row,) = await database.fetch(text("SELECT 'B' < 'a' AND '_' < 'a' AND 'a B' < 'aA'"))
    return bool(row[0])


@pytest.fixture(scope="module")
def saved(postgres: TestServer, background: Background) -> Iterator[Listed]:
    with filled(postgres, background, seed=0) as found:
        yield found


def test_the_oracle_knows_every_metric() -> None:
    assert METRIC_NAMES == METRICS


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_list_is_what_plain_python_finds_among_the_saved_runs(
    saved: Listed, background: Background, seed: int
) -> None:
    background.run(ask(saved, seed, count=70, pages=FEW))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_other_stores_list_what_plain_python_finds_by_index_or_without(
    postgres: TestServer, background: Background, seed: int
) -> None:
    with filled(postgres, background, seed, by_index=seed % 2 == 0) as other:
        background.run(ask(other, seed, count=250, pages=RUNS))


async def ask(saved: Listed, seed: int, *, count: int, pages: int) -> None:
    """Ask questions; the first whose answer is wrong is named."""
    questions, chance = saved.questions(seed), Random(seed)
    for number in range(count):
        question = questions.question()
        try:
            await check(saved, question, chance, pages)
        except Exception as error:
            error.add_note(f"seed {seed}, question {number}: {question}")
            raise


async def check(saved: Listed, question: Question, chance: Random, pages: int) -> None:
    expected = listed(saved.runs, question.wanted, question.by, ascending=question.ascending)
    if question.text is not None:
        expression = parse_expression(question.text)
        assert parse_expression(str(expression)) == expression
    await check_pages(saved.store, question, expected, chance, pages)
    cap = chance.choice((0, 1, max(len(expected) - 1, 0), len(expected), 1_000))
    assert await saved.store.runs.count(question.where, cap=cap) == Count(
        min(len(expected), cap), len(expected) > cap
    )
    summaries = await saved.store.runs.summaries(question.where)
    assert {each.strategy: figures(each) for each in summaries} == {
        strategy: {name: close(value) for name, value in told.items()}
        for strategy, told in summed_up(expected).items()
    }
    if saved.texts_have_order:
        names = [each.strategy for each in summaries]
        assert names == sorted(names)


async def check_pages(
    store: Store, question: Question, expected: Sequence[ListedRun], chance: Random, pages: int
) -> None:
    """Read pages of the list from its beginning on, and from a place in it to the end."""
    seen, after = 0, None
    for _ in range(pages):
        after = await check_page(store, question, expected, seen, question.limit, after)
        seen += question.limit
        if after is None:
            break
    if len(expected) > 1:
        place = chance.randrange(1, len(expected))
        after = await check_page(store, question, expected, 0, place, None)
        limit = chance.choice((1, question.limit, len(expected) - place))
        await check_page(store, question, expected, place, limit, after)


async def check_page(
    store: Store,
    question: Question,
    expected: Sequence[ListedRun],
    first: int,
    limit: int,
    after: Cursor | None,
) -> Cursor | None:
    """Read a page as a user does, with the cursor as text; return the next one's."""
    page = await store.runs.page(question.where, question.order, limit=limit, after=after)
    wanted = expected[first : first + limit]
    assert [run.run_id for run in page.items] == [run.run_id for run in wanted]
    assert [order_value(run, question.by) for run in page.items] == [
        as_read(run.columns.get(question.by)) for run in wanted
    ]
    assert (page.next is None) == (first + limit >= len(expected))
    return None if page.next is None else Cursor.decode(page.next.encode())


def order_value(run: BacktestRun, by: str) -> Any:
    value = run.created_at if by == "created_at" else getattr(run.metrics, by, None)
    return as_read(value)


def as_read(value: Any) -> Any:
    """Return a number as a float: most metrics are read as such."""
    return float(value) if isinstance(value, Decimal) else value


def figures(summary: StrategySummary) -> dict[str, Any]:
    metrics = {name: getattr(summary, name) for name in ("sharpe_ratio", "total_return")}
    return {
        "runs": summary.runs,
        "failed": summary.failed,
        "newest_at": summary.newest_at,
        **{name: [each.best, each.median, each.mean] for name, each in metrics.items()},
    }


def close(value: Any) -> Any:
    """Return what a figure may be: floats are added up in another order than decimals."""
    if not isinstance(value, list) or None in value:
        return value
    return pytest.approx(value, rel=1e-9, abs=1e-6)


def asked_by_options(saved: Listed, seed: int) -> tuple[Question, list[str], list[ListedRun]]:
    """Return a question that has options and finds a few pages of runs, and what it finds."""
    questions = saved.questions(seed)
    while True:
        question = questions.question()
        options = as_options(question)
        found = listed(saved.runs, question.wanted, question.by, ascending=question.ascending)
        if options is not None and 0 < len(found) <= 4 * question.limit:
            return question, options, found


@pytest.mark.parametrize("seed", range(20, 32))
def test_the_command_lists_what_plain_python_finds(
    saved: Listed,
    home: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seed: int,
) -> None:
    monkeypatch.setenv("DATABASE_URL", saved.url)
    question, options, expected = asked_by_options(saved, seed)
    shown: list[Any] = []
    after: list[str] = []
    while not shown or after:
        page = run_here(["history", *options, *after, "--json"], capsys)
        assert page.exit_code == 0, f"{question}: {page.stderr}"
        shown += page.json["runs"]
        after = ["--after", page.json["next"]] if page.json["next"] else []

    assert [run["run_id"] for run in shown] == [str(run.run_id) for run in expected], str(question)
    if question.by not in ("created_at", "max_drawdown_at"):
        values = [(run["metrics"] or {}).get(question.by) for run in shown]
        assert values == [as_read(run.columns.get(question.by)) for run in expected], str(question)
