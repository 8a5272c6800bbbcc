"""The benchmark runs, and what it compares gives the same answer; nothing is timed here."""

import pytest

from benchmarks import run_overhead
from benchmarks.__main__ import measure
from benchmarks.timing import Timing
from support.homes import temporary_home


def test_a_script_without_ntrader_gets_the_same_fills_and_equity() -> None:
    with temporary_home() as home:
        (result,) = run_overhead.measure(home, bars=2_000, rounds=1, fills=["next-open"])

    assert result["fills"] > 50


def test_the_store_answers_as_a_script_by_hand_does() -> None:
    with temporary_home() as home:
        figures = measure(home, sizes=[60], filled=30, rounds=1)

    (store,) = figures["stores"]
    assert store["runs"] == 60
    assert all(row["ratio"] > 0 for row in store["seconds"].values())
    assert {"save one run", "summary by strategy", "20 newest"} <= store["seconds"].keys()
    assert store["bytes_per_run"]["backtest_runs"] > 1_000


def test_different_answers_are_not_compared() -> None:
    script = Timing(output='{"fills": 2, "final_equity": 101.0}')
    ours = Timing(output='{"saved": true, "fills": [{}, {}], "metrics": {"final_balance": 101.01}}')

    with pytest.raises(RuntimeError, match="answers differ"):
        run_overhead.check_agreement(script, ours)
