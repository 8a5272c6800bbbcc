"""Where and on what was measured."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("ntrader", "nautilus_trader", "sqlalchemy", "asyncpg", "click", "rich", "pyarrow")
ROOT = Path(__file__).parents[2]


def machine() -> dict[str, Any]:
    """Return what there is to say of this machine."""
    return {"platform": platform.platform(), "cores": os.cpu_count(), "cpu": _cpu()}


def load() -> float:
    """Return how many processes wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2)


def versions() -> dict[str, str]:
    """Return the versions of Python and of what the figures depend on."""
    return {
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
    }


def commit() -> str | None:
    """Return the commit of this checkout, with a `+` where the product's files are changed."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", "src", "alembic")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
