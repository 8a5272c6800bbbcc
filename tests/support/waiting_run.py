"""A run in a process of its own that waits in its midst until the test lets it go on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.commands import Result
from support.processes import GATED, Process, ended, started, wait_until


class WaitingRun:
    """The run; it has begun and does nothing until it may go on."""

    def __init__(self, process: Process, directory: Path) -> None:
        self.process = process
        self._directory = directory

    def go_on(self) -> None:
        (self._directory / "go").touch()

    def finish(self) -> Result:
        """Let it go on and return what it left."""
        self.go_on()
        return ended(self.process)


@contextmanager
def waiting_run(directory: Path, url: str | None, *options: str) -> Iterator[WaitingRun]:
    """Give a run that is in its midst, on the database of `url` or on the embedded server."""
    (directory / "gated.py").write_text(GATED)
    environment = {**os.environ} if url is None else {**os.environ, "DATABASE_URL": url}
    command = ("run", "--strategy", "gated.py:Gated", *options)
    with started(*command, cwd=directory, env=environment) as process:
        wait_until((directory / "started").exists, process)
        yield WaitingRun(process, directory)
