"""What it takes to read runs: one way to the server for each question."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import bindparam, select

from ntrader.domain.queries import RunFilter, RunOrder
from ntrader.errors import NotFoundError
from ntrader.services.history import list_runs
from ntrader.services.workspace import Workspace
from ntrader.storage.database import Database
from ntrader.storage.statements import Statements
from ntrader.storage.store import Store
from ntrader.storage.tables import runs_table
from support.sent import statements_of

type SaveRun = Callable[..., UUID]


@pytest.mark.parametrize("by", ["created_at", "sharpe_ratio"])
async def test_a_list_is_one_statement(
    store: Store, save_run: SaveRun, database_url: str, tmp_path: Path, by: str
) -> None:
    save_run()
    async with Workspace(tmp_path, database_url=database_url) as workspace:
        asked = workspace, RunFilter(strategy="sma"), RunOrder(by)
        await list_runs(*asked, limit=5)
        async with statements_of(await workspace.store()) as sent:
            found = await list_runs(*asked, limit=5)

    assert len(found.page.items) == 1
    assert len(sent) == 1


async def test_questions_that_differ_in_a_value_get_their_own_answers(
    store: Store, save_run: SaveRun
) -> None:
    ids = {name: save_run(strategy=name, parameters={"on": name == "sma"}) for name in ("sma", "b")}

    async def found(**conditions: object) -> list[UUID]:
        page = await store.runs.page(RunFilter(**conditions), RunOrder(), limit=5)  # type: ignore[arg-type]
        return [run.run_id for run in page.items]

    assert [await found(strategy=name) for name in ("sma", "b", "sma")] == [
        [ids["sma"]],
        [ids["b"]],
        [ids["sma"]],
    ]
    # Equal to Python, not to JSON.
    assert await found(parameters={"on": True}) == [ids["sma"]]
    assert await found(parameters={"on": 1}) == []
    assert [(await store.runs.get(run_id)).run_id for run_id in ids.values()] == [*ids.values()]


async def test_what_is_no_text_is_not_found_and_asked_once(store: Store) -> None:
    with pytest.raises(Exception, match="no text that a database can hold"):
        await store.runs.page(RunFilter(strategy=os.fsdecode(b"\xff")), RunOrder(), limit=5)


async def test_a_connection_that_ended_between_two_reads_is_replaced(
    store: Store, database_url: str, save_run: SaveRun
) -> None:
    run_id = save_run()
    await store.runs.get(run_id)
    other = await asyncpg.connect(database_url)
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()

    assert (await store.runs.get(run_id)).run_id == run_id
    with pytest.raises(NotFoundError):
        await store.runs.get(UUID(int=0))


async def test_a_statement_whose_text_depends_on_its_values_is_refused(database_url: str) -> None:
    async with Database.open(database_url) as database:
        listed = select(runs_table.c.id).where(runs_table.c.run_id.in_([UUID(int=0)]))
        with pytest.raises(ValueError, match="depends on its values"):
            await database.read(listed)


def test_statements_of_one_shape_are_written_once() -> None:
    from sqlalchemy.dialects.postgresql.asyncpg import dialect

    statements = Statements(dialect())  # type: ignore[no-untyped-call]

    def asked(text: str) -> tuple[str, list[object]]:
        return statements.prepared(select(runs_table.c.id).where(runs_table.c.timeframe == text))

    first, second = asked("1d"), asked("1h")
    assert first[0] is second[0]
    assert (first[1], second[1]) == (["1d"], ["1h"])
    named = select(runs_table.c.id).where(runs_table.c.run_id == bindparam("run_id"))
    assert statements.prepared(named, run_id=UUID(int=7))[1] == [UUID(int=7)]
