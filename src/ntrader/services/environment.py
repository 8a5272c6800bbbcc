"""What a run records about where it ran."""

import platform
import socket
from importlib.metadata import version
from typing import Any

ENGINE = "nautilus_trader"

_LIBRARIES = ("numpy", "pandas", "pyarrow", "pydantic", "msgspec")


def engine_version() -> str:
    """Return the version of the engine that is installed, without loading it."""
    return version(ENGINE)


def environment() -> dict[str, Any]:
    """Return versions, platform and host of this process."""
    return {
        "ntrader": version("ntrader"),
        "engine": {"name": ENGINE, "version": engine_version()},
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "platform": platform.platform(),
        "host": socket.gethostname(),
    }
