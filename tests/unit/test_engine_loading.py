"""Loading the engine leaves the garbage collector as it was, but for what the engine is made of."""

import subprocess
import sys

import pytest

LOADED = """
import gc
{before}
from ntrader.engine.loading import load_engine
load_engine()
once = gc.get_freeze_count()
load_engine()
import ntrader.engine.runner
print(once > 100_000, gc.get_freeze_count() == once, gc.isenabled())
"""


@pytest.mark.parametrize(
    ("before", "collecting"), [("", True), ("gc.disable()", False)], ids=["enabled", "disabled"]
)
def test_the_collector_does_not_search_the_engine_and_goes_on(
    before: str, collecting: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["True", "True", str(collecting)]
