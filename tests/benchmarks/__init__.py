"""Benchmarks: scripts to run by hand, not tests. `python -m tests.benchmarks` is the store's."""

import sys
from pathlib import Path

# `support` is found as the tests find it.
sys.path.insert(0, str(Path(__file__).parents[1]))
