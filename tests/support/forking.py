"""Commands in processes of their own that need not load their libraries: see `fork_server`.

For tests of what a command does. Those of the process itself (how it starts, what it loads, how its
interpreter is told to encode) start a Python of their own.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, TextIO

PATIENCE = 120
"""Seconds that a test waits for a process; a loaded machine is slow."""

_PROGRAM = Path(__file__).with_name("fork_server.py")

type Stream = int | IO[Any]


class ForkedCommand:
    """A command under way, with what tests need of `subprocess.Popen`.

    `pid` is the command's. Its streams are pipes unless others are given; stdin is empty.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: Stream = subprocess.PIPE,
        stderr: Stream = subprocess.PIPE,
    ) -> None:
        self.args = tuple(arguments)
        self.returncode: int | None = None
        self._said = b""
        self._talk, theirs = socket.socketpair()
        with open(os.devnull) as nothing, theirs:
            self.stdout, out = _reader_of(stdout)
            self.stderr, err = _reader_of(stderr)
            socket.send_fds(_control(), [b"+"], [theirs.fileno(), nothing.fileno(), out, err])
            for reader, descriptor in ((self.stdout, out), (self.stderr, err)):
                if reader is not None:
                    os.close(descriptor)
        request = {
            "arguments": self.args,
            "directory": os.fspath(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
        }
        self._talk.sendall(json.dumps(request).encode() + b"\n")
        self.pid = self._number(PATIENCE)

    def poll(self) -> int | None:
        """Return the exit code if it has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code is as `subprocess.Popen` has it."""
        if self.returncode is None:
            self.returncode = self._number(timeout)
            self._talk.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to the end, and wait for it."""
        read = ["", ""]

        def read_all(index: int, stream: TextIO) -> None:
            with stream:
                read[index] = stream.read()

        open_ones = [
            threading.Thread(target=read_all, args=(index, stream), daemon=True)
            for index, stream in enumerate((self.stdout, self.stderr))
            if stream is not None and not stream.closed
        ]
        for thread in open_ones:
            thread.start()
        self.wait(timeout)
        for thread in open_ones:
            thread.join(timeout)
        return read[0], read[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _number(self, timeout: float | None) -> int:
        self._talk.settimeout(timeout)
        while b"\n" not in self._said:
            try:
                more = self._talk.recv(32)
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from error
            assert more, "the fork server has ended"
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return int(line)


def _reader_of(stream: Stream) -> tuple[TextIO | None, int]:
    """Return what reads the stream here, if it is a pipe, and where the command writes it to."""
    if stream == subprocess.PIPE:
        reading, writing = os.pipe()
        return open(reading), writing
    return None, stream if isinstance(stream, int) else stream.fileno()


@cache
def _control() -> socket.socket:
    """Start this process's server; it ends when the socket closes, at the latest with us."""
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, _PROGRAM, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        server.wait(PATIENCE)

    atexit.register(end)
    return ours
