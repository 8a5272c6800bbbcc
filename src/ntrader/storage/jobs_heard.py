"""Hearing of workers: what they ask the queue bears the name of their machine."""

from sqlalchemy import text

from ntrader.storage.database import Database

# PostgreSQL cuts the name of an application there.
_LONGEST_NAME = 63

_HEARD = text(
    "SELECT extract(epoch FROM clock_timestamp() - max(query_start)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND starts_with(application_name, :beginning)"
    " AND NOT application_name LIKE '% courier'"
)


def application_name(worker: str) -> str:
    """Return what the queue's connections of a worker, `HOST:PID`, are called."""
    return f"ntrader worker {worker}"[:_LONGEST_NAME]


async def seconds_since_heard(database: Database, host: str) -> float | None:
    """Return how long ago a worker on `host` asked the queue anything; None if none is connected.

    A worker asks at every heartbeat. It must be connected as the same user, or as one whose
    activity ours may see.
    """
    found = await database.fetch(_HEARD.bindparams(beginning=application_name(f"{host}:")))
    seconds = found[0][0]
    return None if seconds is None else float(seconds)
