"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP.

Each ends it as an exception, so that what is open is closed and what is begun is undone. In the
engine it makes the run a failed one, which is saved, and the exit code is that of a failed run;
elsewhere the exit code is 128 and the number of the signal.

While an event loop runs, the exception is raised where its task waits: in the midst of a callback
it would leave a connection in a state that nobody waits for, and the loop for ever. A second signal
raises at once, wherever it comes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any

from ntrader.errors import NtraderError, TerminatedError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_TERMINATING = (signal.SIGTERM, signal.SIGHUP)


class InterruptedByUserError(NtraderError):
    """Interrupted."""

    code = "interrupted"
    exit_code = 128 + signal.SIGINT


def unwind_when_terminated() -> None:
    """Let SIGTERM and SIGHUP raise, unless they are ignored, as under nohup."""
    for number in _TERMINATING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)


def run_until_terminated[T](
    work: Coroutine[Any, Any, T], *, loop: Callable[[], AbstractEventLoop] | None = None
) -> T:
    """Run an event loop for some work; SIGTERM and SIGHUP cancel it, as Ctrl-C does.

    `loop` makes it, if it is not to be the usual one.
    """
    import asyncio

    task: asyncio.Task[Any] | None = None
    received: list[int] = []

    def cancel(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1 or task is None or task.done():
            raise TerminatedError(number)
        task.cancel()
        # A loop that waits looks at its tasks only when there is something to do.
        task.get_loop().call_soon_threadsafe(lambda: None)

    async def watched() -> T:
        nonlocal task
        task = asyncio.current_task()
        return await work

    ours = [number for number in _TERMINATING if signal.getsignal(number) is _terminate]
    for number in ours:
        signal.signal(number, cancel)
    try:
        return asyncio.run(watched(), loop_factory=loop)
    except asyncio.CancelledError:
        if received:
            raise TerminatedError(received[0]) from None
        raise
    finally:
        for number in ours:
            signal.signal(number, _terminate)


def end_at_once_when_interrupted() -> None:
    """Let Ctrl-C end the process on the spot: nothing is left to be done but to end."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise TerminatedError(number)
