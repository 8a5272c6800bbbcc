"""What whole commands take, as multiples of `python -c pass`, beside scripts written by hand.

    uv run python -m tests.benchmarks.commands [--runs 20] [--rounds 15] [--json FILE]

Aims: `--help` 5 at most; `history` 1.1 times the SQLAlchemy script, and as a stretch 1.2 times the
asyncpg one. All talk to one running server, so that what is compared is the client; the last two
rows start and stop the embedded server themselves.
"""
# ruff: noqa: T201

import argparse
import json
import sys
import tempfile
from pathlib import Path

from .timing import (
    Subject,
    Timing,
    environment,
    ntrader,
    print_table,
    run,
    time_in_turn,
)

HERE = Path(__file__).parent
BARE = "python -c pass"


def measure(home: Path, *, runs: int, rounds: int) -> dict[str, Timing]:
    """Return the timings of everything, by name.

    Raises:
        RuntimeError: a process failed, or two that should list the same do not.
    """
    own = environment(NTRADER_HOME=str(home))
    for period in range(runs):
        run(ntrader("run", "--strategy", "sma", "-p", f"slow_period={20 + period}", "--json"), own)
    _, _, output = run(ntrader("db", "start", "--json"), own)
    url = json.loads(output)["url"]
    try:
        served = {**own, "DATABASE_URL": url}
        timings = time_in_turn(_subjects(url), served, rounds=rounds)
        check_agreement(timings)
    finally:
        run(ntrader("db", "stop", "--json"), own)
    alone = [
        Subject("history, starting the server", ntrader("history")),
        Subject("show @, starting the server", ntrader("show", "@")),
    ]
    return {**timings, **time_in_turn(alone, own, rounds=rounds)}


def _subjects(url: str) -> list[Subject]:
    def script(name: str) -> list[str]:
        return [sys.executable, str(HERE / name), url]

    return [
        Subject(BARE, [sys.executable, "-c", "pass"]),
        Subject("python -c 'import click'", [sys.executable, "-c", "import click"]),
        Subject("ntrader --help", ntrader("--help")),
        Subject("ntrader run --help", ntrader("run", "--help")),
        Subject("list by hand: asyncpg", script("list_asyncpg.py")),
        Subject("list by hand: SQLAlchemy", script("list_sqlalchemy.py")),
        Subject("ntrader history", ntrader("history")),
        Subject("ntrader history --json", ntrader("history", "--json")),
        Subject("ntrader show @", ntrader("show", "@")),
    ]


def check_agreement(timings: dict[str, Timing]) -> None:
    lists = [
        timings[name].output
        for name in ("list by hand: asyncpg", "list by hand: SQLAlchemy", "ntrader history")
    ]
    if len({text.replace(" ", "") for text in lists}) != 1:
        raise RuntimeError("the lists differ:\n" + "\n".join(lists))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="how many runs to list")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ntrader-benchmark-") as home:
        Path(home).chmod(0o711)  # root's server runs as another user
        timings = measure(Path(home), runs=given.runs, rounds=given.rounds)
    bare = timings[BARE].median
    multiples = {name: timing.median / bare for name, timing in timings.items()}
    print(f"{given.runs} runs, medians of {given.rounds} rounds")
    print_table(
        ("command", "ms", "x bare"),
        [
            (name, f"{timing.median * 1_000:.0f}", f"{multiples[name]:.1f}")
            for name, timing in timings.items()
        ],
    )
    if given.json is not None:
        given.json.write_text(json.dumps({"multiples": multiples}, indent=2) + "\n")


if __name__ == "__main__":
    main()
