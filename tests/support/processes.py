"""ntrader in processes of its own, and strategies that stop it at a moment of a test's choosing."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.commands import Result
from support.forking import PATIENCE as PATIENCE
from support.forking import ForkedCommand

GATED = """
import os, time
from ntrader.engine.strategies import LongFlatStrategy

class Gated(LongFlatStrategy):
    '''Trades, says that it is under way, and waits until it may go on.'''

    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars % 20 == 10:
            self.enter()
        if self.bars % 20 == 0:
            self.exit()
        if self.bars == 50:
            open("started", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.005)
"""

KILLED_AT_A_STEP = """
import os, signal, sys
from asyncio import selector_events
from ntrader.engine.strategies import LongFlatStrategy

step, last = 0, int(os.environ["KILL_AT"])

def count():
    global step
    step += 1
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)

class Killed(LongFlatStrategy):
    '''Trades; the process kills itself before the n-th step of its saving that others can see.'''

    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars % 20 == 10:
            self.enter()
        if self.bars % 20 == 0:
            self.exit()
        if self.bars == 1000:
            self.arm()

    def arm(self):
        sys.addaudithook(
            lambda event, _: count() if event in ("os.rename", "os.remove", "os.mkdir") else None
        )
        fsync, write = os.fsync, selector_events._SelectorSocketTransport.write
        def counted_fsync(descriptor):
            count()
            return fsync(descriptor)
        def counted_write(transport, data):
            count()
            return write(transport, data)
        os.fsync = counted_fsync
        selector_events._SelectorSocketTransport.write = counted_write
"""


type Process = subprocess.Popen[str] | ForkedCommand


def start(
    *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None, **options: Any
) -> Process:
    """Start a command.

    It is forked, unless the environment or `options` of `subprocess.Popen` ask for what only a
    new interpreter has.
    """
    words = list(map(str, arguments))
    environment = {**os.environ} if env is None else env
    interpreters = {
        name: value
        for name, value in environment.items()
        if name.startswith("PYTHON") and name != "PYTHONPATH"
    }
    if options.keys() <= {"stdout", "stderr"} and interpreters.items() <= os.environ.items():
        return ForkedCommand(words, cwd=cwd, env=environment, **options)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "ntrader", *words]
    return subprocess.Popen(command, cwd=cwd, env=environment, **{**pipes, **options})


@contextmanager
def started(*arguments: object, cwd: Path | None = None, **options: Any) -> Iterator[Process]:
    """Start a command; it is killed at the end if it still runs."""
    process = start(*arguments, cwd=cwd, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: Process) -> Result:
    """Wait for the end of a command."""
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode is not None
    return Result(process.returncode, stdout or "", stderr or "")


def run_process(
    *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None, **options: Any
) -> Result:
    """Run a command to its end."""
    with started(*arguments, cwd=cwd, env={**os.environ, **(env or {})}, **options) as process:
        return ended(process)


def wait_until(condition: Callable[[], object], process: Process) -> None:
    """Wait for something that a running process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
