"""What `ntrader run` costs beside a tuned NautilusTrader script that does the same backtest.

    uv run python -m tests.benchmarks.run_overhead [--bars 100000] [--rounds 5]
        [--fill next-open|close]

All read the same bars from the same catalog, as whole processes, in turn; ntrader also computes
its metrics, saves the run and prints it as JSON. They must agree on fills and final equity. The
script is there twice: as NautilusTrader's users write it, and in a "hedging" form, with a position
for each round trip, as ntrader has them. The aim is a ratio of 1.15 at most beside the first, from
100,000 bars up, on a server that runs already. Starting and stopping the embedded server for one
run is a line of its own.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .findings import Finding, Findings, print_findings
from .series import write_minute_bars
from .timing import Subject, Timing, environment, ntrader, run, time_in_turn, unwind_when_terminated

PART = "run (floor: a tuned NautilusTrader script that saves nothing)"
AIM = 1.15
AIM_FROM_BARS = 100_000
FILLS = ("next-open", "close")
SCRIPT = Path(__file__).with_name("tuned_script.py")
NETTING, HEDGING, OURS = "the script", "beside its hedging form", "ntrader"
STARTS_SERVER = "starting the server"


def measure(
    home: Path, *, bars: int, rounds: int, server_starts: int, fills: Sequence[str] = FILLS[:1]
) -> Findings:
    """Measure one length of backtest, with each of `fills`.

    Raises:
        RuntimeError: a process failed, or the two disagree.
    """
    env = environment(NTRADER_HOME=str(home))
    dataset = _import_bars(home, bars, env)
    found = Findings()
    for fill in fills:
        options = ["--strategy", "sma", "--dataset", dataset, "--fill", fill, "--json"]
        ours = ntrader("run", *options)
        script = [sys.executable, str(SCRIPT), str(home / "datasets" / dataset), fill]
        subjects = [
            Subject(NETTING, script),
            Subject(HEDGING, [*script, "hedging"]),
            Subject(OURS, ours),
        ]
        timings = _timed(subjects, env, rounds)
        if server_starts:
            alone = [Subject(STARTS_SERVER, ours)]
            timings |= time_in_turn(alone, env, rounds=server_starts)
        found.add(_found_in(timings, bars, fill))
    return found


def _import_bars(home: Path, bars: int, env: Mapping[str, str]) -> str:
    csv = home / "minutes.csv"
    write_minute_bars(csv, bars)
    described = ["--symbol", "BENCH", "--venue", "NYSE", "--kind", "equity", "--timeframe", "1m"]
    done = run(ntrader("data", "import", str(csv), *described, "--json"), env)
    content_hash: str = json.loads(done.output)["content_hash"]
    return content_hash


def _timed(subjects: Sequence[Subject], env: Mapping[str, str], rounds: int) -> dict[str, Timing]:
    """Return what they take on a server that runs."""
    run(ntrader("db", "start", "--json"), env)
    try:
        return time_in_turn(subjects, env, rounds=rounds)
    finally:
        run(ntrader("db", "stop", "--json"), env)


def check_agreement(script: Timing, ours: Timing) -> None:
    """Make sure that ntrader saved what the script found.

    Raises:
        RuntimeError: it did not, or found something else.
    """
    expected, found = json.loads(script.output), json.loads(ours.output)
    if not found["saved"]:
        raise RuntimeError("ntrader did not save the run")
    fills, equity = len(found["fills"]), found["metrics"]["final_balance"]
    if fills != expected["fills"] or abs(equity - expected["final_equity"]) > 0.005:
        raise RuntimeError(f"the answers differ: {expected}, and {fills} fills to {equity}")


def _found_in(timings: Mapping[str, Timing], bars: int, fill: str) -> Findings:
    script, hedging, ours = (timings[name] for name in (NETTING, HEDGING, OURS))
    for each in (script, hedging):
        check_agreement(each, ours)
    name = f"{bars:,} bars, fill at {fill}"
    aim = AIM if bars >= AIM_FROM_BARS else None
    lines = [
        Finding.timed(PART, name, script.median, ours.median, "s", aim=aim),
        Finding.timed(PART, f"{name}, {HEDGING}", hedging.median, ours.median, "s"),
        Finding.timed(PART, f"{name}, CPU", script.median_cpu, ours.median_cpu, "s"),
        Finding.timed(PART, f"{name}, memory", script.median_peak, ours.median_peak, "MiB"),
    ]
    if STARTS_SERVER in timings:
        alone = timings[STARTS_SERVER].median
        lines.append(Finding.timed(PART, f"{name}, {STARTS_SERVER}", script.median, alone, "s"))
    fills = json.loads(script.output)["fills"]
    return Findings(lines, details={name: {"fills": fills}})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fill", choices=FILLS, help="only this fill")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ntrader-benchmark-") as home:
        Path(home).chmod(0o711)  # root's server runs as another user
        fills = FILLS if given.fill is None else (given.fill,)
        found = measure(
            Path(home), bars=given.bars, rounds=given.rounds, server_starts=3, fills=fills
        )
    print_findings(found.lines)


if __name__ == "__main__":
    unwind_when_terminated()
    main()
