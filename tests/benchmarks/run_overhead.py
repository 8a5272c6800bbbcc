"""What `ntrader run` costs beside a tuned NautilusTrader script that does the same backtest.

    uv run python -m tests.benchmarks.run_overhead [--bars 100000] [--rounds 5]
        [--fill next-open|close] [--json FILE]

Both read the same bars from the same catalog, as whole processes, in turn; ntrader also computes
its metrics, saves the run and prints it as JSON. They must agree on fills and final equity.
The aim is a ratio of 1.15 at most, from 100,000 bars up.
"""
# ruff: noqa: T201

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .series import write_minute_bars
from .timing import (
    Subject,
    Timing,
    environment,
    ntrader,
    print_table,
    run,
    time_in_turn,
)

AIM = 1.15
FILLS = ("next-open", "close")
SCRIPT = Path(__file__).with_name("tuned_script.py")


def measure(
    home: Path, *, bars: int, rounds: int, fills: Sequence[str] = FILLS
) -> list[dict[str, Any]]:
    """Return for each of `fills` the medians of both, and their ratio.

    Raises:
        RuntimeError: a process failed, or the two disagree.
    """
    env = environment(NTRADER_HOME=str(home))
    dataset = _import_bars(home, bars, env)
    return [_measure(home, dataset, fill, env, rounds) for fill in fills]


def _import_bars(home: Path, bars: int, env: dict[str, str]) -> str:
    csv = home / "minutes.csv"
    write_minute_bars(csv, bars)
    described = ["--symbol", "BENCH", "--venue", "NYSE", "--kind", "equity", "--timeframe", "1m"]
    _, _, output = run(ntrader("data", "import", str(csv), *described, "--json"), env)
    content_hash: str = json.loads(output)["content_hash"]
    return content_hash


def _measure(
    home: Path, dataset: str, fill: str, env: dict[str, str], rounds: int
) -> dict[str, Any]:
    catalog = str(home / "datasets" / dataset)
    options = ["--strategy", "sma", "--dataset", dataset, "--fill", fill, "--json"]
    subjects = [
        Subject("script", [sys.executable, str(SCRIPT), catalog, fill]),
        Subject("ntrader", ntrader("run", *options)),
    ]
    timings = time_in_turn(subjects, env, rounds=rounds)
    script, ours = timings["script"], timings["ntrader"]
    check_agreement(script, ours)
    return {
        "fill": fill,
        "script_seconds": script.median,
        "ntrader_seconds": ours.median,
        "ratio": ours.median / script.median,
        "cpu_ratio": ours.median_cpu / script.median_cpu,
        "fills": json.loads(script.output)["fills"],
    }


def check_agreement(script: Timing, ours: Timing) -> None:
    expected, found = json.loads(script.output), json.loads(ours.output)
    if not found["saved"]:
        raise RuntimeError("ntrader did not save the run")
    fills, equity = len(found["fills"]), found["metrics"]["final_balance"]
    if fills != expected["fills"] or abs(equity - expected["final_equity"]) > 0.005:
        raise RuntimeError(f"the answers differ: {expected}, and {fills} fills to {equity}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fill", choices=FILLS, help="only this fill")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ntrader-benchmark-") as home:
        Path(home).chmod(0o711)  # root's server runs as another user
        fills = FILLS if given.fill is None else (given.fill,)
        results = measure(Path(home), bars=given.bars, rounds=given.rounds, fills=fills)
    print(f"{given.bars:,} bars, medians of {given.rounds} rounds; aim: {AIM} at most")
    print_table(
        ("fill", "fills", "script s", "ntrader s", "ratio", "ratio of CPU"),
        [
            (
                result["fill"],
                result["fills"],
                f"{result['script_seconds']:.2f}",
                f"{result['ntrader_seconds']:.2f}",
                f"{result['ratio']:.2f}",
                f"{result['cpu_ratio']:.2f}",
            )
            for result in results
        ],
    )
    if given.json is not None:
        document = {"bars": given.bars, "rounds": given.rounds, "aim": AIM, "results": results}
        given.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
