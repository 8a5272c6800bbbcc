"""The benchmark runs, and what it compares gives the same answer; nothing is timed here."""

import pytest

from benchmarks import run_overhead
from benchmarks.timing import Timing
from support.homes import temporary_home


def test_a_script_without_ntrader_gets_the_same_fills_and_equity() -> None:
    with temporary_home() as home:
        (result,) = run_overhead.measure(home, bars=2_000, rounds=1, fills=["next-open"])

    assert result["fills"] > 50


def test_different_answers_are_not_compared() -> None:
    script = Timing(output='{"fills": 2, "final_equity": 101.0}')
    ours = Timing(output='{"saved": true, "fills": [{}, {}], "metrics": {"final_balance": 101.01}}')

    with pytest.raises(RuntimeError, match="answers differ"):
        run_overhead.check_agreement(script, ours)
