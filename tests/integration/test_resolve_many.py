"""Several runs at once: found by what a user writes, with few queries."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from ntrader.errors import NotFoundError, UsageError
from ntrader.storage.store import Store
from support.outcomes import make_artifact
from support.sent import statements_of

type SaveRun = Callable[..., UUID]


async def test_whole_ids_are_read_by_one_query(store: Store, save_run: SaveRun) -> None:
    ids = [save_run() for _ in range(10)]
    wanted = [str(run_id) for run_id in reversed(ids)]

    await store.runs.resolve_many(wanted)
    async with statements_of(store) as sent:
        runs = await store.runs.resolve_many(wanted)

    assert [str(run.run_id) for run in runs] == wanted
    assert len(sent) == 1


async def test_ids_prefixes_and_newest_keep_their_order(store: Store, save_run: SaveRun) -> None:
    ids = [save_run() for _ in range(3)]

    runs = await store.runs.resolve_many([str(ids[1]), "@", str(ids[0])[:18]])

    assert [run.run_id for run in runs] == [ids[1], ids[2], ids[0]]


async def test_one_reference_that_names_nothing_refuses_all(
    store: Store, save_run: SaveRun
) -> None:
    save_run()

    with pytest.raises(NotFoundError):
        await store.runs.resolve_many(["@", str(uuid4())])
    with pytest.raises(UsageError, match="does not name a run"):
        await store.runs.resolve_many(["@", "?"])


async def test_the_files_of_several_runs_are_read_by_one_query(
    store: Store, save_run: SaveRun
) -> None:
    first, second, without = uuid4(), uuid4(), uuid4()
    for run_id in (first, second):
        save_run(run_id=run_id, artifacts=[make_artifact(run_id, "b"), make_artifact(run_id, "a")])
    save_run(run_id=without)

    await store.runs.artifacts_of([first])
    async with statements_of(store) as sent:
        found = await store.runs.artifacts_of([second, without, first])

    assert len(sent) == 1
    assert list(found) == [second, without, first]
    assert [each.filename for each in found[first]] == ["a", "b"]
    assert {each.run_id for each in found[second]} == {second}
    assert found[without] == ()
