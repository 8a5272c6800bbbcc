"""The rules that the database itself keeps, whoever writes to it."""

from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Executable, Table, delete, insert, select, text, update

from ntrader.domain.annotations import Annotations
from ntrader.domain.artifacts import ArtifactKind
from ntrader.domain.runs import RunMode, RunStatus
from ntrader.domain.sources import StrategySource
from ntrader.errors import ConflictError, DatabaseError
from ntrader.storage.database import Database
from ntrader.storage.sources import SourceRepository
from ntrader.storage.tables import (
    artifacts_table,
    datasets_table,
    events_table,
    metrics_table,
    notes_table,
    runs_table,
    sources_table,
    strategies_table,
    tags_table,
)
from support.outcomes import make_artifact, make_events, make_result
from support.saving import SaveRun

NAN = Decimal("NaN")


async def stored(database: Database, table: Table) -> dict[str, Any]:
    """Return the table's only row, without what the database itself numbers."""
    (row,) = await database.fetch(select(table))
    values = dict(row._mapping)
    if table in (runs_table, metrics_table, events_table):
        del values["id"]
    return values


async def count(database: Database, table: Table) -> int:
    return len(await database.fetch(select(table.c.id)))


async def write(database: Database, statement: Executable) -> None:
    await database.run(lambda transaction: transaction.execute(statement))


async def refused(database: Database, statement: Executable, rule: str) -> None:
    with pytest.raises((DatabaseError, ConflictError), match=rule):
        await write(database, statement)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"name": ""}, "name_present"),
        ({"content_hash": "abc"}, "content_hash_sha256"),
        ({"content_hash": "G" * 64}, "content_hash_sha256"),
        ({"symbols": []}, "symbols_present"),
        ({"timeframe": "1M"}, "timeframe_known"),
        ({"timeframe": "0d"}, "timeframe_known"),
        ({"rows": 0}, "rows_positive"),
        ({"instrument": {"symbol": "IBM"}}, "instrument_complete"),
        ({}, "uq_datasets_hash"),
    ],
)
async def test_datasets_refuse(
    database: Database, save_run: SaveRun, changes: dict[str, Any], rule: str
) -> None:
    save_run()
    values = await stored(database, datasets_table)
    await refused(
        database, insert(datasets_table).values({**values, "id": uuid4(), **changes}), rule
    )


async def test_a_dataset_must_end_after_it_starts(database: Database, save_run: SaveRun) -> None:
    save_run()
    values = await stored(database, datasets_table)
    changes = {"id": uuid4(), "content_hash": "a" * 64, "end_date": values["start_date"]}
    await refused(database, insert(datasets_table).values({**values, **changes}), "period_forward")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"name": ""}, "name_present"),
        ({"version": "1.0"}, "version_semantic"),
        ({"version": "1.0.0-"}, "version_semantic"),
        ({"version": "v1.0.0"}, "version_semantic"),
        ({"source_hash": "abc"}, "source_hash_sha256"),
        ({"params": []}, "params_object"),
        ({"param_spec": {}}, "param_spec_array"),
        ({}, "uq_strategies_name_version"),
    ],
)
async def test_strategies_refuse(
    database: Database, save_run: SaveRun, changes: dict[str, Any], rule: str
) -> None:
    save_run()
    values = {**await stored(database, strategies_table), "id": uuid4(), **changes}
    await refused(database, insert(strategies_table).values(values), rule)


@pytest.mark.parametrize("version", ["1.2.3", "0.0.1-rc.1", "2.0.0+build.5", "1.0.0-beta-2+exp"])
async def test_strategies_take_semantic_versions(
    database: Database, save_run: SaveRun, version: str
) -> None:
    save_run()
    values = {**await stored(database, strategies_table), "id": uuid4(), "version": version}
    await write(database, insert(strategies_table).values(values))
    assert await count(database, strategies_table) == 2


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"strategy_name": ""}, "strategy_name_present"),
        ({"instrument_symbol": ""}, "instrument_symbol_present"),
        ({"initial_capital": Decimal(0)}, "initial_capital_positive"),
        ({"initial_capital": NAN}, "initial_capital_positive"),
        ({"execution_duration_seconds": Decimal(-1)}, "duration_not_negative"),
        ({"execution_duration_seconds": NAN}, "duration_not_negative"),
        ({"error_message": "boom"}, "error_exactly_when_failed"),
        ({"execution_status": RunStatus.FAILED}, "error_exactly_when_failed"),
        ({"error_traceback": "at line 1"}, "traceback_has_message"),
        ({"config_snapshot": {"config": {}, "version": "1.0"}}, "snapshot_complete"),
        ({"metadata": []}, "metadata_object"),
        ({"fingerprint": "abc"}, "fingerprint_sha256"),
        ({"result_digest": "abc"}, "result_digest_sha256"),
        ({"dataset_id": None}, "dataset_id"),
        ({"strategy_id": None}, "strategy_id"),
        ({"dataset_id": uuid4()}, "fk_backtest_runs_dataset_id_datasets"),
        ({"strategy_id": uuid4()}, "fk_backtest_runs_strategy_id_strategies"),
        ({"reproduced_from_run_id": uuid4()}, "fk_backtest_runs_reproduced_from_run_id"),
    ],
)
async def test_runs_refuse(
    database: Database, save_run: SaveRun, changes: dict[str, Any], rule: str
) -> None:
    save_run()
    values = {**await stored(database, runs_table), "run_id": uuid4(), **changes}
    await refused(database, insert(runs_table).values(values), rule)


async def test_a_run_must_end_after_it_starts(database: Database, save_run: SaveRun) -> None:
    save_run()
    values = {**await stored(database, runs_table), "run_id": uuid4()}
    values["end_date"] = values["start_date"]
    await refused(database, insert(runs_table).values(values), "period_forward")


async def test_a_run_cannot_reproduce_itself(database: Database, save_run: SaveRun) -> None:
    save_run()
    run_id = uuid4()
    values = {**await stored(database, runs_table), "run_id": run_id}
    values["reproduced_from_run_id"] = run_id
    await refused(database, insert(runs_table).values(values), "not_its_own_original")


async def test_a_run_id_is_taken_once(database: Database, save_run: SaveRun) -> None:
    save_run()
    values = await stored(database, runs_table)
    await refused(database, insert(runs_table).values(values), "uq_backtest_runs_run_id")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"total_trades": 7}, "trades_add_up"),
        ({"winning_trades": -1, "losing_trades": 6}, "counts_not_negative"),
        ({"losing_trades": -1, "winning_trades": 6}, "counts_not_negative"),
        ({"break_even_trades": -1, "winning_trades": 5}, "counts_not_negative"),
        ({"win_rate": Decimal("1.01")}, "win_rate_fraction"),
        ({"win_rate": Decimal("-0.01")}, "win_rate_fraction"),
        ({"win_rate": NAN}, "win_rate_fraction"),
        ({"max_drawdown": Decimal("0.01")}, "max_drawdown_fraction"),
        ({"max_drawdown": Decimal("-1.01")}, "max_drawdown_fraction"),
        ({"max_drawdown": NAN}, "max_drawdown_fraction"),
        ({"avg_win": Decimal(-1)}, "avg_win_not_negative"),
        ({"avg_loss": Decimal(1)}, "avg_loss_not_positive"),
        ({"avg_loss": NAN}, "avg_loss_not_positive"),
        *(
            ({name: NAN}, "undefined_is_null")
            for name in (
                "total_return",
                "final_balance",
                "cagr",
                "sharpe_ratio",
                "sortino_ratio",
                "calmar_ratio",
                "volatility",
                "profit_factor",
                "expectancy",
                "avg_win",
                "total_fees",
                "exposure",
            )
        ),
        ({"sharpe_ratio": Decimal("Infinity")}, "overflow"),
        ({"strategy_name": "rsi"}, "fk_performance_metrics_backtest_runs"),
        ({"instrument_symbol": "GOOG"}, "fk_performance_metrics_backtest_runs"),
        ({}, "uq_performance_metrics_backtest_run_id"),
    ],
)
async def test_metrics_refuse(
    database: Database, save_run: SaveRun, changes: dict[str, Any], rule: str
) -> None:
    save_run()
    values = await stored(database, metrics_table)
    if changes:
        # Another run of the same strategy, without metrics yet.
        run = {**await stored(database, runs_table), "run_id": uuid4()}
        await write(database, insert(runs_table).values(run))
        newest = select(runs_table.c.id).where(runs_table.c.run_id == run["run_id"])
        values["backtest_run_id"] = (await database.fetch(newest))[0].id
    await refused(database, insert(metrics_table).values({**values, **changes}), rule)


async def test_metrics_take_undefined_values(database: Database, save_run: SaveRun) -> None:
    nullable = [column.name for column in metrics_table.columns if column.nullable]
    save_run(**dict.fromkeys(nullable))
    values = await stored(database, metrics_table)
    assert {name: values[name] for name in nullable} == dict.fromkeys(nullable)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"size_bytes": -1}, "size_not_negative"),
        ({"sha256": "abc"}, "sha256_hex"),
        ({"run_id": uuid4()}, "fk_artifacts_run_id_backtest_runs"),
    ],
)
async def test_artifacts_refuse(
    database: Database, save_run: SaveRun, changes: dict[str, Any], rule: str
) -> None:
    run_id = uuid4()
    save_run(run_id=run_id, artifacts=[make_artifact(run_id)])
    values = {**await stored(database, artifacts_table), "id": uuid4(), **changes}
    await refused(database, insert(artifacts_table).values(values), rule)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"event_type": ""}, "event_type_present"),
        ({"payload": []}, "payload_object"),
        ({"run_id": uuid4()}, "fk_events_run_id_backtest_runs"),
    ],
)
async def test_events_refuse(
    database: Database, save_run: SaveRun, changes: dict[str, Any], rule: str
) -> None:
    save_run(events=make_events(0)[:1])
    values = {**await stored(database, events_table), **changes}
    await refused(database, insert(events_table).values(values), rule)


@pytest.mark.parametrize(
    ("type_name", "members"),
    [("run_mode", RunMode), ("execution_status", RunStatus), ("artifact_kind", ArtifactKind)],
)
async def test_an_enum_has_the_members_of_the_domain(
    database: Database, type_name: str, members: type[StrEnum]
) -> None:
    labels = await database.fetch(
        text(f"SELECT enumlabel FROM pg_enum WHERE enumtypid = '{type_name}'::regtype")
    )
    assert {row.enumlabel for row in labels} == set(members)


@pytest.mark.parametrize(
    "changes",
    [
        {"execution_duration_seconds": Decimal(9)},
        {"metadata": {"note": "changed"}},
        {"config_snapshot": {"strategy_path": 1, "config_path": 2, "config": 3, "version": 4}},
        {"strategy_name": "other"},
        {"reproduced_from_run_id": None, "data_source": "other"},
    ],
)
async def test_a_run_cannot_be_changed(
    database: Database, save_run: SaveRun, changes: dict[str, Any]
) -> None:
    save_run(reproduced_from=save_run())
    await refused(database, update(runs_table).values(changes), "cannot be changed")


async def test_a_run_cannot_become_a_reproduction(database: Database, save_run: SaveRun) -> None:
    original, run = save_run(), save_run()
    statement = update(runs_table).where(runs_table.c.run_id == run)
    await refused(database, statement.values(reproduced_from_run_id=original), "cannot be changed")


async def test_metrics_cannot_be_changed(database: Database, save_run: SaveRun) -> None:
    save_run()
    await refused(database, update(metrics_table).values(sharpe_ratio=9), "cannot be changed")


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (artifacts_table, {"sha256": "0" * 64}),
        (artifacts_table, {"storage_path": "elsewhere"}),
        (events_table, {"payload": {}}),
        (sources_table, {"files": {"own.py": "import os"}}),
    ],
    ids=lambda value: value.name if isinstance(value, Table) else "-".join(value),
)
async def test_what_belongs_to_a_run_cannot_be_changed(
    database: Database, save_run: SaveRun, table: Table, changes: dict[str, Any]
) -> None:
    run_id = uuid4()
    save_run(run_id=run_id, artifacts=(make_artifact(run_id),), events=make_events())
    await SourceRepository(database).keep(StrategySource(entry="own.py", files={"own.py": b""}))
    before = await database.fetch(select(table))
    await refused(database, update(table).values(changes), "cannot be changed")
    assert await database.fetch(select(table)) == before


@pytest.mark.parametrize(
    "tables",
    ["performance_metrics", "artifacts", "events", "strategy_sources", "datasets CASCADE"],
)
async def test_no_run_is_lost_by_truncating(
    database: Database, save_run: SaveRun, tables: str
) -> None:
    save_run()
    await refused(database, text(f"TRUNCATE {tables}"), "cannot be emptied")
    assert await count(database, metrics_table) == 1


@pytest.mark.parametrize("table", [datasets_table, strategies_table], ids=["dataset", "strategy"])
async def test_what_a_run_uses_cannot_be_deleted(
    database: Database, save_run: SaveRun, table: Table
) -> None:
    save_run()
    with pytest.raises(ConflictError):
        await write(database, delete(table))
    assert await count(database, table) == 1


async def test_deleting_a_run_deletes_what_belongs_to_it(
    database: Database, save_run: SaveRun
) -> None:
    run_id = uuid4()
    save_run(run_id=run_id, artifacts=[make_artifact(run_id)], events=make_events())
    kept = save_run(events=make_events(0))

    await write(database, delete(runs_table).where(runs_table.c.run_id == run_id))

    assert (await stored(database, runs_table))["run_id"] == kept
    assert await count(database, metrics_table) == 1
    assert await count(database, artifacts_table) == 0
    assert await count(database, events_table) == len(make_events(0))


async def test_deleting_an_original_keeps_its_reproductions(
    database: Database, save_run: SaveRun
) -> None:
    original = save_run()
    reproduction = save_run(reproduced_from=original)

    await write(database, delete(runs_table).where(runs_table.c.run_id == original))

    run = await stored(database, runs_table)
    assert (run["run_id"], run["reproduced_from_run_id"]) == (reproduction, None)


@pytest.mark.parametrize("tag", ["", "x" * 65, "two words", "a\tb", "a\nb", "\x1b[31m", "a\x7f"])
async def test_a_tag_is_one_word(database: Database, save_run: SaveRun, tag: str) -> None:
    values = {"run_id": save_run(), "tag": tag}
    await refused(database, insert(tags_table).values(values), "tag_length|tag_one_word")


async def test_a_tag_may_be_any_word(database: Database, save_run: SaveRun) -> None:
    run_id = save_run()
    for tag in ("x" * 64, "größer", "[bold]", "a,b", "-v", "\N{SNOWMAN}"):
        await write(database, insert(tags_table).values(run_id=run_id, tag=tag))
    refused_again = insert(tags_table).values(run_id=run_id, tag="a,b")
    await refused(database, refused_again, "pk_run_tags")


@pytest.mark.parametrize("note", ["", "x" * 10_001])
async def test_a_note_has_a_length(database: Database, save_run: SaveRun, note: str) -> None:
    values = {"run_id": save_run(), "note": note}
    await refused(database, insert(notes_table).values(values), "note_length")


@pytest.mark.parametrize("table", [tags_table, notes_table], ids=["tag", "note"])
async def test_what_is_said_of_a_run_needs_the_run_and_goes_with_it(
    database: Database, save_run: SaveRun, table: Table
) -> None:
    save_run(annotations=Annotations(("a", "b"), "A note."))
    values = {"tag": "lost"} if table is tags_table else {"note": "Lost."}
    await refused(
        database, insert(table).values(run_id=uuid4(), **values), "fk_run_(tags|notes)_run_id"
    )

    await write(database, delete(runs_table))

    assert await database.fetch(select(table)) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"hash": "abc"}, "hash_sha256"),
        ({"files": ["mine.py"]}, "files_object"),
        ({"entry": "other.py"}, "entry_among_files"),
    ],
)
async def test_kept_sources_refuse(database: Database, changes: dict[str, Any], rule: str) -> None:
    values = {"hash": "a" * 64, "entry": "mine.py", "files": {"mine.py": "x = 1"}, **changes}
    await refused(database, insert(sources_table).values(values), rule)


VIEW_COLUMNS = [
    "id",
    "dataset_id",
    "strategy_id",
    "run_mode",
    "status",
    "start_date",
    "end_date",
    "executed_at",
    "initial_capital",
    "final_balance",
    "total_return",
    "sharpe_ratio",
    "max_drawdown",
    "total_trades",
    "winning_trades",
    "losing_trades",
    "win_rate",
    "metadata",
]


async def test_the_view_gives_a_run_under_the_names_of_the_platform(
    database: Database, save_run: SaveRun
) -> None:
    outcome = make_result()
    run_id = save_run(run_id=outcome.metadata.run_id)
    (row,) = await database.fetch(text("SELECT * FROM runs"))
    assert list(row._mapping) == VIEW_COLUMNS
    assert row.id == run_id
    assert (row.run_mode, row.status) == ("backtest", "success")
    assert row.executed_at == outcome.metadata.started_at
    assert row.final_balance == outcome.metrics.final_balance
    assert row.metadata["environment"] == outcome.metadata.environment


async def test_in_the_view_trades_are_won_or_lost(database: Database, save_run: SaveRun) -> None:
    save_run(total_trades=6, winning_trades=3, losing_trades=2, break_even_trades=1)
    (row,) = await database.fetch(text("SELECT * FROM runs"))
    assert (row.total_trades, row.winning_trades, row.losing_trades) == (6, 3, 3)


async def test_the_view_has_failed_runs(database: Database, save_run: SaveRun) -> None:
    run_id = save_run(failed=True)
    (row,) = await database.fetch(text("SELECT * FROM runs"))
    assert (row.id, row.status, row.total_return) == (run_id, "failed", None)


async def test_the_view_cannot_be_written_to(database: Database, save_run: SaveRun) -> None:
    save_run()
    with pytest.raises(DatabaseError, match="cannot update view"):
        await write(database, text("UPDATE runs SET metadata = '{}'"))
