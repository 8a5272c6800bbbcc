"""Finding runs, datasets and strategies again."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from ntrader.domain.annotations import Annotations
from ntrader.domain.identity import sha256_text
from ntrader.domain.queries import ORDERS, Count, Cursor, RunFilter, RunOrder
from ntrader.domain.runs import BacktestRun, RunStatus
from ntrader.domain.sources import StrategySource
from ntrader.domain.timeframes import Timeframe
from ntrader.errors import (
    AmbiguousReferenceError,
    ConflictError,
    CursorMismatchError,
    DamagedError,
    NotFoundError,
    UsageError,
)
from ntrader.storage.store import Store
from ntrader.storage.tables import sources_table
from support.outcomes import (
    NOW,
    make_artifact,
    make_dataset,
    make_events,
    make_failure,
    make_instrument,
    make_result,
    make_spec,
)
from support.saving import Saver, SaveRun

EVERYTHING = RunFilter()
NEWEST_FIRST = RunOrder()


def later(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


async def ids(
    store: Store, where: RunFilter = EVERYTHING, order: RunOrder = NEWEST_FIRST, limit: int = 100
) -> list[UUID]:
    page = await store.runs.page(where, order, limit=limit)
    return [run.run_id for run in page.items]


async def walk(store: Store, where: RunFilter, order: RunOrder, limit: int) -> list[int]:
    """Follow the cursor to the end, as text, as a user would."""
    seen: list[int] = []
    cursor: Cursor | None = None
    while True:
        page = await store.runs.page(where, order, limit=limit, after=cursor)
        seen += [run.id for run in page.items]
        if page.next is None:
            return seen
        assert len(page.items) == limit
        assert len(seen) == len(set(seen)), "a run came twice"
        cursor = Cursor.decode(page.next.encode())


def expected_order(runs: Sequence[BacktestRun], order: RunOrder) -> list[int]:
    """Sort as the documentation says: undefined last, the newer run first among equals."""

    def value(run: BacktestRun) -> Any:
        if order.by == "created_at":
            return run.created_at
        return None if run.metrics is None else getattr(run.metrics, order.by)

    newest_first = sorted(runs, key=lambda run: run.id, reverse=True)
    defined = [run for run in newest_first if value(run) is not None]
    defined.sort(key=value, reverse=not order.ascending)
    return [run.id for run in (*defined, *(r for r in newest_first if value(r) is None))]


async def save_varied_runs(store: Store, count: int) -> None:
    """Save runs of one instant: many ties, many undefined metrics, some failures."""
    chance = random.Random(7)
    saver = Saver(store.database)
    ratios = ("total_return", "cagr", "sharpe_ratio", "sortino_ratio", "calmar_ratio")
    for number in range(count):
        shared: dict[str, Any] = {
            "strategy": chance.choice(["sma", "rsi"]),
            "symbol": chance.choice(["IBM", "GOOG"]),
        }
        if number % 10 == 0:
            await saver.save(make_failure(**shared))
            continue
        winning, losing = chance.randrange(3), chance.randrange(3)
        fraction = chance.choice([None, 0.0, 0.25, 1.0])
        metrics = {name: chance.choice([None, -1.5, 0.1, 0.1 + 1e-8, 2.0]) for name in ratios}
        outcome = make_result(
            **shared,
            **metrics,
            final_balance=Decimal(chance.randrange(5)) + Decimal("0.0001"),
            max_drawdown=None if fraction is None else -fraction,
            max_drawdown_at=None if fraction is None else later(int(fraction * 4)),
            volatility=fraction,
            win_rate=fraction,
            exposure=fraction,
            profit_factor=chance.choice([None, 1.0, 2.0]),
            expectancy=chance.choice([None, Decimal("-1.5"), Decimal("0.0001")]),
            avg_win=chance.choice([None, Decimal(0), Decimal(3)]),
            avg_loss=chance.choice([None, Decimal(0), Decimal(-3)]),
            total_fees=Decimal(chance.randrange(3)),
            winning_trades=winning,
            losing_trades=losing,
            break_even_trades=1,
            total_trades=winning + losing + 1,
        )
        await saver.save(outcome)


async def test_walking_the_cursor_visits_each_run_once_in_every_order(
    store: Store,
) -> None:
    await save_varied_runs(store, 300)
    runs = (await store.runs.page(EVERYTHING, NEWEST_FIRST, limit=1_000)).items
    assert len(runs) == 300
    for by in ORDERS:
        for order in (RunOrder(by), RunOrder(by, ascending=True)):
            assert await walk(store, EVERYTHING, order, 51) == expected_order(runs, order), order


async def test_walking_in_small_steps_crosses_from_defined_to_undefined(store: Store) -> None:
    await save_varied_runs(store, 40)
    runs = (await store.runs.page(EVERYTHING, NEWEST_FIRST, limit=100)).items
    for limit in (1, 2, 3, 39, 40, 41):
        for order in (RunOrder("sharpe_ratio"), RunOrder("sharpe_ratio", ascending=True)):
            assert await walk(store, EVERYTHING, order, limit) == expected_order(runs, order)


@pytest.mark.parametrize(
    "where",
    [
        RunFilter(strategy="sma"),
        RunFilter(symbol="GOOG"),
        RunFilter(strategy="rsi", symbol="IBM", status=RunStatus.SUCCESS),
        RunFilter(status=RunStatus.FAILED),
        RunFilter(strategy_type="mean_reversion", since=NOW, until=later(1)),
        RunFilter(strategy="momentum"),
    ],
    ids=RunFilter.canonical,
)
async def test_filters_hold_in_every_order(store: Store, where: RunFilter) -> None:
    await save_varied_runs(store, 60)

    def matches(run: BacktestRun) -> bool:
        return (
            where.strategy in (None, run.strategy_name)
            and where.strategy_type in (None, run.strategy_type)
            and where.symbol in (None, run.symbol)
            and where.status in (None, run.status)
        )

    everything = (await store.runs.page(EVERYTHING, NEWEST_FIRST, limit=100)).items
    wanted = [run for run in everything if matches(run)]
    assert len(wanted) < len(everything)
    for order in (NEWEST_FIRST, RunOrder("cagr"), RunOrder("total_trades", ascending=True)):
        assert await walk(store, where, order, 7) == expected_order(wanted, order)
    assert await store.runs.count(where) == Count(len(wanted), False)


async def test_the_limit_counts_matches_not_runs_read(store: Store, save_run: SaveRun) -> None:
    wanted = save_run(strategy="momentum")
    for _ in range(3):
        save_run(strategy="sma")
    assert await ids(store, RunFilter(strategy="momentum"), limit=1) == [wanted]


async def test_since_is_inclusive_and_until_exclusive(store: Store, save_run: SaveRun) -> None:
    runs = [save_run(started_at=later(minute)) for minute in range(4)]
    where = RunFilter(since=later(1), until=later(3))
    assert await ids(store, where) == [runs[2], runs[1]]
    assert await ids(store, where, RunOrder("cagr")) == [runs[2], runs[1]]


async def test_filter_by_timeframe_and_fingerprint(store: Store, save_run: SaveRun) -> None:
    daily, hourly = save_run(), save_run(timeframe="1h")
    assert await ids(store, RunFilter(timeframe="1h")) == [hourly]
    fingerprint = (await store.runs.get(daily)).fingerprint
    assert await ids(store, RunFilter(fingerprint=fingerprint)) == [daily]


@pytest.mark.parametrize("order", [NEWEST_FIRST, RunOrder("sharpe_ratio")], ids=str)
@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"fast_period": 10}, {"int", "both"}),
        ({"fast_period": 10.0}, {"int", "both"}),
        ({"fast_period": "10"}, {"text"}),
        ({"fast_period": 10, "slow_period": 50}, {"both"}),
        ({"slow_period": 10}, set()),
        ({"flag": True}, {"flag"}),
        ({"flag": 1}, set()),
    ],
)
async def test_filter_by_parameters(
    store: Store, save_run: SaveRun, order: RunOrder, parameters: dict[str, Any], found: set[str]
) -> None:
    saved = {
        save_run(parameters={"fast_period": 10}): "int",
        save_run(parameters={"fast_period": "10"}): "text",
        save_run(parameters={"fast_period": 10, "slow_period": 50}): "both",
        save_run(parameters={"flag": True}): "flag",
    }
    where = RunFilter(parameters=parameters)
    assert {saved[run_id] for run_id in await ids(store, where, order)} == found


async def test_a_cursor_of_another_list_is_refused(store: Store, save_run: SaveRun) -> None:
    save_run()
    save_run()
    page = await store.runs.page(EVERYTHING, NEWEST_FIRST, limit=1)
    for where, order in (
        (EVERYTHING, RunOrder(ascending=True)),
        (EVERYTHING, RunOrder("cagr")),
        (RunFilter(strategy="sma"), NEWEST_FIRST),
    ):
        with pytest.raises(CursorMismatchError):
            await store.runs.page(where, order, limit=1, after=page.next)


@pytest.mark.parametrize(
    "value", [None, "", "soon", "2026-01-01T00:00:00", "9999-12-31T23:59:59-23:59"]
)
async def test_a_damaged_cursor_by_time_is_refused(store: Store, value: Any) -> None:
    cursor = Cursor(Cursor.scope_of(EVERYTHING, NEWEST_FIRST), value, 1)
    with pytest.raises(CursorMismatchError):
        await store.runs.page(EVERYTHING, NEWEST_FIRST, limit=1, after=cursor)


@pytest.mark.parametrize(
    "value", ["", "many", "NaN", "Infinity", "1.5.2", "1E+999999999", "1E-20000", "99999999999"]
)
@pytest.mark.parametrize("by", ["cagr", "total_trades"])
async def test_a_damaged_cursor_by_metric_is_refused(store: Store, by: str, value: Any) -> None:
    order = RunOrder(by)
    cursor = Cursor(Cursor.scope_of(EVERYTHING, order), value, 1)
    with pytest.raises(CursorMismatchError):
        await store.runs.page(EVERYTHING, order, limit=1, after=cursor)


async def test_a_cursor_stays_good_when_runs_come_and_go(store: Store, save_run: SaveRun) -> None:
    runs = [save_run(started_at=later(minute)) for minute in range(4)]
    page = await store.runs.page(EVERYTHING, NEWEST_FIRST, limit=2)
    save_run(started_at=later(9))
    await store.runs.delete([runs[2]])
    rest = await store.runs.page(EVERYTHING, NEWEST_FIRST, limit=9, after=page.next)
    assert [run.run_id for run in rest.items] == [runs[1], runs[0]]


async def test_an_empty_store_has_an_empty_page(store: Store) -> None:
    for order in (NEWEST_FIRST, RunOrder("cagr")):
        page = await store.runs.page(EVERYTHING, order, limit=5)
        assert (page.items, page.next) == ((), None)
    assert await store.runs.count(EVERYTHING) == Count(0, False)


async def test_counting_stops_at_the_cap(store: Store, save_run: SaveRun) -> None:
    for _ in range(3):
        save_run()
    assert await store.runs.count(EVERYTHING, cap=2) == Count(2, True)
    assert await store.runs.count(EVERYTHING, cap=3) == Count(3, False)


async def test_get_raises_where_find_gives_none(store: Store) -> None:
    unknown = uuid4()
    assert await store.runs.find(unknown) is None
    with pytest.raises(NotFoundError, match=str(unknown)):
        await store.runs.get(unknown)


async def test_get_many_keeps_the_order_that_was_asked_for(store: Store, save_run: SaveRun) -> None:
    first, second, third = save_run(), save_run(), save_run()
    runs = await store.runs.get_many([third, first, second, first])
    assert [run.run_id for run in runs] == [third, first, second, first]
    with pytest.raises(NotFoundError):
        await store.runs.get_many([first, uuid4()])


NAMED = UUID("abcdef01-2345-4789-8abc-def012345678")


@pytest.mark.parametrize(
    "reference",
    [
        "abcdef01-2345-4789-8abc-def012345678",
        "ABCDEF01-2345-4789-8ABC-DEF012345678",
        "abcdef01234547898abc",
        "abcd",
        "ABCD",
        "abcdef01",
        "abcdef01-",
        "abcdef01-2",
        "abcdef01-2345-4",
        "abcdef0123454",
        " abcd ",
    ],
)
async def test_a_run_is_found_by_the_beginning_of_its_id(
    store: Store, save_run: SaveRun, reference: str
) -> None:
    save_run(run_id=NAMED)
    save_run(run_id=UUID(int=NAMED.int ^ (1 << 127)))
    assert (await store.runs.resolve(reference)).run_id == NAMED


@pytest.mark.parametrize(
    "reference", ["", "abc", "a", "xyzw", "abcd-ef", "-abcd", "@1", "@~", "@~-1", "abcd%"]
)
async def test_what_names_no_run_in_any_form_is_wrong_use(
    store: Store, save_run: SaveRun, reference: str
) -> None:
    save_run(run_id=NAMED)
    with pytest.raises(UsageError, match="does not name a run"):
        await store.runs.resolve(reference)


@pytest.mark.parametrize("reference", ["abce", "0000", str(UUID(int=0)), "@~1", "@~999999999999"])
async def test_a_reference_to_a_run_that_is_not_there(
    store: Store, save_run: SaveRun, reference: str
) -> None:
    save_run(run_id=NAMED)
    with pytest.raises(NotFoundError):
        await store.runs.resolve(reference)


async def test_the_newest_run_of_an_empty_store_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no run yet"):
        await store.runs.resolve("@")


async def test_the_newest_run_and_those_before_it(store: Store, save_run: SaveRun) -> None:
    runs = [save_run(started_at=later(minute)) for minute in (5, 1, 9)]
    for reference, run_id in (("@", runs[2]), ("@~0", runs[2]), ("@~1", runs[0]), ("@~2", runs[1])):
        assert (await store.runs.resolve(reference)).run_id == run_id


async def test_an_ambiguous_prefix_lists_the_candidates(store: Store, save_run: SaveRun) -> None:
    other = UUID("abcdffff-2345-4789-8abc-def012345678")
    save_run(run_id=NAMED, strategy="rsi", symbol="GOOG", started_at=later(3))
    save_run(run_id=other)
    with pytest.raises(AmbiguousReferenceError) as caught:
        await store.runs.resolve("abcd")
    lines = (caught.value.hint or "").splitlines()
    assert f"  {NAMED}  rsi  GOOG  2026-03-02 09:33:00Z" in lines
    assert any(str(other) in line for line in lines)
    assert (await store.runs.resolve("abcde")).run_id == NAMED


async def test_the_same_question_finds_the_newest_runs_first(
    store: Store, save_run: SaveRun
) -> None:
    first = save_run(started_at=later(1))
    failed = save_run(started_at=later(2), failed=True)
    save_run(parameters={"fast_period": 11})
    fingerprint = (await store.runs.get(first)).fingerprint
    found = await store.runs.same_question(fingerprint, 5)
    assert [run.run_id for run in found] == [failed, first]
    assert [r.run_id for r in await store.runs.same_question(fingerprint, 1)] == [failed]
    assert await store.runs.same_question("0" * 64, 5) == ()


async def test_deleting_runs_gives_the_files_to_remove(store: Store, save_run: SaveRun) -> None:
    run_id = uuid4()
    files = [make_artifact(run_id, name) for name in ("trades.parquet", "equity.parquet")]
    save_run(run_id=run_id, artifacts=files, events=make_events())
    other, kept = save_run(), save_run()

    removed = await store.runs.delete([run_id, other])

    assert sorted(removed, key=lambda file: file.filename) == files[::-1]
    assert await ids(store) == [kept]
    assert await store.runs.artifacts(run_id) == ()
    assert await store.runs.events(run_id) == ()


async def test_nothing_is_deleted_where_one_run_is_missing(store: Store, save_run: SaveRun) -> None:
    run_id = uuid4()
    save_run(run_id=run_id, artifacts=[make_artifact(run_id)])
    with pytest.raises(NotFoundError):
        await store.runs.delete([run_id, uuid4()])
    assert await ids(store) == [run_id]
    assert len(await store.runs.artifacts(run_id)) == 1


async def test_an_original_and_its_reproduction_can_be_deleted_together(
    store: Store, save_run: SaveRun
) -> None:
    original = save_run()
    reproduction = save_run(reproduced_from=original)
    await store.runs.delete([original, reproduction])
    assert await ids(store) == []


async def test_a_dataset_comes_back_as_it_was_saved(store: Store) -> None:
    dataset = make_dataset(
        instrument=make_instrument(currency="EUR", price_precision=5), rows=3_000_000_000
    )
    assert await store.datasets.add(dataset) == dataset
    assert await store.datasets.get(dataset.id) == dataset
    assert await store.datasets.find_by_hash(dataset.content_hash) == dataset
    assert await store.datasets.all() == (dataset,)


async def test_the_same_content_is_the_same_dataset(store: Store) -> None:
    first = await store.datasets.add(make_dataset())
    assert await store.datasets.add(make_dataset(name="another")) == first
    assert await store.datasets.all() == (first,)


async def test_a_dataset_is_found_by_id_name_and_hash(store: Store) -> None:
    named = await store.datasets.add(make_dataset("IBM", name="feed", content_hash="ab" * 32))
    newer = await store.datasets.add(
        make_dataset("IBM", name="feed", content_hash="ac" * 32, created_at=later(1))
    )
    for reference, dataset in (
        (str(named.id), named),
        ("feed", newer),
        ("abab", named),
        ("ACACAC", newer),
        ("ab" * 32, named),
    ):
        assert await store.datasets.resolve(reference) == dataset
    for reference in ("ab", "acab", "nothing", str(uuid4()), "ab%", "____"):
        with pytest.raises(NotFoundError):
            await store.datasets.resolve(reference)


@pytest.mark.parametrize(
    "other",
    [
        {"instrument": make_instrument("ETH/USDT", venue="KRAKEN")},
        {"instrument": make_instrument("BTC/USDT", venue="BINANCE")},
        {"timeframe": Timeframe.parse("4h")},
    ],
    ids=["venue", "symbol", "timeframe"],
)
async def test_a_name_of_two_kinds_of_bars_lists_the_newest_of_each(
    store: Store, other: dict[str, Any]
) -> None:
    same: dict[str, Any] = {
        "name": "feed",
        "instrument": make_instrument("ETH/USDT", venue="BINANCE"),
        "timeframe": Timeframe.parse("1h"),
    }
    await store.datasets.add(make_dataset(**same, content_hash="aa" * 32))
    await store.datasets.add(make_dataset(**same, content_hash="bb" * 32, created_at=later(1)))
    odd = make_dataset(**{**same, **other}, content_hash="cc" * 32, created_at=later(2))
    await store.datasets.add(odd)

    with pytest.raises(AmbiguousReferenceError, match="'feed'") as caught:
        await store.datasets.resolve("feed")

    hint = caught.value.hint or ""
    assert f"{'bb' * 8}  ETH/USDT.BINANCE  1h" in hint
    assert f"{'cc' * 8}  {odd.instrument.id}  {odd.timeframe}" in hint
    assert "aa" not in hint
    assert await store.datasets.resolve("cccc") == odd


async def test_the_newest_version_is_of_the_same_name_instrument_and_timeframe(
    store: Store,
) -> None:
    first = make_dataset(name="feed", content_hash="a0" * 32)
    newest = make_dataset(
        name="feed",
        instrument=make_instrument(price_precision=5),
        content_hash="a1" * 32,
        created_at=later(1),
    )
    others = (
        make_dataset(name="other"),
        make_dataset("GOOG", name="feed"),
        make_dataset(name="feed", instrument=make_instrument(venue="XETRA")),
        make_dataset(name="feed", timeframe=Timeframe.parse("1h")),
    )
    for dataset in (first, newest):
        await store.datasets.add(dataset)
    for number, dataset in enumerate(others):
        changed = replace(dataset, content_hash=f"b{number}" * 32, created_at=later(2))
        await store.datasets.add(changed)

    assert await store.datasets.newest_version(first) == newest
    assert await store.datasets.newest_version(newest) == newest


async def test_an_ambiguous_hash_lists_the_datasets(store: Store) -> None:
    for tail in ("0", "1"):
        await store.datasets.add(make_dataset(name=f"d{tail}", content_hash="ab" * 30 + tail * 4))
    with pytest.raises(AmbiguousReferenceError) as caught:
        await store.datasets.resolve("abab")
    assert "d0" in (caught.value.hint or "")
    assert "d1" in (caught.value.hint or "")


async def test_a_name_goes_before_a_hash_that_begins_so(store: Store) -> None:
    await store.datasets.add(make_dataset(content_hash="beef" * 16))
    named = await store.datasets.add(make_dataset(name="beef"))
    assert await store.datasets.resolve("beef") == named


async def test_datasets_of_a_symbol_the_newest_first(store: Store) -> None:
    first = await store.datasets.add(make_dataset("IBM"))
    hourly = await store.datasets.add(
        make_dataset(
            "IBM",
            content_hash=sha256_text("hourly"),
            timeframe=Timeframe.parse("1h"),
            instrument=make_instrument("IBM", venue="XETRA"),
            created_at=later(1),
        )
    )
    await store.datasets.add(make_dataset("GOOG"))
    assert await store.datasets.matching("IBM") == (hourly, first)
    assert await store.datasets.matching("IBM", timeframe="1d") == (first,)
    assert await store.datasets.matching("IBM", venue="XETRA") == (hourly,)
    assert await store.datasets.matching("IBM", "1d", "XETRA") == ()


async def test_a_dataset_that_runs_use_cannot_be_deleted(store: Store, save_run: SaveRun) -> None:
    save_run()
    save_run()
    (dataset,) = await store.datasets.all()
    assert await store.datasets.run_count(dataset.id) == 2
    with pytest.raises(ConflictError, match="2 runs use it") as caught:
        await store.datasets.delete(dataset.id)
    assert caught.value.hint


async def test_a_dataset_is_deleted_once(store: Store) -> None:
    dataset = await store.datasets.add(make_dataset())
    await store.datasets.delete(dataset.id)
    assert await store.datasets.find(dataset.id) is None
    with pytest.raises(NotFoundError):
        await store.datasets.delete(dataset.id)


async def test_a_strategy_gets_a_row_with_its_defaults(store: Store) -> None:
    spec = make_spec(version="1.2.0+build.1")
    record = await store.strategies.ensure(spec)
    assert (record.name, record.version, record.implementation) == (
        "sma",
        "1.2.0+build.1",
        spec.path,
    )
    assert record.params == {"fast_period": 10, "slow_period": 20}
    assert record.param_spec == [parameter.to_dict() for parameter in spec.parameters]
    assert await store.strategies.find("sma", "1.2.0+build.1") == record


async def test_a_strategy_with_the_same_source_stays_untouched(store: Store) -> None:
    record = await store.strategies.ensure(make_spec())
    assert await store.strategies.ensure(make_spec(description="other words")) == record


async def test_source_that_changed_within_a_version_replaces_the_row(store: Store) -> None:
    record = await store.strategies.ensure(make_spec())
    changed = await store.strategies.ensure(make_spec(source_hash="b" * 64, description="new"))
    assert (changed.id, changed.created_at) == (record.id, record.created_at)
    assert (changed.source_hash, changed.description) == ("b" * 64, "new")
    assert changed.updated_at > record.updated_at
    assert await store.strategies.find("sma", "1.0.0") == changed


async def test_a_new_version_is_a_new_row(store: Store) -> None:
    first = await store.strategies.ensure(make_spec())
    second = await store.strategies.ensure(make_spec(version="1.1.0"))
    assert await store.strategies.find("sma", "1.0.0") == first
    assert await store.strategies.find("sma", "1.1.0") == second


# Tags and notes


async def test_a_run_comes_back_with_its_tags_and_its_note(store: Store, save_run: SaveRun) -> None:
    tagged = save_run(annotations=Annotations(("live", "2026-q1"), "Two\nlines."))
    plain = save_run()

    runs = {
        run.run_id: run for run in (await store.runs.page(EVERYTHING, NEWEST_FIRST, limit=9)).items
    }

    assert (runs[tagged].tags, runs[tagged].note) == (("2026-q1", "live"), "Two\nlines.")
    assert (runs[plain].tags, runs[plain].note) == ((), None)


async def test_tags_come_and_go(store: Store, save_run: SaveRun) -> None:
    run_id, other = (
        save_run(annotations=Annotations(("a",))),
        save_run(annotations=Annotations(("a",))),
    )

    await store.annotations.add_tags(run_id, ["b", "a", "c"])
    await store.annotations.remove_tags(run_id, ["a", "never"])

    assert (await store.runs.get(run_id)).tags == ("b", "c")
    assert (await store.runs.get(other)).tags == ("a",)


async def test_a_note_replaces_the_one_before(store: Store, save_run: SaveRun) -> None:
    run_id, other = save_run(), save_run(annotations=Annotations(note="Another."))

    await store.annotations.set_note(run_id, "First.")
    await store.annotations.set_note(run_id, "Second.")
    assert (await store.runs.get(run_id)).note == "Second."
    await store.annotations.clear_note(run_id)
    await store.annotations.clear_note(run_id)

    assert (await store.runs.get(run_id)).note is None
    assert (await store.runs.get(other)).note == "Another."


async def test_a_run_that_is_gone_takes_no_tag_and_no_note(store: Store) -> None:
    with pytest.raises(NotFoundError):
        await store.annotations.add_tags(uuid4(), ["a"])
    with pytest.raises(NotFoundError):
        await store.annotations.set_note(uuid4(), "A note.")


@pytest.mark.parametrize("by", ORDERS)
async def test_runs_are_found_by_tag_in_every_order(
    store: Store, save_run: SaveRun, by: str
) -> None:
    first = save_run(annotations=Annotations(("a", "b")))
    save_run(annotations=Annotations(("b",)))
    second = save_run(annotations=Annotations(("a",)), failed=True)
    save_run()

    assert set(await ids(store, RunFilter(tag="a"), RunOrder(by))) == {first, second}
    assert await ids(store, RunFilter(tag="A"), RunOrder(by)) == []
    assert (await store.runs.count(RunFilter(tag="a"))).value == 2


async def test_reproductions_are_found_by_their_original(store: Store, save_run: SaveRun) -> None:
    original, other = save_run(), save_run()
    again = [save_run(reproduced_from=original) for _ in range(2)]

    assert await store.runs.reproductions([original]) == tuple(again)
    assert await store.runs.reproductions([other]) == ()


# Kept sources


SOURCE = StrategySource(
    entry="mine.py",
    files={
        "mine.py": "import hilfe  # größer\r\n".encode(),
        "pack/__init__.py": b"",
        "latin.py": "# coding: latin-1\nname = 'größer'".encode("latin-1"),
        "nul.py": b"a\0b",
    },
)


async def test_a_source_comes_back_byte_for_byte(store: Store) -> None:
    assert await store.sources.keep(SOURCE)
    found = await store.sources.find(SOURCE.hash)
    assert found == SOURCE
    assert await store.sources.find("a" * 64) is None


async def test_a_source_is_kept_once(store: Store) -> None:
    assert await store.sources.keep(SOURCE)
    assert not await store.sources.keep(SOURCE)
    assert len(await store.database.fetch(select(sources_table))) == 1


async def change_kept_source(store: Store, more: str) -> None:
    """Add to the files of the kept source, as only the owner can who takes the trigger away."""
    statements = (
        "ALTER TABLE strategy_sources DISABLE TRIGGER USER",
        f"UPDATE strategy_sources SET files = files || '{more}'",
        "ALTER TABLE strategy_sources ENABLE TRIGGER USER",
    )
    async with store.database.transaction() as transaction:
        for statement in statements:
            await transaction.execute(text(statement))


async def test_a_source_that_was_changed_in_the_table_is_refused(store: Store) -> None:
    await store.sources.keep(SOURCE)
    await change_kept_source(store, '{"mine.py": "import os"}')
    with pytest.raises(DamagedError, match="not as it was kept"):
        await store.sources.find(SOURCE.hash)


async def test_a_source_that_leads_out_of_its_place_is_refused(store: Store) -> None:
    await store.sources.keep(SOURCE)
    await change_kept_source(store, '{"../evil.py": "x"}')
    with pytest.raises(DamagedError, match="evil"):
        await store.sources.find(SOURCE.hash)
