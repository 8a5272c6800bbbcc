"""The client on Node.js, and what it needs."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parents[1] / "node"
OLDEST_MAJOR = 20


def node_with_modules() -> str:
    """Return the program that runs the client; a test is skipped where there is none."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    found = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = found.stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_MAJOR:
        pytest.skip(f"node is {version}, and the client needs {OLDEST_MAJOR} or later")
    if (reason := _missing_modules()) is not None:
        pytest.skip(reason)
    return program


@cache
def _missing_modules() -> str | None:
    """Install what the client's lock pins, if it is not there; return why that cannot be done."""
    if (DIRECTORY / "node_modules" / ".package-lock.json").exists():
        return None
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    # Files that it has fetched before are taken from its cache.
    command = [npm, "ci", "--prefer-offline", "--no-progress"]
    done = subprocess.run(
        command, cwd=DIRECTORY, env={**os.environ}, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    return "the modules of tests/node cannot be had: run `npm ci` there, with a network"
