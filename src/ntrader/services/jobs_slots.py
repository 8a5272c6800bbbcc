"""The slots of a worker: a warm process for each run that is carried out at the same time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from ntrader.domain.submissions import RunProgress, SubmissionStatus
from ntrader.errors import DatabaseUnavailableError, NtraderError
from ntrader.services.jobs_execution import Ended, RunTask

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from ntrader.services.workspace import Workspace

RUNS_PER_PROCESS = 200
"""After so many runs a process is replaced: whatever strategies leak goes with it."""

_LONGEST_LINE = 16 << 20

type Tell = Callable[[RunProgress], None]


class RunProcessLostError(NtraderError):
    """The process that carried out the run has ended."""


class RunProcess:
    """One process, which carries out one run at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        # Both are pipes: see `start`.
        self._tasks = cast(asyncio.StreamWriter, process.stdin)
        self._answers = cast(asyncio.StreamReader, process.stdout)
        self.runs = 0

    @classmethod
    async def start(cls, workspace: Workspace) -> RunProcess:
        """Start a process; it is ready for a run when the engine has loaded.

        Raises:
            RunProcessLostError: it ended at once.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "ntrader.services.jobs_child",
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
        )
        started = cls(process)
        try:
            await started._say(workspace.recipe())
            await started._hear()
        except BaseException:
            started.kill()
            raise
        return started

    @property
    def is_usable(self) -> bool:
        """Whether it lives and has not done its share of runs."""
        return self._process.returncode is None and self.runs < RUNS_PER_PROCESS

    async def carry_out(self, task: RunTask, tell: Tell) -> Ended:
        """Carry out a run, telling how far it is.

        Raises:
            RunProcessLostError: the process ended before the run did.
            DatabaseUnavailableError: the result could not be saved.
        """
        self.runs += 1
        await self._say(task.to_dict())
        while True:
            answer = await self._hear()
            if "progress" in answer:
                tell(RunProgress.from_dict(answer["progress"]))
            elif "unavailable" in answer:
                raise DatabaseUnavailableError(answer["unavailable"])
            else:
                ended = answer["ended"]
                return Ended(status=SubmissionStatus(ended["status"]), error=ended["error"])

    def kill(self) -> None:
        """End the process, whatever it does."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """End the process and wait until it has."""
        self.kill()
        await self._process.wait()

    async def _say(self, message: dict[str, Any]) -> None:
        try:
            self._tasks.write(json.dumps(message).encode() + b"\n")
            await self._tasks.drain()
        except OSError as error:
            raise await self._lost() from error

    async def _hear(self) -> dict[str, Any]:
        line = await self._answers.readline()
        if not line.endswith(b"\n"):
            raise await self._lost()
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _lost(self) -> RunProcessLostError:
        self.kill()
        code = await self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return RunProcessLostError(f"The process of the run ended ({how}).")


class Slots:
    """As many processes as runs may go on at the same time, kept warm between runs."""

    def __init__(self, workspace: Workspace, count: int) -> None:
        self._workspace = workspace
        self._count = count
        self._idle: list[RunProcess] = []
        self._all: set[RunProcess] = set()

    async def warm_up(self) -> None:
        """Start a process for each slot."""
        started = await asyncio.gather(*(self._start() for _ in range(self._count)))
        self._idle += started

    async def carry_out(self, task: RunTask, tell: Tell) -> Ended:
        """Carry out a run in a process of its own; raises as `RunProcess.carry_out`.

        A caller that is cancelled ends the process, and with it the run.
        """
        process = await self._take()
        try:
            ended = await process.carry_out(task, tell)
        except BaseException:
            # It may be in the middle of anything.
            self._all.discard(process)
            await asyncio.shield(process.end())
            raise
        await self._put_back(process)
        return ended

    async def close(self) -> None:
        """End all processes."""
        ending, self._idle = list(self._all), []
        self._all.clear()
        await asyncio.gather(*(process.end() for process in ending))

    async def _take(self) -> RunProcess:
        while self._idle:
            process = self._idle.pop()
            if process.is_usable:
                return process
            await self._retire(process)
        return await self._start()

    async def _put_back(self, process: RunProcess) -> None:
        if process.is_usable:
            self._idle.append(process)
        else:
            await self._retire(process)

    async def _retire(self, process: RunProcess) -> None:
        self._all.discard(process)
        await process.end()

    async def _start(self) -> RunProcess:
        process = await RunProcess.start(self._workspace)
        self._all.add(process)
        return process
