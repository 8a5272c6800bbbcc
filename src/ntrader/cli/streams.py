"""Standard streams that are closed, full, or whose reader has gone."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ntrader.errors import NtraderError


class OutputError(NtraderError):
    """The output cannot be written."""

    code = "output"


@contextmanager
def written_to(stream: TextIO | None) -> Iterator[None]:
    """Write to a stream, and go on in silence when its reader has gone, as `head` does.

    The command ends as it would have ended: its exit code tells of its work, not of its reader.

    Raises:
        OutputError: there is no room, or the device fails.
    """
    try:
        yield
    except BrokenPipeError:
        _discard(stream)
    except OSError as error:
        _discard(stream)
        raise OutputError(
            f"The output cannot be written: {error.strerror}.",
            hint="What the command did is done; only what it had to say is lost.",
        ) from error


def open_missing_streams() -> None:
    """Open the null device where a standard stream is closed (`ntrader history >&-`).

    Else the next file or connection would get its number, and be written to as if it were it.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def escape_what_cannot_be_encoded() -> None:
    """Let stdout show a character that its encoding lacks as `\\xe9`, instead of failing on it."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard(stream: TextIO | None) -> None:
    """Let what is still to be written to the stream go nowhere."""
    if stream is None:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
