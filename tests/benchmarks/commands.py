"""What whole commands take, as multiples of `python -c pass`, beside scripts written by hand.

    uv run python -m tests.benchmarks.commands [--runs 20] [--rounds 15]

Aims: `--help` 5 at most; `history` 1.1 times the SQLAlchemy script, and as a stretch 1.2 times the
asyncpg one. All talk to one running server, so that what is compared is the client; one line
starts and stops the embedded server itself.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from .findings import Finding, Findings, print_findings
from .timing import Subject, Timing, environment, ntrader, run, time_in_turn, unwind_when_terminated

PART = "whole commands (floor: python -c pass)"
BESIDE = "history beside scripts by hand"
HERE = Path(__file__).parent
BARE = "python -c pass"
ASYNCPG, SQLALCHEMY = "list by hand: asyncpg", "list by hand: SQLAlchemy"
HELP_AIM = 5
SCRIPT_AIM = 1.1
STRETCH = 1.2


def measure(home: Path, *, runs: int, rounds: int, server_starts: int) -> dict[str, Timing]:
    """Return the timings of everything, by name.

    Raises:
        RuntimeError: a process failed, or two that should list the same do not.
    """
    own = environment(NTRADER_HOME=str(home))
    url = json.loads(run(ntrader("db", "start", "--json"), own).output)["url"]
    try:
        for period in range(runs):
            some = ("--strategy", "sma", "-p", f"slow_period={20 + period}")
            run(ntrader("run", *some, "--json"), own)
        served = {**own, "DATABASE_URL": url}
        timings = time_in_turn(_subjects(url), served, rounds=rounds)
        check_agreement(timings)
    finally:
        run(ntrader("db", "stop", "--json"), own)
    if server_starts:
        alone = [Subject("history, starting the server", ntrader("history"))]
        timings |= time_in_turn(alone, own, rounds=server_starts)
    return timings


def _subjects(url: str) -> list[Subject]:
    def script(name: str) -> list[str]:
        return [sys.executable, str(HERE / name), url]

    commands = ("--help", "run --help", "history", "history --json", "show @", "compare @~1 @")
    return [
        Subject(BARE, [sys.executable, "-c", "pass"]),
        Subject("python -c 'import click'", [sys.executable, "-c", "import click"]),
        Subject(ASYNCPG, script("list_asyncpg.py")),
        Subject(SQLALCHEMY, script("list_sqlalchemy.py")),
        *(Subject(command, ntrader(*command.split())) for command in commands),
    ]


def check_agreement(timings: dict[str, Timing]) -> None:
    lists = [timings[name].output for name in (ASYNCPG, SQLALCHEMY, "history")]
    if len({text.replace(" ", "") for text in lists}) != 1:
        raise RuntimeError("the lists differ:\n" + "\n".join(lists))


def found_in(timings: dict[str, Timing]) -> Findings:
    """Return each command beside nothing at all, and `history` beside the scripts."""
    taken = {name: timing.median * 1e3 for name, timing in timings.items()}
    bare = taken.pop(BARE)
    lines = [
        Finding.timed(PART, name, bare, ours, aim=HELP_AIM if name.endswith("--help") else None)
        for name, ours in taken.items()
    ]
    lines += [
        Finding.timed(BESIDE, f"history, {library}", taken[script], taken["history"], aim=aim)
        for library, script, aim in (
            ("SQLAlchemy by hand", SQLALCHEMY, SCRIPT_AIM),
            ("asyncpg by hand (the stretch)", ASYNCPG, STRETCH),
        )
    ]
    return Findings(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="how many runs to list")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ntrader-benchmark-") as home:
        Path(home).chmod(0o711)  # root's server runs as another user
        timings = measure(Path(home), runs=given.runs, rounds=given.rounds, server_starts=3)
    print_findings(found_in(timings).lines)


if __name__ == "__main__":
    unwind_when_terminated()
    main()
