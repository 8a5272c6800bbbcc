"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP.

Each ends it as an exception, so that what is open is closed and what is begun is undone. In the
engine it makes the run a failed one, which is saved, and the exit code is that of a failed run;
elsewhere the exit code is 128 and the number of the signal.
"""

from __future__ import annotations

import signal
from types import FrameType

from ntrader.errors import NtraderError, TerminatedError


class InterruptedByUserError(NtraderError):
    """Interrupted."""

    code = "interrupted"
    exit_code = 128 + signal.SIGINT


def unwind_when_terminated() -> None:
    """Let SIGTERM and SIGHUP raise, unless they are ignored, as under nohup."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)


def end_at_once_when_interrupted() -> None:
    """Let Ctrl-C end the process on the spot: nothing is left to be done but to end."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise TerminatedError(number)
