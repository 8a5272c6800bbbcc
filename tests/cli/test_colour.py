"""Colour: on a terminal that wants it, and nowhere else."""

import os
import pty
import sys

import pytest


def on_a_terminal(*arguments: str, **environment: str) -> bytes:
    """Return what a command writes on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        command = [sys.executable, "-m", "ntrader", *arguments]
        os.execve(sys.executable, command, {**inherited, "TERM": "xterm", **environment})
    written = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # it has gone
            break
        if not part:
            break
        written += part
    os.close(terminal)
    os.waitpid(pid, 0)
    return written


def test_an_error_is_red_on_a_terminal() -> None:
    assert b"\x1b[31m" in on_a_terminal("bogus")


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_an_error_has_no_colour_where_none_is_wanted(setting: dict[str, str]) -> None:
    written = on_a_terminal("bogus", **setting)

    assert b"bogus" in written
    assert b"\x1b" not in written
