"""ntrader that counts its steps and sends itself a signal at one of them.

A step is what others can see: a file written to, renamed or removed, a lock, a process, a flush, a
packet. Seconds mean another moment on every machine; most of a short command's are imports.

Started without a step, it imports all of ntrader once and forks a command for each request, a line
of JSON on stdin, so that hundreds of kills cost what the commands themselves cost. What it says is
`PID began` and, when the command has ended, `PID` with its exit code (or minus its signal).
"""

import asyncio
import atexit
import json
import os
import select
import signal
import sys
import warnings
from asyncio import selector_events
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

SEEN = frozenset(
    {
        "fcntl.flock",
        "os.kill",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "socket.connect",
        "subprocess.Popen",
    }
)


class Steps:
    """Counts, and sends the signal at the step; `note` tells of that, or of the count."""

    def __init__(self, last: int, number: int, note: Path) -> None:
        self.count = 0
        self._last = last
        self._number = number
        self._note = note

    def take(self) -> None:
        self.count += 1
        if self.count == self._last:
            self._note.write_text("hit")
            os.kill(os.getpid(), self._number)

    def leave(self) -> None:
        if self.count < self._last or not self._last:
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


def become(request: dict[str, Any]) -> None:
    """Be the command that is asked for, in a forked child."""
    from ntrader.cli.main import entry_point

    for descriptor, (path, flags) in enumerate(
        (
            (os.devnull, os.O_RDONLY),
            (request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (request["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        )
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["ntrader", *request["arguments"]]
    watch(Steps(request["step"], request["signal"], Path(request["note"])))
    entry_point()


def serve() -> dict[str, Any] | None:
    """Fork a child for each request; return the request in a child, None at the end of all."""
    unread = b""
    living: set[int] = set()
    while True:
        if select.select([0], [], [], 0.005)[0]:
            received = os.read(0, 65_536)
            if not received:
                return None
            *lines, unread = (unread + received).split(b"\n")
            for line in lines:
                child = os.fork()
                if child == 0:
                    request: dict[str, Any] = json.loads(line)
                    return request
                living.add(child)
                _say(f"{child} began")
        for child in tuple(living):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                living.remove(child)
                _say(f"{child} {os.waitstatus_to_exitcode(status)}")


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def import_all() -> None:
    """Import what commands import when they need it."""
    import nautilus_trader.backtest.engine
    import nautilus_trader.persistence.catalog  # noqa: F401

    import ntrader

    for module in walk_packages(ntrader.__path__, "ntrader."):
        if not module.name.startswith(("ntrader.api", "ntrader.migrations", "ntrader.__main__")):
            import_module(module.name)
    # The threads of others are idle, and nobody asks them for anything before the fork.
    warnings.filterwarnings("ignore", message=".*use of fork.*")
    # NautilusTrader's own loop came with it; commands have Python's.
    asyncio.set_event_loop_policy(None)


if __name__ == "__main__":
    # Ctrl-C on the terminal of the tests is for the tests; a command gets its own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_all()
    asked = serve()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked is not None:
        become(asked)
