"""The program of `support.forking`: it has loaded what commands load, and forks one when asked.

A command costs two seconds of a processor by the loading of its libraries, and next to nothing by
what most tests want of it. Here that is paid once. The fork becomes the command as `python -m
ntrader` would: arguments, environment, directory, streams, and an interpreter that ends by itself.
"""

import asyncio
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import ntrader
from ntrader.cli.main import entry_point

_PROGRAM = str(Path(ntrader.__file__).with_name("__main__.py"))
_LOADED = (
    *("ntrader.cli.run", "ntrader.cli.history", "ntrader.cli.serve", "ntrader.cli.worker"),
    *("ntrader.engine.runner", "ntrader.storage.store", "ntrader.storage.migrations"),
    *("ntrader.services.workspace", "ntrader.api.serving"),
)


def main() -> None:
    """Serve whoever holds the other end of the socket of the first argument; it closes to end."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for module in _LOADED:
        importlib.import_module(module)
    # The fork's collector need not walk through all this, and so copy it.
    gc.collect()
    gc.freeze()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # The engine chooses a loop when it is loaded; a command has Python's until then.
        asyncio.set_event_loop_policy(None)
        # There are threads: an allocator's and those of BLAS, which know of forks.
        request = _next_request(control)
    _become(request)


def _next_request(control: socket.socket) -> dict[str, Any]:
    """Return in the process of each command."""
    # Nobody waits for the processes that wait for the commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        try:
            asked, descriptors, *_ = socket.recv_fds(control, 1, 4)
        except KeyboardInterrupt:
            # Ctrl-C ends the tests, which may start commands yet as they clean up.
            continue
        if not asked:
            os._exit(0)
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    control.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    talk, *streams = descriptors
    return _forked(socket.socket(fileno=talk), streams)


def _forked(talk: socket.socket, streams: list[int]) -> dict[str, Any]:
    """Fork the command, and tell its pid and how it ended; return in the command."""
    with talk.makefile("r") as lines:
        request: dict[str, Any] = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        talk.close()
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return request
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for descriptor in streams:
        os.close(descriptor)
    talk.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    talk.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Be the command; its end is the end of the process."""
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = [_PROGRAM, *request["arguments"]]
    given = request["environment"].get("PYTHONPATH")
    sys.path[:1] = [request["directory"], *(given.split(os.pathsep) if given else [])]
    entry_point()


if __name__ == "__main__":
    main()
