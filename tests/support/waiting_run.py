"""A run in a process of its own that waits in its midst until the test lets it go on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.commands import Result

_STRATEGY = """
import pathlib
import time
from ntrader.engine.strategies import LongFlatStrategy

class Waiting(LongFlatStrategy):
    def prepare(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars == 50:
            pathlib.Path("started").touch()
            while not pathlib.Path("go_on").exists():
                time.sleep(0.01)
"""
_SECONDS = 120


class WaitingRun:
    """The run; it has begun and does nothing until `finish`."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.process = process
        self._directory = directory

    def go_on(self) -> None:
        (self._directory / "go_on").touch()

    def finish(self) -> Result:
        """Let it go on and return what it left."""
        self.go_on()
        stdout, stderr = self.process.communicate(timeout=_SECONDS)
        return Result(self.process.returncode, stdout, stderr)


@contextmanager
def waiting_run(directory: Path, url: str | None, *options: str) -> Iterator[WaitingRun]:
    """Give a run that is in its midst, on the database of `url` or on the embedded server."""
    (directory / "waiting.py").write_text(_STRATEGY)
    environment = {**os.environ} if url is None else {**os.environ, "DATABASE_URL": url}
    process = subprocess.Popen(
        [sys.executable, "-m", "ntrader", "run", "--strategy", "waiting.py:Waiting", *options],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + _SECONDS
        while not (directory / "started").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "the run did not begin"
            time.sleep(0.01)
        yield WaitingRun(process, directory)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
