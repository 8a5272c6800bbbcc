"""Tracebacks as the author of a strategy wants them: from his own code on.

A strategy is called by the engine, so that every traceback begins with frames that tell him
nothing. What is stored, and what `--json` gives, is whole.
"""

import re

_HEADER = re.compile(r"^Traceback \(most recent call last\):\n", re.MULTILINE)
# The first line of a frame, and the source and the marks below it, which are indented further.
_FRAME = re.compile(r'  File "(?P<file>[^"\n]*)", line .*\n(?:    .*\n)*')
_OF_THE_ENGINE = re.compile(r"(^|[/\\])(ntrader[/\\]engine|nautilus_trader)[/\\]")


def own_frames(traceback: str) -> str:
    """Return a traceback without the engine's frames that lead to somebody else's.

    Where all frames are the engine's they stay. Every part of a chain is cut in this way.
    """
    parts = []
    start = 0
    for header in _HEADER.finditer(traceback):
        parts.append(traceback[start : header.end()])
        start = _first_own_frame(traceback, header.end())
    return "".join([*parts, traceback[start:]])


def _first_own_frame(traceback: str, start: int) -> int:
    """Return where the first frame begins that is not the engine's; `start` if there is none."""
    place = start
    while frame := _FRAME.match(traceback, place):
        if _OF_THE_ENGINE.search(frame["file"]) is None:
            return place
        place = frame.end()
    return start
