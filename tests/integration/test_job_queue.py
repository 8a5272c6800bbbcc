"""The queue beside the store: its schema, its jobs, and what is rescued."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from ntrader.domain.submissions import (
    NewSubmission,
    RunProgress,
    Submission,
    SubmissionKind,
    SubmissionStatus,
)
from ntrader.errors import SchemaError
from ntrader.storage.database import Database
from ntrader.storage.jobs import SubmissionRepository
from ntrader.storage.jobs_consumer import conninfo
from ntrader.storage.jobs_queue import JobQueue
from ntrader.storage.jobs_rescue import rescue
from ntrader.storage.jobs_schema import ensure_queue, queue_schema
from ntrader.storage.urls import DatabaseUrl
from support.database import execute


@pytest.fixture
async def submissions(database: Database) -> SubmissionRepository:
    """Submissions, with a queue for them."""
    return SubmissionRepository(database, JobQueue(await ensure_queue(database)))


async def accepted(submissions: SubmissionRepository) -> Submission:
    kind = SubmissionKind.BACKTEST
    return await submissions.add(NewSubmission(run_id=uuid4(), kind=kind, request={}))


async def statuses(database: Database) -> list[str]:
    found = await database.fetch(
        text("SELECT status::text FROM ntrader_queue.procrastinate_jobs ORDER BY id")
    )
    return [row.status for row in found]


async def test_the_schema_is_made_once_by_any_number_at_once(
    database: Database, database_url: str
) -> None:
    async def ensure() -> str:
        async with Database.open(database_url) as other:
            return await ensure_queue(other)

    assert set(await asyncio.gather(*(ensure() for _ in range(5)))) == {"ntrader_queue"}
    in_public = await database.fetch(
        text(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relname LIKE 'procrastinate%'"
        )
    )
    assert in_public == []


async def test_somebody_elses_queue_is_left_alone(database: Database, database_url: str) -> None:
    await execute(
        database_url,
        "CREATE SCHEMA ntrader_queue",
        "CREATE TABLE ntrader_queue.procrastinate_jobs (id int)",
    )
    with pytest.raises(SchemaError, match="did not make"):
        await ensure_queue(database)


def test_each_store_of_a_database_has_its_own_queue() -> None:
    assert queue_schema("public") == "ntrader_queue"
    assert queue_schema("desk") == "desk_queue"


async def test_a_job_is_there_exactly_if_its_run_is(
    submissions: SubmissionRepository, database: Database
) -> None:
    first = await accepted(submissions)
    again = await submissions.add(
        NewSubmission(run_id=first.run_id, kind=first.kind, request={"other": True})
    )
    assert again == first
    assert await statuses(database) == ["todo"]
    with pytest.raises(Exception, match="request_object"):
        await submissions.add(
            NewSubmission(run_id=uuid4(), kind=first.kind, request=[])  # type: ignore[arg-type]
        )
    assert await statuses(database) == ["todo"]


async def test_the_life_of_a_run(submissions: SubmissionRepository) -> None:
    run_id = (await accepted(submissions)).run_id
    progress = RunProgress(bars_done=5, bars_total=10, bars_per_second=2.5, equity=99.5)

    begun = await submissions.begin(run_id, "here")
    await submissions.tell_progress(run_id, progress)
    told = await submissions.get(run_id)
    await submissions.give_back(run_id)
    given_back = await submissions.get(run_id)
    await submissions.begin(run_id, "there")
    ended = await submissions.end(run_id, SubmissionStatus.DONE)

    assert begun is not None
    assert ended is not None
    assert (begun.status, begun.attempts) == (SubmissionStatus.RUNNING, 1)
    assert told.progress == progress
    assert (given_back.status, given_back.attempts) == (SubmissionStatus.QUEUED, 0)
    assert (ended.status, ended.attempts, ended.worker) == (SubmissionStatus.DONE, 1, "there")
    assert begun.version < told.version < given_back.version < ended.version
    # What has ended stays as it ended.
    assert await submissions.end(run_id, SubmissionStatus.FAILED) is None
    assert await submissions.begin(run_id, "again") is None
    assert await submissions.cancel(run_id) is None


async def test_a_job_of_a_worker_that_is_gone_is_put_back(
    submissions: SubmissionRepository, database: Database, database_url: str
) -> None:
    await accepted(submissions)
    await execute(
        database_url,
        "SET search_path = ntrader_queue",
        "INSERT INTO procrastinate_workers DEFAULT VALUES",
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = 1",
    )
    assert await rescue(database, submissions.queue) == 0

    await execute(
        database_url,
        "UPDATE ntrader_queue.procrastinate_workers"
        " SET last_heartbeat = now() - interval '1 minute'",
    )
    assert await rescue(database, submissions.queue) == 1
    assert await statuses(database) == ["todo"]
    assert await rescue(database, submissions.queue) == 0


async def test_a_run_whose_job_is_lost_is_queued_again(
    submissions: SubmissionRepository, database: Database, database_url: str
) -> None:
    run_id = (await accepted(submissions)).run_id
    ended = (await accepted(submissions)).run_id
    await submissions.end(ended, SubmissionStatus.CANCELLED)
    await execute(
        database_url,
        "SET search_path = ntrader_queue, public",
        "DELETE FROM procrastinate_jobs",
        "UPDATE submissions SET submitted_at = now() - interval '1 minute'",
    )
    assert await rescue(database, submissions.queue) == 1
    assert await statuses(database) == ["todo"]
    assert (await submissions.get(run_id)).status is SubmissionStatus.QUEUED


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgresql://u:p%40ss@db:6432/name?sslmode=require", {"password=p@ss", "port=6432"}),
        ("postgresql://u@/name?host=/run/pg&port=5432", {"host=/run/pg", "dbname=name"}),
        ("postgresql://u@db/name?search_path=desk&work_mem=8MB", {"-c work_mem=8MB"}),
    ],
)
def test_the_queue_is_reached_as_the_store_is(url: str, parts: set[str]) -> None:
    text_ = conninfo(DatabaseUrl.parse(url), "desk_queue", "desk:1")
    assert all(part in text_ for part in parts), text_
    assert 'search_path="desk_queue"' in text_
    assert "search_path=desk " not in text_
