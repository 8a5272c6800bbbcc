"""Whether a worker of this machine works: for whatever restarts one that does not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ntrader.errors import NtraderError
from ntrader.storage.jobs_heard import seconds_since_heard
from ntrader.storage.jobs_rescue import STALLED_SECONDS

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace


class NoWorkerError(NtraderError):
    """No worker of this machine has been heard of for a while."""

    code = "no_worker"


async def check_worker(workspace: Workspace) -> str:
    """Return what is to be said of this machine's worker, which works.

    Raises:
        NoWorkerError: there is none, or it has not been heard of for as long as its jobs are its.
        DatabaseUnavailableError: the database cannot be reached.
    """
    host = socket.gethostname()
    seconds = await seconds_since_heard(workspace.direct_database(), host)
    if seconds is None or seconds > STALLED_SECONDS:
        ago = (
            "none is connected" if seconds is None else f"it was last heard of {seconds:.0f} s ago"
        )
        raise NoWorkerError(
            f"No worker works on {host}: {ago}.", hint="Start one with `ntrader worker`."
        )
    return f"A worker works on {host}."
