"""What a run records about where it ran."""

import platform
import socket
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ntrader.services.checkout import checkout_state

if TYPE_CHECKING:
    from ntrader.engine.strategies.definition import Source

ENGINE = "nautilus_trader"

_LIBRARIES = ("numpy", "pandas", "pyarrow", "pydantic", "msgspec")


@cache
def engine_version() -> str:
    """Return the version of the engine that is installed, without loading it.

    Looking it up reads files for a millisecond, and a list asks for each of its runs.
    """
    return version(ENGINE)


def environment(source: "Source | None" = None) -> dict[str, Any]:
    """Return versions, platform and host of this process, and the state of a strategy's code.

    For a strategy from a file: `strategy_files`, the sha256 of the file and of the user's modules
    that it imports, by path; and where the file lies in a git repository `git`, its commit and the
    sha256 of the uncommitted changes (see `ntrader.services.checkout`).
    """
    recorded: dict[str, Any] = {
        "ntrader": version("ntrader"),
        "engine": {"name": ENGINE, "version": engine_version()},
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "platform": platform.platform(),
        "host": socket.gethostname(),
    }
    if source is not None and source.code is not None:
        recorded["strategy_files"] = source.code.digests
    state = None if source is None or source.file is None else checkout_state(source.file)
    if state is not None:
        recorded["git"] = {"commit": state.commit, "changes": state.changes}
    return recorded
