"""The process that a worker keeps for each of its slots: it carries out one run after another.

The engine holds the interpreter from start to end of a run, so nothing that must go on meanwhile (a
heartbeat, other runs, HTTP) can live in its process. Lines of JSON go in and out:

    in:   {"home", "database_url", "pg_bin"} once, then a task a line; see `RunTask`
    out:  {"ready"} once, {"progress"}, {"ended"} or {"unavailable"} for each task

The process ends with its parent, however that ends: what it would save has been begun elsewhere.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from typing import IO, Any

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the parent on stdin and stdout until it closes stdin."""
    end_with_parent(int(sys.argv[1]))
    # Ctrl-C in a terminal reaches every process there; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What code prints by mistake must not get between our lines.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Before it is ready, so that the first run does not wait for it.
    from ntrader.engine.loading import load_engine

    load_engine()
    asyncio.run(_serve(sys.stdin, answers))


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent, where the kernel can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended before we could ask.
        os._exit(1)


async def _serve(tasks: IO[str], answers: IO[str]) -> None:
    from ntrader.domain.submissions import RunProgress
    from ntrader.errors import DatabaseUnavailableError
    from ntrader.services.jobs_execution import RunTask, carry_out
    from ntrader.services.workspace import Workspace

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer, separators=(",", ":")) + "\n")
        answers.flush()

    def tell(progress: RunProgress) -> None:
        say(progress=progress.to_dict())

    setup = json.loads(await asyncio.to_thread(tasks.readline))
    async with Workspace.of_recipe(setup) as workspace:
        say(ready=True)
        while line := await asyncio.to_thread(tasks.readline):
            try:
                ended = await carry_out(workspace, RunTask.from_dict(json.loads(line)), tell)
            except DatabaseUnavailableError as error:
                say(unavailable=error.message)
            else:
                say(ended={"status": ended.status.value, "error": ended.error})


if __name__ == "__main__":
    main()
