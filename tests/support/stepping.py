"""ntrader that counts its steps, and sends itself a signal at one: stepping.py STEP SIGNAL ARGUMENT...

A step is what others can see: a file written to, renamed or removed, a lock, a process, a flush, a
packet. Seconds mean another moment on every machine; most of a short command's are imports.
"""

import atexit
import os
import sys
from asyncio import selector_events
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEEN = frozenset(
    "os.rename os.remove os.mkdir os.rmdir os.link os.kill "
    "fcntl.flock subprocess.Popen socket.connect".split()
)


class Steps:
    """Counts, and sends the signal at the step; `STEPS` names the file that tells of both."""

    def __init__(self, last: int, number: int) -> None:
        self.count = 0
        self._last = last
        self._number = number
        self._note = Path(os.environ["STEPS"])

    def take(self) -> None:
        self.count += 1
        if self.count == self._last:
            self._note.write_text("hit")
            os.kill(os.getpid(), self._number)

    def leave(self) -> None:
        if self.count < self._last:
            self._last = 0
            self._note.write_text(str(self.count))


def watch(steps: Steps) -> None:
    """Count from now on."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in SEEN or _writes(event, arguments):
            steps.take()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            steps.take()
            return function(*arguments)

        return call

    sys.addaudithook(heard)
    os.fsync = counted(os.fsync)
    transport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    transport.write = counted(transport.write)
    atexit.register(steps.leave)


def _writes(event: str, arguments: tuple[Any, ...]) -> bool:
    return event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))


if __name__ == "__main__":
    last, number = int(sys.argv[1]), int(sys.argv[2])
    del sys.argv[1:3]
    from ntrader.cli.main import entry_point

    watch(Steps(last, number))
    entry_point()
