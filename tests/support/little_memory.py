"""Processes that have little memory, by a limit that the kernel keeps."""

import subprocess
import sys
from pathlib import Path

import pytest

only_on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits and tells a process's data"
)

IN_USE = """
import resource, sys
from pathlib import Path

def in_use():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmData:")[2].split()[0])
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process that takes memory when it uses it, and not in advance."""
    tests = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={
            "PYTHONPATH": f"{tests / 'integration'}:{tests}",
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            # The room for a thread's stack counts, also where it is not used.
            "ARROW_IO_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
